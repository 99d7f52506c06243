"""What is not there any more is not logged, not answered as logged, and changes nothing of what was logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from messagelog.connectors import NotFound
from messagelog.messages import peek
from support.memory_crm import Call, Plain
from support.requests import JORDAN, OMAR, body, message, thread
from support.runtime_fixture import runtime_fixture

if TYPE_CHECKING:
    from messagelog.core.intake.answer import Answer

PURGED: dict[str, Any] = {"id": 9, "availability": "Purged", "conversationId": "conv"}
BARE: dict[str, Any] = {"id": 9}
DELETED = message(9, "deleted words", availability="Deleted")

every_stub = pytest.mark.parametrize("stub", [PURGED, BARE, DELETED], ids=["purged", "bare", "deleted"])


def told(answer: Answer) -> str:
    return answer.return_message.message


@every_stub
async def test_a_stub_beside_a_message_is_left_out(database_url: str, stub: dict[str, Any]) -> None:
    async with runtime_fixture(database_url) as here:
        answer = await here.send(body(message(1), stub))
        assert (answer.successful, answer.log_ids) == (True, ["1"])
        assert list(await here.rows()) == ["1"]
        assert "\n  Messages: 1 SMS\n" in here.crm.only.body
        assert "deleted words" not in here.crm.only.body
        again = await here.send(body(message(1), stub))
        assert (again.successful, again.log_ids, told(again)) == (True, [], "Already logged")


@every_stub
async def test_a_stub_alone_is_nothing_to_log(database_url: str, stub: dict[str, Any]) -> None:
    async with runtime_fixture(database_url) as here:
        for correspondents in ((), (OMAR,)):
            answer = await here.send(body(stub, correspondents=correspondents))
            assert (answer.successful, answer.log_ids) == (False, [])
        assert not here.crm.calls
        assert not await here.rows()


@pytest.mark.parametrize(
    "stub",
    [PURGED | {"id": 1}, BARE | {"id": 1}, message(1, availability="Deleted")],
    ids=["purged", "bare", "deleted"],
)
async def test_a_stub_of_a_logged_message_changes_nothing(database_url: str, stub: dict[str, Any]) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(message(1)))
        before, calls = here.crm.only.body, len(here.crm.calls)
        assert not (await here.send(body(stub))).successful
        assert (await here.send(body(stub, message(2)))).log_ids == ["2"]
        assert here.crm.only.body.startswith(before.replace("Messages: 1", "Messages: 2"))
        assert len(here.crm.calls) == calls + 1
        assert await here.states() == {"1": "logged", "2": "logged"}


async def test_what_was_deleted_is_not_logged_anew_with_its_activity(database_url: str) -> None:
    class Gone(Plain):
        not_found_means_gone = True

    async with runtime_fixture(database_url, Gone) as here:
        await here.send(body(message(1), message(2)))
        here.crm.activities.clear()
        here.crm.before = lambda call: (
            NotFound("HTTP 404") if call.kind == "update" and not _there(call) else None
        )

        def _there(_call: Call) -> bool:
            return bool(here.crm.activities)

        await here.send(body(message(1, availability="Deleted"), message(2), message(3)))
        assert [here.crm.only.body.count(f"text {n}") for n in (1, 2, 3)] == [0, 1, 1]


@pytest.mark.parametrize("availability", ["Purged", "Deleted"])
def test_a_first_look_sees_no_stubs(availability: str) -> None:
    ordinary = [message(n) for n in range(1, 9)]
    stub = {"id": 99, "type": "SMS", "availability": availability}
    seen = peek(msgspec.json.encode(body(*ordinary, stub)))
    assert seen is not None
    assert set(seen.message_ids) == {str(n) for n in range(1, 9)}
    assert peek(msgspec.json.encode(body(*ordinary, BARE))) is None, "all of it has to be read"


@pytest.mark.parametrize("messages", [[], None])
async def test_a_thread_of_which_nothing_is_left_makes_no_activity(database_url: str, messages: Any) -> None:
    async with runtime_fixture(database_url) as here:
        request = thread("hello")
        for entity in request["logInfo"]["entities"]:
            entity["availability"] = "Deleted"
        request["logInfo"]["messages"] = messages
        assert not (await here.send(request)).successful
        assert not here.crm.calls


async def test_a_thread_whose_messages_are_deleted_later_says_so_in_its_activity(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(thread("hello"))
        request = thread("hello")
        for entity in request["logInfo"]["entities"]:
            entity.update(availability="Deleted", lastModifiedTime=entity["lastModifiedTime"] + 600_000)
        request["logInfo"]["lastModifiedTime"] += 600_000
        assert (await here.send(request)).successful
        assert "hello" not in here.crm.only.body
        assert "0 messages, 0 notes" in here.crm.only.body


@pytest.mark.parametrize("correspondents", [(), (None,)])
async def test_a_fax_without_a_sender_is_logged_for_the_chosen_contact(
    database_url: str, correspondents: Any
) -> None:
    async with runtime_fixture(database_url) as here:
        fax = message(1, "PATEL M", type="Fax", **{"from": None}, to=[JORDAN], faxPageCount="2")
        answer = await here.send(body(fax, correspondents=correspondents))
        assert answer.log_ids == ["1"]
        assert here.crm.only.subject == "Fax from Maya Patel - 2026-07-13"
        assert here.crm.only.body.startswith("Conversation with Maya Patel\n")
        assert here.crm.only.body.endswith("] Maya Patel\n  Fax (2 pages)")
