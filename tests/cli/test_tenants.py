"""`messagelog tenants`: the hosts of tenants, and a CRM that has moved."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from messagelog.connectors import Connector, Rejected
from messagelog.storage import TenantPlace, UserRow, open_store, transactions
from messagelog.storage.database import migrate
from storage.journal import run_sql
from support.cli_process import CommandResult, command

if TYPE_CHECKING:
    from pathlib import Path

HOSTED = f"{__name__}:Hosted"
ADA = UserRow("acme@crm.test", "hosted", "ada", "Ada", "crm.test", None, None, b"sealed", "session")
BEN = UserRow("acme@other.test", "hosted", "ben", "Ben", "other.test", None, None, b"sealed", "session")


class Hosted(Connector):
    """A CRM that every tenant hosts itself."""

    name = "hosted"

    def base_url_for(self, hostname: str) -> str:
        if not hostname.endswith(".test"):
            raise Rejected("it is none of this CRM")
        return f"https://{hostname}/api"


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    migrate(made)

    async def fill() -> None:
        store = await open_store(made)
        for user in (ADA, BEN):
            place = TenantPlace("acme", "hosted", f"https://{user.hostname}")
            await store.write(partial(transactions.keep_tenant, place, user.tenant, spare="spare"))
            await store.write(partial(transactions.sign_in, user, place))
        await store.close()

    asyncio.run(fill())
    return made


def tenants(url: str, *arguments: str, stdin: bytes | None = None, connectors: str = HOSTED) -> CommandResult:
    env = {"MESSAGELOG_DATABASE_URL": url, "MESSAGELOG_CONNECTORS": connectors}
    return command("tenants", *arguments, env=env, stdin=stdin)


def list_tenants(url: str, *arguments: str) -> list[list[str]]:
    done = tenants(url, "list", *arguments)
    assert done.code == 0, done.err
    heads, *lines = (line.split("\t") for line in done.out.splitlines())
    assert heads == ["tenant", "platform", "host", "crmTenant", "createdAt"]
    return [line[:4] for line in lines]


def hostnames(url: str) -> dict[str, str]:
    return dict(run_sql(url, 'SELECT "id", "hostname" FROM "users"'))


def test_tenants_are_listed_with_their_hosts(url: str) -> None:
    first = ["acme@crm.test", "hosted", "https://crm.test", "acme"]
    second = ["acme@other.test", "hosted", "https://other.test", "acme"]
    assert list_tenants(url) == [first, second]
    assert list_tenants(url, "acme@other.test") == [second]
    assert list_tenants(url, "--platform", "hosted") == [first, second]
    assert list_tenants(url, "--platform", "demo") == []


def test_more_tenants_than_one_page_are_all_listed(url: str) -> None:
    run_sql(
        url,
        """WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
           INSERT INTO "tenants" ("crmTenant", "platform", "host", "tenant", "createdAt")
           SELECT 'many', 'crm', 'https://' || i || '.test', 'many@' || i, 1 FROM n""",
    )
    assert len({line[0] for line in list_tenants(url, "--platform", "crm")}) == 450


def test_a_tenant_is_moved_once_it_is_meant(url: str) -> None:
    asked = tenants(url, "move", "acme@crm.test", "hosted", "new.test", stdin=b"n\n")
    assert asked.code == 1
    assert "Send the credentials of all users of acme@crm.test at hosted" in asked.out
    assert hostnames(url)["ada"] == "crm.test"
    done = tenants(url, "move", "acme@crm.test", "hosted", "New.test.", stdin=b"y\n")
    assert done.code == 0, done.err
    assert done.out.endswith("acme@crm.test at hosted is at https://new.test now.\nusers\t1\n")
    assert hostnames(url) == {"ada": "new.test", "ben": "other.test"}
    assert list_tenants(url, "acme@crm.test") == [["acme@crm.test", "hosted", "https://new.test", "acme"]]
    assert run_sql(url, 'SELECT "act", "tenant", "subject" FROM "audit"') == [
        ("move_tenant", "acme@crm.test", "https://new.test")
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nobody", "hosted", "new.test"), "There is no tenant nobody at hosted"),
        (("acme@crm.test", "demo", "new.test"), "There is no platform demo: this server has hosted."),
        (("acme@crm.test", "hosted", "https://new.test"), "hostname: expected the name of a host"),
        (("acme@crm.test", "hosted", "crm.evil"), "hostname: the connector hosted does not take it"),
        (
            ("acme@crm.test", "hosted", "other.test"),
            "other.test is the host of another tenant, acme@other.test",
        ),
    ],
)
def test_what_is_no_move_is_refused_in_a_sentence(
    url: str, arguments: tuple[str, ...], sentence: str
) -> None:
    done = tenants(url, "move", *arguments, "--yes")
    assert done.code == 2
    assert done.err.startswith(sentence), done.err
    assert hostnames(url) == {"ada": "crm.test", "ben": "other.test"}


def test_connectors_are_needed_to_move_and_not_to_list(url: str) -> None:
    done = tenants(url, "move", "acme@crm.test", "hosted", "new.test", "--yes", connectors="")
    assert done.code == 2
    assert done.err.startswith("MESSAGELOG_CONNECTORS is missing")
    assert tenants(url, "list", connectors="").code == 0


def test_in_the_demo_the_host_is_the_demo(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    migrate(url)
    run_sql(
        url,
        """INSERT INTO "tenants" ("crmTenant", "platform", "host", "tenant", "createdAt")
           VALUES ('acme', 'demo', '', 'acme', 1)""",
    )
    done = command("tenants", "move", "acme", "demo", "crm.test", "--yes", "--data", str(tmp_path))
    assert (done.code, done.out.splitlines()[0]) == (
        0,
        "acme at demo is at whichever host its users say now.",
    )
    assert (
        command("tenants", "list", "--data", str(tmp_path))
        .out.splitlines()[1]
        .startswith("acme\tdemo\t\tacme")
    )
