"""A PostgreSQL server of another machine proves who it is before it hears anything, and above all the password."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict

from messagelog.storage import open_store
from messagelog.storage.database import schema_version
from messagelog.storage.migrate import alchemy_url, upgrade
from messagelog.storage.postgres.tls import weak_mode, with_tls
from messagelog.storage.urls import postgres_url
from support.certificates import authority, postgres_listener, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.certificates import Authority

HOST = "db.example.test"
"""Not this machine by its name, whatever `hostaddr` says."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def trusted(folder: Path) -> Authority:
    return authority(folder)


@pytest.fixture(autouse=True)
def roots(trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts the test's authority, and no other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.file))


def url_of(port: int, more: str = "") -> str:
    return f"postgresql://ada:hid%3Fden@{HOST}:{port}/journal?hostaddr=127.0.0.1{more}"


def asked_for_the_version(url: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        schema_version(url)


def asked_by_migrate(url: str) -> None:
    with pytest.raises(sa.exc.OperationalError):
        upgrade(url)


WAYS = [asked_for_the_version, asked_by_migrate]


@pytest.mark.parametrize("ask", WAYS)
def test_a_server_that_proves_its_name_is_spoken_to(
    folder: Path, trusted: Authority, ask: Callable[[str], None]
) -> None:
    with postgres_listener(trusted.issue(folder, HOST)) as listener:
        ask(url_of(listener.port))
    assert listener.plain == []
    assert b"journal" in listener.startups[0]
    assert b"hid?den" in listener.passwords[0], "so that it would be seen where it must not be"


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("wrong", ["self-signed", "another authority", "another name", "expired", "no TLS"])
def test_a_server_that_does_not_hears_nothing(
    folder: Path, trusted: Authority, ask: Callable[[str], None], wrong: str
) -> None:
    makers: dict[str, Callable[[], Path | None]] = {
        "self-signed": lambda: self_signed(folder, HOST),
        "another authority": lambda: authority(folder, "other.test").issue(folder, HOST),
        "another name": lambda: trusted.issue(folder, "other.example.test"),
        "expired": lambda: trusted.issue(folder, HOST, ends=-dt.timedelta(days=1)),
        "no TLS": lambda: None,
    }
    certificate = makers[wrong]()
    with postgres_listener(certificate) as listener:
        ask(url_of(listener.port))
    assert b"".join(listener.plain + listener.startups + listener.passwords) == b""


@pytest.mark.parametrize("good", [True, False])
async def test_the_store_asks_likewise(folder: Path, trusted: Authority, good: bool) -> None:
    certificate = trusted.issue(folder, HOST) if good else self_signed(folder, HOST)
    with postgres_listener(certificate) as listener:
        opening = asyncio.create_task(open_store(url_of(listener.port)))
        await asyncio.to_thread(listener.answered.wait, 10)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
    assert listener.plain == []
    assert bool(listener.passwords) is good


def test_an_authority_that_the_url_names_is_the_only_one(folder: Path, trusted: Authority) -> None:
    other = authority(folder, "private.test")
    more = f"&sslrootcert={quote(str(other.file), safe='')}"
    with postgres_listener(other.issue(folder, HOST)) as listener:
        asked_for_the_version(url_of(listener.port, more))
        assert listener.passwords
    with postgres_listener(trusted.issue(folder, HOST)) as listener:
        asked_for_the_version(url_of(listener.port, more))
        assert listener.startups == []


# ------------------------------------------------------------------------------------------- what is added


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada@localhost/journal",
        "postgresql://ada@127.0.0.1:5433/journal",
        "postgresql://ada@[::1]/journal",
        "postgresql:///journal?host=/var/run/postgresql",
        "postgresql://ada@/journal",
        "postgresql://localhost,127.0.0.2/journal",
        "postgresql://localhost/journal?hostaddr=127.0.0.1",
    ],
)
def test_a_server_of_this_machine_is_left_as_it_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    assert with_tls(url) == url
    assert weak_mode(f"{url}{'&' if '?' in url else '?'}sslmode=disable") is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada@db.test/journal",
        "postgresql://ada@10.0.0.1/journal",
        "postgresql://localhost,db.test/journal",
        "postgresql://localhost/journal?hostaddr=10.0.0.1",
        "postgresql://db.test/journal?hostaddr=127.0.0.1",
        "postgresql:///journal?host=db.test",
        "postgresql:///journal?service=db",
        "postgresql://127.0.0.1.db.test/journal",
        "postgresql://ada:wo?rd@db.test/journal?application_name=a@b",
    ],
)
def test_every_other_is_verified(url: str, trusted: Authority) -> None:
    before, after = conninfo_to_dict(url), conninfo_to_dict(with_tls(url))
    added = {"sslmode": "verify-full", "sslrootcert": str(trusted.file), "gssencmode": "disable"}
    assert after == before | added
    assert dict(alchemy_url(url).query).items() >= added.items()
    assert with_tls(with_tls(url)) == with_tls(url)


def test_a_host_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.test")
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert conninfo_to_dict(with_tls("postgresql:///journal"))["sslmode"] == "verify-full"


def test_what_the_url_says_stays(trusted: Authority) -> None:
    url = postgres_url("postgres://db.test/journal?sslmode=require&sslrootcert=/ca.pem&gssencmode=prefer")
    assert url == "postgresql://db.test/journal?sslmode=require&sslrootcert=/ca.pem&gssencmode=prefer"
    system = conninfo_to_dict(with_tls("postgresql://db.test/journal?sslrootcert=system"))
    assert system["sslrootcert"] == str(trusted.file)


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
def test_modes_that_leave_a_server_unchecked(mode: str) -> None:
    assert weak_mode(f"postgresql://db.test/journal?sslmode={mode}") == mode
    assert weak_mode("postgresql://db.test/journal?sslmode=verify-full") is None
    assert weak_mode("postgresql://db.test/journal") is None
