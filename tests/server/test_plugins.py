"""Plugins as the client sees them: texts that it shows, and a CRM that never gets what redaction has masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from messagelog.plugins import Refused
from messagelog.plugins.redaction import Redaction
from support.plugins import Told
from support.requests import body, message, thread
from support.site import SQLITE_ONLY, site

if TYPE_CHECKING:
    from pathlib import Path

CARD, MASKED = "4111 1111 1111 1111", "••••••••••••1111"


def failing(_request: Any) -> Any:
    raise RuntimeError("text of a message")


def refusing(_request: Any) -> Any:
    raise Refused("Messages of the board are not logged.")


@SQLITE_ONLY
async def test_the_client_shows_what_a_plugin_keeps_from_being_logged(
    database_url: str, tmp_path: Path
) -> None:
    plugin = Told(failing, required=True)
    async with site(database_url, tmp_path, plugins=[plugin]) as here:
        reply = await here.log(body(message(1)))
        assert (reply.status, reply.body) == (
            503,
            "Nothing was logged, since the plugin told did not run. Please log again later.",
        )
        plugin.does = refusing
        reply = await here.log(body(message(1)))
        assert (reply.status, reply.body) == (422, "Messages of the board are not logged.")
        assert here.crm.writes == []
        assert await here.logs() == []
        plugin.does = lambda request: request
        assert (await here.log(body(message(1)))).body["logIds"] == ["1"]


@SQLITE_ONLY
async def test_cards_reach_neither_the_crm_nor_its_logs(database_url: str, tmp_path: Path) -> None:
    async with site(database_url, tmp_path, plugins=[Redaction({})]) as here:
        for sent in (body(message(1, f"my card: {CARD}, ssn 123-45-6789")), thread(f"note {CARD}")):
            assert (await here.log(sent)).body["successful"]
        text = " ".join(each["body"] for each in await here.activities())
        assert text.count(MASKED) == 2
        assert "ssn XXX-XX-XXXX" in text
        assert b"4111" not in b"".join(call.body for call in here.crm.writes)
