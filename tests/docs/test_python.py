"""The Python of the documentation runs, and its connectors log what they are given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from docs.pages import DOCS, PAGES, README, blocks, name_of, run_python
from messagelog.connectors import Credentials
from messagelog.testing import open_test_context
from messagelog.testing.demo_crm import serve_demo_crm
from support.requests import body, message, thread, to_log_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from messagelog.connectors import Connector
    from messagelog.core import Answer
    from messagelog.testing.demo_crm import DemoCrmClient

HOW_TO = DOCS / "how-to" / "write-a-connector.md"
WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_each_block_runs(page: Path) -> None:
    run_python(page)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    for block in blocks(page, "python"):
        assert set(block.marks) <= {"no-run"}
        if block.marks:
            assert block.text.startswith("# not run: ")


class Office:
    """A connector of the documentation, Ada who is signed in with it, and the CRM that both speak to."""

    def __init__(self, context: Any, connector: Connector, api_client: DemoCrmClient, user: Any) -> None:
        self.context, self.connector, self.crm, self.user = context, connector, api_client, user

    async def send(self, request: dict[str, Any]) -> Answer:
        answer: Answer = await self.context.runtime.submit(self.user, to_log_request(request))
        return answer

    async def activities(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.crm.ask("GET", "/api/activities")).body
        return found


@asynccontextmanager
async def office(
    connector: Connector, folder: Path, media_hosts: frozenset[str] = frozenset()
) -> AsyncIterator[Office]:
    async with serve_demo_crm(folder / "crm.sqlite") as crm, crm.api_client() as api_client:
        connector.base_url = f"{crm.url}/api"
        async with open_test_context(connector, folder, media_hosts=media_hosts) as context:
            user = await context.users.sign_in(connector, Credentials(api_key="demo-ada"), "")
            yield Office(context, connector, api_client, user)


Make = Callable[[str], "Connector"]
"""Makes a connector of a page, by its name."""


@pytest.fixture(scope="module")
def from_readme() -> Make:
    return maker(README)


@pytest.fixture(scope="module")
def from_how_to() -> Make:
    return maker(HOW_TO)


def maker(page: Path) -> Make:
    names = run_python(page)

    def make(name: str) -> Connector:
        quick = {"settle_seconds": 0.05}  # the CRM of these tests does not lag
        connector: Connector = type(name, (names[name],), quick)()
        return connector

    return make


async def test_the_readmes_connector_creates_updates_and_matches(from_readme: Make, tmp_path: Path) -> None:
    async with office(from_readme("MyCrm"), tmp_path) as here:
        assert (await here.send(body(message(1, "First & <last>"), message(2)))).log_ids == ["1", "2"]
        assert (await here.send(body(message(3, "third")))).log_ids == ["3"]
        (activity,) = await here.activities()
        assert activity["contact_id"] == "c-1"
        assert activity["body"] == (
            "Conversation with Maya Patel (+14155550142)\n"
            "  Agent: Jordan Lee\n"
            "  Date: 2026-07-13\n"
            "  Messages: 3 SMS\n"
            "  Times in America/Los_Angeles\n"
            "\n"
            "[2026-07-13 8:01 PM PDT] Maya Patel\n"
            "  First & <last>\n"
            "\n"
            "[2026-07-13 8:02 PM PDT] Maya Patel\n"
            "  text 2\n"
            "\n"
            "[2026-07-13 8:03 PM PDT] Maya Patel\n"
            "  third"
        )
        session = await here.context.users.session(here.connector, "acme", "u-ada")
        (maya,) = await here.connector.find_contact(session, "+14155550142")
        assert (maya.id, maya.name) == ("c-1", "Maya Patel")
        await here.crm.chaos(lose_response_rate=1)
        lost = await here.send(body(message(4), day="7/14/2026"))
        assert "kept for review" in lost.return_message.message


@pytest.mark.parametrize(
    "name", ["TicketCrm", "WithoutExternalIds", "WithoutSearch", "WithMatters", "WithFiles"]
)
async def test_the_how_tos_connectors_find_out_about_lost_answers(
    from_how_to: Make, name: str, tmp_path: Path
) -> None:
    async with office(from_how_to(name), tmp_path) as here:
        await here.crm.chaos(lose_response_rate=1, external_ids=name != "WithoutExternalIds")
        assert (await here.send(body(message(1), message(2)))).log_ids == ["1", "2"]
        assert (await here.send(body(message(3), day="7/14/2026"))).log_ids == ["3"]
        assert [each["body"].count("text ") for each in await here.activities()] == [2, 1]


async def test_the_how_tos_connector_that_appends(from_how_to: Make, tmp_path: Path) -> None:
    async with office(from_how_to("Notes"), tmp_path) as here:
        await here.crm.chaos(append_only=True)
        await here.send(body(message(1)))
        await here.send(body(message(2)))
        await here.send(thread("one"))
        await here.send(thread("one", "two"))
        log, shared = await here.activities()
        assert log["body"].endswith("Maya Patel\n  text 1\n\n[2026-07-13 8:02 PM PDT] Maya Patel\n  text 2")
        assert [shared["body"].count(word) for word in ("one", "two")] == [1, 1]


async def test_the_how_tos_matters_are_shown(from_how_to: Make, tmp_path: Path) -> None:
    async with office(from_how_to("WithMatters"), tmp_path) as here:
        session = await here.context.users.session(here.connector, "acme", "u-ada")
        (maya,) = await here.connector.find_contact(session, "+14155550142")
        assert maya.additional_info is not None
        assert [each["title"] for each in maya.additional_info["matter"]] == ["Renewal 2026", "Onboarding"]


async def test_the_how_tos_connector_with_files(from_how_to: Make, tmp_path: Path) -> None:
    async with media_server(b"a picture") as host:
        picture = {
            "id": 5,
            "uri": f"http://{host}/content/5",
            "type": "MmsAttachment",
            "contentType": "image/png",
        }
        missing = {**picture, "id": 6, "uri": f"http://{host}/none/6"}
        request = body(message(1, attachments=[picture, missing]), rcAccessToken="the-token")
        async with office(from_how_to("WithFiles"), tmp_path, frozenset({host})) as here:
            assert (await here.send(request)).log_ids == ["1"]
            (activity,) = await here.activities()
            (kept,) = activity["attachments"]
            assert (kept["file_name"], kept["content_type"], kept["size"]) == ("image-5", "image/png", 9)
            assert activity["body"].count("Picture: https://") == 2, "both have their link"


@asynccontextmanager
async def media_server(content: bytes) -> AsyncIterator[str]:
    """RingCentral's media, on loopback: for the right token."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer the-token":
            return web.Response(status=401)
        return web.Response(body=content, content_type="image/png")

    app = web.Application()
    app.router.add_get("/content/{id}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    live_server = web.TCPSite(runner, "127.0.0.1", 0)
    await live_server.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()
