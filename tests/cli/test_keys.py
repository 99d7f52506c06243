"""`messagelog keys`, and a server that refuses secret keys that the database was not used with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from messagelog.storage import Sealer
from messagelog.storage.database import migrate
from storage.journal import run_sql
from support.cli_process import CommandResult, command
from support.requests import body, message
from support.runtime_fixture import SECRET, runtime_fixture

if TYPE_CHECKING:
    from pathlib import Path

NEW = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
OTHER = "ffeeddccbbaa99887766554433221100"
OLD_ID, NEW_ID, OTHER_ID = (Sealer(secret).key_id.hex() for secret in (SECRET, NEW, OTHER))


@pytest.fixture
def database_in_use(tmp_path: Path) -> str:
    """Return a database that was used with a secret, and in which a message waits."""
    url = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    migrate(url)

    async def use() -> None:
        async with runtime_fixture(url) as here:
            await here.send(body(message(1)))

    asyncio.run(use())
    return url


def run(url: str, *arguments: str, secrets: tuple[str, ...] = (NEW, SECRET)) -> CommandResult:
    env = {
        "MESSAGELOG_DATABASE_URL": url,
        "MESSAGELOG_SECRET_KEY": secrets[0],
        "MESSAGELOG_OLD_SECRET_KEYS": ", ".join(secrets[1:]),
        "MESSAGELOG_PUBLIC_URL": "https://log.example.com",
        "MESSAGELOG_CONNECTORS": "demo",
        "MESSAGELOG_DEMO_CRM_URL": "http://127.0.0.1:8788/demo-crm/api",
    }
    done = command(*arguments, env={name: value for name, value in env.items() if value})
    for secret in (SECRET, NEW, OTHER):
        assert secret not in done.out + done.err
    return done


def list_keys(done: CommandResult) -> dict[str, list[str]]:
    lines = [line.split("\t") for line in done.out.splitlines() if "\t" in line]
    assert lines[0] == [
        *("key id", "secret", "signs tokens"),
        *("users", "messageLogs", "contacts", "newContacts", "attempts", "keys"),
    ]
    return {line[0]: line[1:] for line in lines[1:]}


def test_a_rotation_from_beginning_to_end(database_in_use: str) -> None:
    before = run(database_in_use, "keys", "list", secrets=(SECRET, NEW))
    assert list_keys(before) == {
        OLD_ID: ["newest", "yes", "1", "0", "0", "0", "0", "2"],
        NEW_ID: ["old", "no", "0", "0", "0", "0", "0", "0"],
    }
    rotated = run(database_in_use, "keys", "rotate")
    assert rotated.code == 0, rotated.err
    assert rotated.out.splitlines()[:6] == [
        "users: 1 sealed again",
        "messageLogs: 0 sealed again",
        "contacts: 0 sealed again",
        "newContacts: 0 sealed again",
        "attempts: 0 sealed again",
        "keys: 2 sealed again",
    ]
    assert list_keys(rotated) == {
        NEW_ID: ["newest", "yes", "1", "0", "0", "0", "0", "2"],
        OLD_ID: ["old", "no", "0", "0", "0", "0", "0", "0"],
    }
    assert "users: 0 sealed again" in run(database_in_use, "keys", "rotate").out
    assert list_keys(run(database_in_use, "keys", "list", secrets=(NEW,))).keys() == {NEW_ID}


def test_what_no_key_opens_is_told_and_left_alone(database_in_use: str) -> None:
    sealed = Sealer(OTHER).seal(b"x", "users", "acme", "memory", "ada").hex()
    run_sql(database_in_use, f"""UPDATE "users" SET "credentials" = X'{sealed}'""")  # noqa: S608 - our own bytes
    rotated = run(database_in_use, "keys", "rotate")
    assert rotated.code == 2
    assert list_keys(rotated)[OTHER_ID] == ["unknown", "no", "1", "0", "0", "0", "0", "0"]
    assert rotated.err == (
        f"users: 1 sealed under the unknown key {OTHER_ID} still: no secret that is given opens them.\n"
    )
    assert run_sql(database_in_use, 'SELECT hex("credentials") FROM "users"') == [(sealed.upper(),)]


def test_altered_bytes_are_told_and_left_alone(database_in_use: str) -> None:
    run_sql(database_in_use, """UPDATE "users" SET "credentials" = CAST("credentials" || X'00' AS BLOB)""")
    rotated = run(database_in_use, "keys", "rotate")
    assert rotated.code == 2
    assert f"users: 1 sealed under the old key {OLD_ID} still: a server still seals" in rotated.err


@pytest.mark.parametrize("arguments", [("serve",), ("keys", "rotate")], ids=" ".join)
@pytest.mark.parametrize("secrets", [(NEW, OTHER)])
def test_other_secrets_are_refused(
    database_in_use: str, arguments: tuple[str, ...], secrets: tuple[str, ...]
) -> None:
    done = run(database_in_use, *arguments, secrets=secrets)
    assert done.code == 2
    assert done.err == (
        f"The database was used with another secret key (key id {OLD_ID}), and without it nothing that is stored can"
        " be opened.\n"
        "Add that secret to MESSAGELOG_OLD_SECRET_KEYS, and remove it when `messagelog keys rotate` is done.\n"
    )


def test_the_demo_refuses_another_secret_too(database_in_use: str, tmp_path: Path) -> None:
    """Its secret is a file beside the database."""
    (tmp_path / "secret-key").write_text(NEW)
    done = command("demo", "--data", str(tmp_path), "--port", "0")
    assert (done.code, done.err) == (
        2,
        f"The file secret-key in {tmp_path} is not the one of its database. Choose another one with --data.\n",
    )
    assert list_keys(run(database_in_use, "keys", "list", secrets=(SECRET,))).keys() == {OLD_ID}


def test_a_damaged_key_is_refused(database_in_use: str) -> None:
    run_sql(database_in_use, """UPDATE "keys" SET "sealed" = CAST("sealed" || X'00' AS BLOB)""")
    done = run(database_in_use, "serve", secrets=(SECRET,))
    assert done.code == 2
    assert done.err == (
        "The database is damaged: the stored key entries was altered. Restore the table keys from a backup.\n"
    )


@pytest.mark.parametrize(
    ("secrets", "sentence"),
    [
        (
            (NEW, "short"),
            "MESSAGELOG_OLD_SECRET_KEYS holds a key that is unsafe: it needs at least 32 random",
        ),
        ((NEW, SECRET, "a" * 64), "MESSAGELOG_OLD_SECRET_KEYS holds a key that is unsafe: it needs at least"),
        (
            (NEW, SECRET, NEW),
            "MESSAGELOG_OLD_SECRET_KEYS holds MESSAGELOG_SECRET_KEY: name each key once.",
        ),
        ((NEW, SECRET, OTHER, SECRET), "MESSAGELOG_OLD_SECRET_KEYS holds a key twice: name each key once."),
        (
            (f"two-secret-keys-with-one-key-id-{14195}", f"two-secret-keys-with-one-key-id-{71911}"),
            "MESSAGELOG_OLD_SECRET_KEYS: two secret keys have the same key id: choose another one.",
        ),
        (("",), "MESSAGELOG_SECRET_KEY is missing: set it to a random text"),
    ],
)
@pytest.mark.parametrize("arguments", [("serve",), ("keys", "list")], ids=" ".join)
def test_secrets_that_are_no_good_are_refused(
    database_in_use: str, arguments: tuple[str, ...], secrets: tuple[str, ...], sentence: str
) -> None:
    done = run(database_in_use, *arguments, secrets=secrets)
    assert done.code == 2
    assert sentence in done.err


def test_a_database_that_nobody_has_used_yet(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    assert "does not exist yet" in run(url, "keys", "list").err
    migrate(url)
    assert list_keys(run(url, "keys", "list")).keys() == {NEW_ID, OLD_ID}
    assert run(url, "keys", "rotate").code == 0

    async def start() -> None:
        async with runtime_fixture(url, secrets=(NEW,)) as here:
            await here.user()

    asyncio.run(start())
    assert list_keys(run(url, "keys", "list"))[NEW_ID] == ["newest", "yes", "1", "0", "0", "0", "0", "2"]
