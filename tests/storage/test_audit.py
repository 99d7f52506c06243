"""No operator sees text that was not recorded before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.core.audit import audited_text
from messagelog.core.operators import Operator, Role
from messagelog.storage import scripts
from support.requests import body, message
from support.world import world

if TYPE_CHECKING:
    from messagelog.storage import LogKey
    from support.world import World

GRACE = Operator("grace", frozenset({Role.TEXT}))


async def waiting(here: World) -> LogKey:
    """A conversation log with two messages that wait, since the CRM refuses them."""
    here.crm.fail_all(422)
    await here.send(body(message(1, "first words"), message(2, "second words")))
    (log,) = await here.logs()
    return log.key


async def test_a_look_at_text_is_recorded_for_each_message(database_url: str) -> None:
    async with world(database_url) as here:
        key = await waiting(here)
        seen = await audited_text(here.store, here.assembly.sealer, GRACE, key, ["1", "2", "3"])
        assert [each.payload.message.text for each in seen if each.payload and each.payload.message] == [
            "first words",
            "second words",
        ]
        rows = await here.store.read(lambda: scripts.read_audit(0, 10))
        assert {(row.operator, row.act, row.role, row.tenant, row.platform, row.subject) for row in rows} == {
            ("grace", "read_text", "text", "acme", "memory", id_) for id_ in ("1", "2")
        }
        assert "words" not in repr(rows)
        assert await here.store.read(lambda: scripts.read_audit(0, 10, "hedy")) == []
        assert await here.store.read(lambda: scripts.read_audit(rows[0].at + 1, 10, "grace")) == []
