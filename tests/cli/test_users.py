"""`messagelog users`: the list of users, and the end of sessions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from messagelog.storage import UserRow, open_store, transactions
from messagelog.storage.database import migrate
from storage.journal import run_sql
from support.cli_process import CommandResult, command

if TYPE_CHECKING:
    from pathlib import Path

USERS = [
    UserRow(
        tenant, platform, id_, f"name of {id_}", f"{id_}.test", None, None, b"sealed", f"session of {id_}"
    )
    for tenant, platform, id_ in (
        ("acme", "crm", "ada"),
        ("acme", "crm", "bob"),
        ("acme", "other", "ada"),
        ("otto", "crm", "ada"),
    )
]


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    migrate(made)

    async def fill() -> None:
        store = await open_store(made)
        for user in USERS:
            await store.write(partial(transactions.sign_in, user))
        await store.close()

    asyncio.run(fill())
    return made


def users(url: str, *arguments: str) -> CommandResult:
    return command("users", *arguments, env={"MESSAGELOG_DATABASE_URL": url})


def list_users(url: str, *arguments: str) -> list[list[str]]:
    done = users(url, "list", *arguments)
    assert done.code == 0, done.err
    heads, *lines = (line.split("\t") for line in done.out.splitlines())
    assert heads == ["tenant", "platform", "id", "name", "connected", "updatedAt", "hostname"]
    return lines


def read_ended_sessions(url: str) -> dict[tuple[str, ...], bool]:
    """Return, for each user whose session has ended, whether their credentials are deleted."""
    rows = run_sql(url, 'SELECT "tenant", "platform", "id", "sessionId", "credentials" FROM "users"')
    return {tuple(key): sealed is None for *key, session, sealed in rows if session != f"session of {key[2]}"}


def test_users_are_listed(url: str) -> None:
    assert [line[:5] for line in list_users(url)] == [
        ["acme", "crm", "ada", "name of ada", "yes"],
        ["acme", "other", "ada", "name of ada", "yes"],
        ["otto", "crm", "ada", "name of ada", "yes"],
        ["acme", "crm", "bob", "name of bob", "yes"],
    ]
    assert [line[6] for line in list_users(url)] == ["ada.test", "ada.test", "ada.test", "bob.test"]
    assert [line[:3] for line in list_users(url, "otto")] == [["otto", "crm", "ada"]]
    assert list_users(url, "nobody") == []


def test_more_users_than_one_batch_are_all_listed_and_all_signed_out(url: str) -> None:
    run_sql(
        url,
        """WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
           INSERT INTO "users" ("tenant", "platform", "id", "name", "hostname", "createdAt", "updatedAt")
           SELECT 'many', 'crm', 'user-' || i, '', '', 1, 1 FROM n""",
    )
    assert len({tuple(line[:3]) for line in list_users(url, "many")}) == 450
    assert users(url, "sign-out", "--tenant", "many").out == "The sessions of 450 users have ended.\n"
    assert len(read_ended_sessions(url)) == 450


@pytest.mark.parametrize(
    ("whose", "expected"),
    [
        (("acme", "crm", "ada"), {("acme", "crm", "ada")}),
        (("--tenant", "acme"), {("acme", "crm", "ada"), ("acme", "crm", "bob"), ("acme", "other", "ada")}),
        (("--all",), {(user.tenant, user.platform, user.id) for user in USERS}),
        (("--tenant", "nobody"), set()),
    ],
    ids=["one", "a tenant", "all", "an empty tenant"],
)
@pytest.mark.parametrize("forget", [False, True])
def test_sessions_end_and_credentials_stay_unless_told_to_forget(
    url: str, whose: tuple[str, ...], expected: set[tuple[str, ...]], forget: bool
) -> None:
    done = users(url, "sign-out", *whose, *(["--forget"] if forget else []))
    assert (done.code, done.out) == (0, f"The sessions of {len(expected)} users have ended.\n")
    assert read_ended_sessions(url) == dict.fromkeys(expected, forget)
    connected = {tuple(line[:3]): line[4] for line in list_users(url)}
    assert all(connected[key] == ("no" if forget else "yes") for key in expected)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Name one user by TENANT PLATFORM ID, or else --tenant TENANT, or else --all."),
        (("--all", "--tenant", "acme"), "Name one user by"),
        (("acme", "crm", "ada", "--all"), "Name one user by"),
        (("acme", "crm"), "Name a user by three: TENANT PLATFORM ID."),
        (("acme", "crm", "eve"), "There is no user eve of acme at crm."),
    ],
)
def test_whose_sessions_has_to_be_said(url: str, arguments: tuple[str, ...], sentence: str) -> None:
    done = users(url, "sign-out", *arguments)
    assert done.code == 2
    assert done.err.startswith(sentence)
    assert read_ended_sessions(url) == {}
