"""A day that another browser names otherwise is the same day, and goes to the activity that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from messagelog.connectors import Rejected
from messagelog.core import Times
from messagelog.core.intake.days import is_same_label
from support.memory_crm import Crm, Plain, ReadingBack, lost
from support.requests import MAYA, OMAR, START, body, message, thread
from support.runtime_fixture import runtime_fixture

if TYPE_CHECKING:
    from support.runtime_fixture import RuntimeFixture

HOUR, DAY = 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/7/13/2026", "/13/07/2026", True),
        ("/7/13/2026", "/13.7.2026", True),
        ("/7/13/2026", "/2026/7/13", True),
        ("/7/13/2026", "-2026-07-13", True),
        ("/7/13/2026", "/\u0661\u0663\u200f/\u0667\u200f/\u0662\u0660\u0662\u0666", True),
        ("/7/13/2026", "/13/7/26", True),
        ("/7/13/2026", "/13 juillet 2026", True),
        ("/7/13/2026", "/7/14/2026", False),
        ("/7/13/2026", "/14.7.2026", False),
        ("/7/7/2026", "/7/13/2026", False),
        ("/7/13/26", "/14/7/26", False),
        ("/7/13/2026", "/13/7/2569", None),
        ("/12/31/2026", "/1/1/2027", None),
        ("/7/13/2026", "/today", None),
        ("/today", "/hoy", None),
    ],
)
def test_labels_are_compared_and_never_read(one: str, other: str, same: bool | None) -> None:
    assert is_same_label(one, other) is same
    assert is_same_label(other, one) is same


async def _log(here: RuntimeFixture, *messages: dict[str, Any], day: str, **more: Any) -> Any:
    return await here.send(body(*messages, day=day, date=day, **more))


@pytest.mark.parametrize("whole_day", [True, False])
@pytest.mark.parametrize("label", ["13/07/2026", "2026/7/13", "13.7.2026", "13/7/2569"])
async def test_a_day_under_another_label_joins_its_activity(
    database_url: str, label: str, *, whole_day: bool
) -> None:
    async with runtime_fixture(database_url) as here:
        assert (await _log(here, message(1), day="7/13/2026")).log_ids == ["1"]
        again = [message(1)] if whole_day else []
        answer = await _log(here, *again, message(2), day=label)
        assert answer.log_ids == ["2"]
        assert [here.crm.only.body.count(f"text {n}") for n in (1, 2)] == [1, 1]
        assert (
            await _log(here, message(1), message(2), day=label)
        ).return_message.message == "Already logged"
        assert (await here.rows())["2"].client_log_id == "conv/7/13/2026"


async def test_another_day_has_an_activity_of_its_own(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await _log(here, message(1), day="7/13/2026")
        # By the user's zone it is the same day, by the browser's it is not.
        await _log(here, message(2), day="7/14/2026")
        await _log(here, message(3), day="14/07/2026")
        await _log(here, message(4, at=START + 3 * DAY), day="16/07/2026")
        await _log(here, message(5, at=START + 31 * DAY), day="13/8/2569")
        ids = {id_: row.client_log_id for id_, row in (await here.rows()).items()}
        assert ids == {
            "1": "conv/7/13/2026",
            "2": "conv/7/14/2026",
            "3": "conv/7/14/2026",
            "4": "conv/16/07/2026",
            "5": "conv/13/8/2569",
        }


async def test_other_conversations_threads_and_other_ids_are_left_alone(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await _log(here, message(1), day="7/13/2026")
        await _log(here, message(2), day="13/07/2026", conversation="other")
        await here.send(thread("hello", id_="conv"))
        await here.send(body(message(3), conversationLogId="a log of its own"))
        assert len(here.crm.activities) == 4


async def test_a_group_joins_the_day_of_its_own_contact(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        both = (MAYA, OMAR)
        await _log(here, message(1), day="7/13/2026", correspondents=both)
        omar: dict[str, Any] = {"contact": "c-2", "name": "Omar Reyes", "correspondents": both}
        assert (await _log(here, message(1), day="13/07/2026", **omar)).log_ids == ["1-c-2"]
        await _log(here, message(2), day="13/07/2026", correspondents=both)
        await _log(here, message(2), day="7/13/2026", **omar)
        assert {id_: row.client_log_id for id_, row in (await here.rows()).items()} == {
            "1-c-1": "conv/7/13/2026",
            "2-c-1": "conv/7/13/2026",
            "1-c-2": "conv/13/07/2026",
            "2-c-2": "conv/13/07/2026",
        }


@pytest.mark.parametrize("label", ["7/13/2026", "13/07/2026", "13/7/2569", "7/14/2026", "another log"])
async def test_what_is_logged_for_another_contact_is_said_whatever_the_label(
    database_url: str, label: str
) -> None:
    async with runtime_fixture(database_url) as here:
        await _log(here, message(1), day="7/13/2026")
        answer = await _log(here, message(1), day=label, contact="c-2", name="Omar Reyes")
        assert not answer.successful
        assert "Maya Patel" in answer.return_message.message
        assert here.crm.only.contact_id == "c-1"


async def test_a_new_message_of_a_day_that_another_contact_holds_is_not_written_elsewhere(
    database_url: str,
) -> None:
    async with runtime_fixture(database_url) as here:
        await _log(here, message(1), day="7/13/2026")
        answer = await _log(here, message(2), day="13/07/2026", contact="c-2", name="Omar Reyes")
        assert not answer.successful
        assert "Maya Patel" in answer.return_message.message
        assert len(here.crm.activities) == 1


async def test_a_day_of_which_nothing_reached_the_crm_keeps_nobody_out(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = lambda _call: Rejected("HTTP 422", status=422)
        assert not (await _log(here, message(1), day="7/13/2026")).successful
        here.crm.before = None
        omar: dict[str, Any] = {"contact": "c-2", "name": "Omar Reyes"}
        assert (await _log(here, message(1), message(2), day="13/07/2026", **omar)).successful
        assert here.crm.only.contact_id == "c-2"


async def test_a_day_that_is_parked_keeps_others_out(database_url: str) -> None:
    async with runtime_fixture(database_url, settings=Times(answer=0.5, call=5, lease=60)) as here:
        here.crm.before = lost
        await _log(here, message(1), day="7/13/2026")
        here.crm.before = None
        answer = await _log(here, message(2), day="13/07/2026", contact="c-2", name="Omar Reyes")
        assert not answer.successful
        assert "Maya Patel" in answer.return_message.message


async def test_a_day_whose_create_was_lost_is_joined_when_it_is_found(database_url: str) -> None:
    crm = Crm()
    async with runtime_fixture(
        database_url, ReadingBack, crm=crm, settings=Times(answer=2, call=5, lease=60)
    ) as here:
        crm.after = lambda call: lost(call) if call.kind == "create" else None
        await _log(here, message(1), day="7/13/2026")
        await _log(here, message(1), message(2), day="13/07/2026")
        crm.after = None
        await here.runtime.idle()
        for _ in range(3):
            await here.runtime.sweep()
            await here.runtime.idle()
        assert [crm.only.body.count(f"text {n}") for n in (1, 2)] == [1, 1]
        assert set((await here.states()).values()) == {"logged"}


async def test_a_log_that_is_there_is_not_looked_for_among_the_days(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await _log(here, message(1), day="7/13/2026")
        await here.send(body(message(9), conversationLogId="own", conversation="conv"))
        await here.send(body(message(9), message(8), conversationLogId="own", conversation="conv"))
        assert (await here.rows())["8"].client_log_id == "own"
