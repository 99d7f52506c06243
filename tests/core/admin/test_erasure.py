"""Nothing of an erased user or tenant is found again, whatever was under way, and nothing is logged twice for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from messagelog.commands.erase import erase_until_done
from messagelog.connectors import OutcomeUnknown, Rejected
from messagelog.core import Times
from messagelog.core.admin.erasure import Erased, Eraser
from messagelog.core.operators.accounts import Operator, Role, RoleMissing, local_operator
from messagelog.storage import Sealer, transactions
from messagelog.storage.schema import metadata
from messagelog.storage.urls import sqlite_path
from messagelog.storage.vacuum import purge_deleted
from storage.journal import everything, run_sql
from support.live_server import SQLITE_ONLY, until
from support.memory_crm import Crm, Finding
from support.requests import body, message
from support.runtime_fixture import SECRET, runtime_fixture

if TYPE_CHECKING:
    from messagelog.storage import Store
    from support.runtime_fixture import RuntimeFixture

BY = local_operator("test")
BRIEF = Times(answer=0.3, call=5.0, lease=60.0)
ADA, BEN, EVE = "acme/ada-lovell", "acme/ben", "globex/eve"
SEALER = Sealer(SECRET)
MARK = "mark-of-the-erased"


def eraser(here: RuntimeFixture) -> Eraser:
    return Eraser(here.store, here.context.sealer)


async def erase_ada(here: RuntimeFixture) -> Erased:
    user = await here.user(ADA)
    return await eraser(here).user(BY, "acme", "memory", user.id)


def refused(_call: Any) -> Rejected:
    return Rejected("HTTP 422", status=422)


def found_of(url: str, text: str) -> list[tuple[str, tuple[Any, ...]]]:
    """The rows that hold a text, in whatever column."""
    return [(table, row) for table, rows in everything(url).items() for row in rows if text in repr(row)]


# --------------------------------------------------------------------------------------------------- a tenant


def furnish(url: str, tenant: str) -> None:
    """A row of a tenant in every table that has tenants, full of a mark."""
    blob = "BLOB" if url.startswith("sqlite") else "BYTEA"
    for table in metadata.tables.values():
        if "tenant" not in table.columns:
            continue
        values = {column.name: _value(column, table.name, tenant, blob) for column in table.columns}
        names = ", ".join(f'"{name}"' for name in values)
        run_sql(url, f'INSERT INTO "{table.name}" ({names}) VALUES ({", ".join(values.values())})')  # noqa: S608 - our own names


def _value(column: sa.Column[Any], table: str, tenant: str, blob: str) -> str:
    known = {"tenant": tenant, "platform": "memory", "state": "open"}
    if table == "audit":
        known |= {"id": f"of-{tenant}", "operator": "grace", "act": "read_text", "role": "text"}
    if column.name in known:
        return f"'{known[column.name]}'"
    if isinstance(column.type, sa.Boolean):
        return "false"
    if isinstance(column.type, sa.Integer):
        return "1"
    text = f"'{MARK}-{tenant}-{column.name}'"
    return f"CAST({text} AS {blob})" if isinstance(column.type, sa.LargeBinary) else text


async def test_every_table_is_emptied_of_a_tenant_and_of_nobody_else(store: Store, database_url: str) -> None:
    for tenant in ("acme", "globex"):
        furnish(database_url, tenant)
    others = found_of(database_url, "globex")
    assert len({table for table, _ in others}) == sum(
        "tenant" in each.columns for each in metadata.tables.values()
    )
    await Eraser(store, SEALER).tenant(BY, "acme", "another platform")
    assert found_of(database_url, f"{MARK}-acme"), "at that platform there is nothing"
    erased = await Eraser(store, SEALER).tenant(BY, "acme")
    assert (erased.users, erased.contacts, erased.messages) == (1, 1, 1)
    assert found_of(database_url, f"{MARK}-acme") == []
    assert {table for table, _ in found_of(database_url, "acme")} == {"audit"}
    assert found_of(database_url, "globex") == others


async def test_a_tenant_is_erased_while_a_call_is_under_way(database_url: str) -> None:
    crm = Crm(gate=asyncio.Event())
    async with runtime_fixture(database_url, crm=crm, settings=BRIEF) as here:
        await here.user(ADA)
        sent = asyncio.create_task(here.send(body(message(1)), user=ADA))
        await until(lambda: _count(crm, 1), "the call has left")
        erased = await eraser(here).tenant(BY, "acme")
        assert (erased.users, erased.messages) == (1, 1)
        assert crm.gate is not None
        crm.gate.set()
        await sent
        assert {table for table, _ in found_of(database_url, "acme")} == {"audit"}
        assert here.crm.count("create") == 1


async def _count(crm: Crm, calls: int) -> bool:
    return crm.count("create") >= calls


@SQLITE_ONLY
async def test_the_file_holds_no_byte_of_them(database_url: str) -> None:
    path = sqlite_path(database_url)
    files = [path, path.with_name(f"{path.name}-wal")]
    async with runtime_fixture(database_url) as here:
        for number in range(40):
            await here.send(
                body(message(number), conversation=f"{MARK}-{number}", name=f"{MARK} Patel"), user=ADA
            )
        await here.send(body(message(1000), conversation="theirs"), user=EVE)
        assert any(MARK.encode() in file.read_bytes() for file in files)
        erased = await eraser(here).tenant(BY, "acme")
        assert (erased.users, erased.messages) == (1, 40)
        assert purge_deleted(database_url)
        assert not any(MARK.encode() in file.read_bytes() for file in files if file.exists())
        assert b"theirs" in path.read_bytes()
        await here.send(body(message(1001), conversation="theirs"), user=EVE)
        assert here.crm.count("update") + here.crm.count("create") == 42, "and the server goes on"


# ----------------------------------------------------------------------------------------------------- a user


async def test_nothing_names_an_erased_user_and_nothing_is_logged_twice(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        ada = await here.user(ADA)
        await here.send(body(message(1)), user=ADA)
        here.crm.before = refused
        await here.send(body(message(2), conversation="refused"), user=ADA)
        here.crm.before = None
        whose = (ada.tenant, ada.platform, ada.id)
        await here.store.write(lambda: transactions.change_user_settings(*whose, {"a": "1"}, ()))
        await here.send(body(message(3), conversation="bens"), user=BEN)
        assert found_of(database_url, ada.id)
        erased = await erase_ada(here)
        assert erased == Erased(users=1, settings=1, messages=1, kept=1)
        assert found_of(database_url, ada.id) == []
        assert await here.states() == {"1": "logged", "3": "logged"}
        assert await here.context.users.find(*whose) is None
        await here.send(body(message(1)), user=BEN)
        assert here.crm.count("create") == 3, "message 1 is known to be there"
        await here.send(body(message(2), conversation="refused"), user=BEN)
        assert here.crm.count("create") == 4, "message 2 is known not to be there"
        assert (await erase_again(here, ada.id)) == Erased()
        recorded = found_of(database_url, "erase_user")
        assert [eraser(here).pseudonym(*whose) in entry for _, entry in recorded] == [True, True]


async def erase_again(here: RuntimeFixture, id_: str) -> Erased:
    return await eraser(here).user(BY, "acme", "memory", id_)


async def test_a_call_under_way_comes_to_its_end_first(database_url: str) -> None:
    crm = Crm(gate=asyncio.Event())
    async with runtime_fixture(database_url, crm=crm, settings=BRIEF) as here:
        ada = await here.user(ADA)
        sent = asyncio.create_task(here.send(body(message(1)), user=ADA))
        await until(lambda: _count(crm, 1), "the call has left")
        waits: list[float] = []

        async def ends(seconds: float) -> None:
            waits.append(seconds)
            assert crm.gate is not None
            crm.gate.set()
            await sent

        erased = await erase_until_done(lambda: erase_again(here, ada.id), ends)
        assert (erased.users, erased.kept, erased.under_way, len(waits)) == (1, 1, 0, 1)
        assert found_of(database_url, ada.id) == []
        await here.send(body(message(1)), user=BEN)
        assert here.crm.count("create") == 1


async def test_what_nobody_can_ask_about_any_more_is_parked(database_url: str) -> None:
    async with runtime_fixture(database_url, Finding, settings=BRIEF) as here:
        ada = await here.user(ADA)
        here.crm.after = lambda call: OutcomeUnknown("lost") if call.kind == "create" else None
        here.crm.before = lambda call: OutcomeUnknown("lost") if call.kind == "find" else None
        await here.send(body(message(1), message(2)), user=ADA)
        assert "unknown" in (await here.states()).values()
        erased = await erase_ada(here)
        assert erased.parked == 1
        assert found_of(database_url, ada.id) == []
        assert [log.state for log in await here.logs()] == ["parked"]
        assert all(row.payload is None for row in (await here.rows()).values())
        calls = len(here.crm.calls)
        await here.runtime.sweep()
        assert len(here.crm.calls) == calls


# --------------------------------------------------------------------------------------------- who may, and the record


@pytest.mark.parametrize("roles", [set(), {Role.TEXT, Role.ACT}])
async def test_only_administrators_erase(store: Store, database_url: str, roles: set[Role]) -> None:
    furnish(database_url, "acme")
    before = everything(database_url)
    grace = Operator("grace", frozenset(roles))
    with pytest.raises(RoleMissing):
        await Eraser(store, SEALER).tenant(grace, "acme")
    with pytest.raises(RoleMissing):
        await Eraser(store, SEALER).user(grace, "acme", "memory", "ada")
    assert everything(database_url) == before
