"""No operator sees text that was not recorded before."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest

from messagelog.connectors import Rejected
from messagelog.core.admin.audit import read_text_audited
from messagelog.core.admin.erasure import Eraser
from messagelog.core.admin.export import export_contact
from messagelog.core.operators.accounts import Operator, Role, RoleMissing, local_operator
from messagelog.storage import Sealer, transactions
from messagelog.storage.schema import metadata
from storage.journal import run_sql
from support.requests import body, message
from support.runtime_fixture import runtime_fixture

if TYPE_CHECKING:
    from messagelog.storage import LogKey
    from support.runtime_fixture import RuntimeFixture

BY = local_operator("test")
GRACE = Operator("grace", frozenset({Role.TEXT}))


async def waiting(here: RuntimeFixture) -> LogKey:
    """A conversation log with two messages that wait, since the CRM refuses them."""
    here.crm.before = lambda _call: Rejected("HTTP 422", status=422)
    await here.send(body(message(1, "first words"), message(2, "second words")))
    (log,) = await here.logs()
    return log.key


async def test_a_look_at_text_is_recorded_for_each_message(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        key = await waiting(here)
        seen = await read_text_audited(here.store, here.context.sealer, GRACE, key, ["1", "2", "3"])
        assert [each.payload.message.subject for each in seen if each.payload and each.payload.message] == [
            "first words",
            "second words",
        ]
        rows = await here.store.read(lambda: transactions.read_audit(0, 10))
        assert {(row.operator, row.act, row.role, row.tenant, row.platform, row.subject) for row in rows} == {
            ("grace", "read_text", "text", "acme", "memory", id_) for id_ in ("1", "2")
        }
        assert "words" not in repr(rows)
        assert await here.store.read(lambda: transactions.read_audit(0, 10, "hedy")) == []
        assert await here.store.read(lambda: transactions.read_audit(rows[0].at + 1, 10, "grace")) == []


@pytest.mark.parametrize("roles", [set(), {Role.ACT, Role.ADMINISTER}])
async def test_without_the_role_there_is_no_text_and_no_record(database_url: str, roles: set[Role]) -> None:
    async with runtime_fixture(database_url) as here:
        key = await waiting(here)
        with pytest.raises(RoleMissing):
            await read_text_audited(
                here.store, here.context.sealer, Operator("x", frozenset(roles)), key, ["1"]
            )
        assert await here.store.read(lambda: transactions.read_audit(0, 10)) == []


async def test_what_cannot_be_recorded_is_not_shown_nor_done(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        key = await waiting(here)
        store, sealer = here.store, here.context.sealer
        (log,) = await here.logs()
        run_sql(database_url, 'ALTER TABLE "audit" RENAME TO "away"')
        before = everything_but_audit(database_url)
        broken = (sqlite3.Error, psycopg.Error)
        try:
            with pytest.raises(broken):
                await read_text_audited(store, sealer, GRACE, key, ["1"])
            with pytest.raises(broken):
                await export_contact(store, sealer, BY, "acme", "memory", contact_id=log.contact_id)
            with pytest.raises(broken):
                await Eraser(store, sealer).tenant(BY, "acme")
            with pytest.raises(broken):
                await Eraser(store, sealer).user(BY, "acme", "memory", "ada")
            with pytest.raises(broken):
                await here.context.operators.add(BY, "grace", "correct horse battery", [Role.TEXT])
        finally:
            run_sql(database_url, 'ALTER TABLE "away" RENAME TO "audit"')
        assert everything_but_audit(database_url) == before


def everything_but_audit(url: str) -> dict[str, list[tuple[Any, ...]]]:
    tables = [name for name in metadata.tables if name != "audit"]
    return {name: sorted(run_sql(url, f'SELECT * FROM "{name}"'), key=repr) for name in tables}  # noqa: S608 - our own names


async def test_text_that_was_erased_or_is_sealed_with_another_key_is_said_to_be(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        key = await waiting(here)
        run_sql(database_url, """UPDATE "messageLogs" SET "payload" = NULL WHERE "id" = '1'""")
        other = Sealer("another-secret-of-thirty-two-characters")
        seen = await read_text_audited(here.store, other, GRACE, key, ["1", "2"])
        assert [(each.row.id, each.payload, each.sealed) for each in seen] == [
            ("1", None, False),
            ("2", None, True),
        ]


async def test_a_token_of_ringcentral_is_no_text(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = lambda _call: Rejected("HTTP 422", status=422)
        await here.send(body(message(1), rcAccessToken="secret-of-ringcentral"))
        (log,) = await here.logs()
        (seen,) = await read_text_audited(here.store, here.context.sealer, GRACE, log.key, ["1"])
        assert seen.payload is not None
        assert "secret-of-ringcentral" not in repr(seen)
        found = await export_contact(
            here.store, here.context.sealer, BY, "acme", "memory", contact_id=log.contact_id
        )
        assert b"text 1" in msgspec.json.encode(found)
        assert b"secret-of-ringcentral" not in msgspec.json.encode(found)
