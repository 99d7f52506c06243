"""The inbox: what it shows of what went wrong, and what a person's decisions lead to in the CRM."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest

from messagelog.connectors import Rejected, Unavailable
from messagelog.core import Times
from messagelog.core.admin.inbox import DecisionRefused, Inbox, NotThere, key_of
from messagelog.core.admin.retention import Retention, RetentionPolicy
from messagelog.core.operators.accounts import Operator, Role, RoleMissing, local_operator
from messagelog.messages import BadRequest, parse_log_request
from messagelog.storage import LogKey, Sealer, transactions
from messagelog.storage.records.inbox import InboxFilter
from storage.journal import run_sql
from support.crash_campaign import Clock
from support.live_server import SQLITE_ONLY
from support.memory_crm import Appending, Call, Finding, Plain, Upserting, lost
from support.requests import MAYA, OMAR, body, message, thread
from support.run_until_idle import work_off
from support.runtime_fixture import SECRET, RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.connectors import ConnectorError

KEY = LogKey("acme", "memory", "conv/7/13/2026")
FAST = Times(answer=0.2, call=5, lease=60)
GRACE = local_operator("grace")


def inbox(here: RuntimeFixture, operator: Operator = GRACE) -> Inbox:
    return Inbox(here.store, operator, Sealer(SECRET))


def refuses(_call: Call) -> ConnectorError:
    return Rejected("HTTP 422", status=422, body='{"message": "text 1 is bad", "token": "acme/ada"}')


async def failed(here: RuntimeFixture, *numbers: int) -> None:
    here.crm.before = refuses
    await here.send(body(*map(message, numbers)))
    here.crm.before = None


async def parked(here: RuntimeFixture, *numbers: int, done: bool = True) -> None:
    """A log that is parked: its create was done and not answered, or not done."""
    if done:
        here.crm.after = lost
    else:
        here.crm.before = lost
    await here.send(body(*map(message, numbers)))
    here.crm.before = here.crm.after = None


async def work(here: RuntimeFixture) -> None:
    """As a running server does: takes up what is due until nothing is."""
    await work_off(here.runtime)


def written(here: RuntimeFixture, *numbers: int) -> list[int]:
    """How often each message stands in the CRM."""
    bodies = [f"{activity.body}\n" for activity in here.crm.activities.values()]
    return [sum(each.count(f"text {number}\n") for each in bodies) for number in numbers]


# ----------------------------------------------------------------------------------------- to look at


async def test_what_failed_is_shown_with_its_cause_and_its_calls(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed(here, 1, 2)
        (entry,) = (await inbox(here).entries()).entries
        assert (entry.state, entry.cause, entry.contact_name) == ("failed", "rejected", "Maya Patel")
        assert (entry.states, entry.users, entry.due_at, entry.attempts) == ({"failed": 2}, ["ada"], None, 2)
        details = await inbox(here).entry(KEY)
        assert [(row.id, row.has_text, row.text) for row in details.rows] == [
            ("1", True, None),
            ("2", True, None),
        ]
        attempt, _ = details.attempts
        assert (attempt.call, attempt.error, attempt.status) == ("create", "Rejected", 422)
        assert (attempt.reason, attempt.body) == ("rejected", None)
        (cause,) = [each for each in await inbox(here).causes() if each.cause == "rejected"]
        assert (cause.state, cause.logs) == ("failed", 1)


async def test_text_is_shown_to_those_who_may_see_it_and_each_look_is_recorded(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed(here, 1, 2)
        details = await inbox(here).entry(KEY, text=True)
        assert [row.text and row.text["message"]["subject"] for row in details.rows] == ["text 1", "text 2"]
        assert details.attempts[0].body == '{"message": "text 1 is bad", "token": [redacted]}'
        looks = await here.store.read(lambda: transactions.read_audit(0, 10))
        assert sorted((look.act, look.subject) for look in looks) == [
            ("read_text", "1"),
            ("read_text", "2"),
            ("read_text", KEY.conversation_log_id),
        ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_without_the_record_there_is_no_text_and_no_act(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed(here, 1)
        run_sql(database_url, 'DROP TABLE "audit"')
        with pytest.raises(Exception, match="audit"):
            await inbox(here).entry(KEY, text=True)
        with pytest.raises(Exception, match="audit"):
            await inbox(here).retry(KEY)
        assert await here.states() == {"1": "failed"}


async def test_roles_are_asked_for(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed(here, 1)
        looker = inbox(here, Operator("eve", frozenset({Role.ADMINISTER})))
        assert (await looker.entries()).entries
        acts: list[Callable[[], object]] = [
            partial(looker.entry, KEY, text=True),
            partial(looker.retry, KEY),
            partial(looker.link, KEY, "c-2", "Omar Reyes"),
            partial(looker.mark_done, KEY),
            lambda: anext(looker.retry_all(InboxFilter())),
            lambda: anext(looker.export(text=True)),
        ]
        for act in acts:
            with pytest.raises(RoleMissing):
                await act()  # type: ignore[misc] # each gives an awaitable
        assert await here.states() == {"1": "failed"}


async def test_pages_are_turned_by_their_next(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        here.crm.before = refuses
        for number in range(1, 6):
            await here.send(body(message(number), conversation=f"c{number}"))
        found, after = [], None
        while True:
            page = await inbox(here).entries(after=after, limit=2)
            found += [entry.conversation_log_id[:2] for entry in page.entries]
            after = page.next
            if after is None:
                break
        assert found == ["c5", "c4", "c3", "c2", "c1"]
        for wrong in (
            "",
            "no",
            "e30=",
            "W10=",
            "\udc80",
            "WzQ2MTE2ODYwMTg0MjczODc5MDUsIiIsIiIsIiJd",
            "WzEsMiwzLDRd",
        ):
            with pytest.raises(BadRequest):
                await inbox(here).entries(after=wrong)
        exported = [details.entry.conversation_log_id[:2] async for details in inbox(here).export()]
        assert exported == found


async def test_an_error_never_shows_what_the_crm_answered(database_url: str) -> None:
    error = refuses(Call("create", "ada", None))
    assert "text 1" not in f"{error!s} {error!r} {error.args}"
    async with runtime_fixture(database_url, Plain) as here:
        await failed(here, 1)
        assert b"text 1" not in b"".join(
            row[0] for row in run_sql(database_url, 'SELECT "body" FROM "attempts"')
        )


async def test_good_calls_leave_no_attempts(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await here.send(body(message(1), message(2)))
        assert run_sql(database_url, 'SELECT * FROM "attempts"') == []
        assert (await inbox(here).entries()).entries == []
        with pytest.raises(NotThere):
            await inbox(here).entry(KEY._replace(tenant="otto"))
        assert (await inbox(here).entry(KEY)).entry.state == "logged"


# ---------------------------------------------------------------------------------------------- retry


async def test_what_failed_is_tried_again(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed(here, 1, 2)
        assert (await inbox(here).retry(KEY)).planned == 2
        await work(here)
        assert await here.states() == {"1": "logged", "2": "logged"}
        assert written(here, 1, 2) == [1, 1]
        assert (await inbox(here).entries()).entries == []
        with pytest.raises(DecisionRefused, match="Nothing"):
            await inbox(here).retry(KEY)


async def test_what_waits_is_tried_now(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain, settings=FAST, clock=Clock()) as here:
        here.crm.before = lambda _call: Unavailable("no connection")
        await here.send(body(message(1)))
        await here.runtime.idle()
        (entry,) = (await inbox(here).entries(InboxFilter(state="waiting"))).entries
        assert (entry.cause, entry.tries) == ("unavailable", 1)
        assert entry.due_at is not None
        here.crm.before = None
        assert await here.runtime.sweep() == 0
        await inbox(here).retry(KEY)
        await work(here)
        assert written(here, 1) == [1]


async def test_a_lost_call_is_not_asked_about_before_its_time(database_url: str) -> None:
    """Its search may not show yet what the CRM has: asked too early, it would be written twice."""

    class Settling(Finding):
        settle_seconds = 600.0

    async with runtime_fixture(database_url, Settling, settings=FAST) as here:
        here.crm.after = lost
        await here.send(body(message(1)))
        (before,) = (await inbox(here).entries()).entries
        assert (await inbox(here).retry(KEY)).planned == 0
        (after,) = (await inbox(here).entries()).entries
        assert after.due_at == before.due_at
        assert await here.runtime.sweep() == 0
        for refused in (inbox(here).mark_done(KEY), inbox(here).link(KEY, "c-2", "Omar Reyes")):
            with pytest.raises(DecisionRefused, match="finding out"):
                await refused


async def test_a_parked_log_is_tried_again_when_somebody_says_that_it_is_not_there(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await parked(here, 1, 2, done=False)
        with pytest.raises(DecisionRefused, match="if it is not, retry and say so"):
            await inbox(here).retry(KEY)
        assert (await inbox(here).retry(KEY, not_in_crm=True)).planned == 2
        await work(here)
        assert written(here, 1, 2) == [1, 1]


async def test_a_retried_create_has_a_key_of_its_own(database_url: str) -> None:
    """With the old one the CRM might answer with an activity that holds the first message alone."""
    async with runtime_fixture(database_url, Plain) as here:
        await parked(here, 1, done=False)
        old = here.crm.calls[0].log
        await inbox(here).retry(KEY, not_in_crm=True)
        await work(here)
        assert old is not None
        assert here.crm.only.key != old.idempotency_key


async def test_a_parked_append_is_tried_again(database_url: str) -> None:
    async with runtime_fixture(database_url, Appending) as here:
        await here.send(body(message(1)))
        await parked(here, 2, 3, done=False)
        assert (await inbox(here).retry(KEY, not_in_crm=True)).planned == 2
        await work(here)
        assert written(here, 1, 2, 3) == [1, 1, 1]


async def test_what_lost_its_text_cannot_be_retried_and_is_logged_when_it_is_sent_again(
    database_url: str,
) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await parked(here, 1, done=False)
        run_sql(database_url, """UPDATE "messageLogs" SET "updatedAt" = "updatedAt" - 86400000""")
        await Retention(here.store, RetentionPolicy(text_days=0.5)).purge_batch()
        (entry,) = (await inbox(here).entries()).entries
        assert (entry.state, entry.cause, entry.without_text) == ("parked", "expired", 1)
        outcome = await inbox(here).retry(KEY, not_in_crm=True)
        assert (outcome.planned, outcome.without_text) == (0, 1)
        assert await here.states() == {"1": "failed"}
        assert (await here.send(body(message(1)))).log_ids == ["1"]
        assert written(here, 1) == [1]


async def test_all_of_a_cause_are_tried_again_in_batches(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        here.crm.before = refuses
        for number in range(1, 61):
            await here.send(body(message(number), conversation=f"c{number}"))
        here.crm.before = None
        await parked(here, 99)
        steps = [step async for step in inbox(here).retry_all(InboxFilter(tenant="acme", cause="rejected"))]
        assert [(step.done, step.total, step.planned) for step in steps] == [(50, 60, 50), (60, 60, 60)]
        (last,) = [step async for step in inbox(here).retry_all(InboxFilter())]
        assert (last.done, last.refused) == (1, 1), "what is parked needs a person's word"
        await work(here)
        assert written(here, *range(1, 61)) == [1] * 60


# ------------------------------------------------------------------------------------------------ link


async def test_what_is_not_in_the_crm_may_go_to_another_contact(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed(here, 1)
        await inbox(here).link(KEY, "c-2", "Omar Reyes", "lead")
        await inbox(here).retry(KEY)
        await work(here)
        assert here.crm.only.contact_id == "c-2"
        assert "Omar Reyes" in here.crm.only.subject
        with pytest.raises(DecisionRefused, match="It is in the CRM already"):
            await inbox(here).link(KEY, "c-1", "Maya Patel")


NOBODY = {
    "": "contactId: is empty",
    "  ": "contactId: is empty",
    "c" * 256: "contactId: longer than 255 characters",
    "c-2\n": "contactId: holds a control character",
    "c-\x1b[2J": "contactId: holds a control character",
    "c-\x00": "contactId: holds a control character",
    "c-\u2028": "contactId: holds a control character",
    "\ud83d": "contactId: holds a control character",
    "createNewContact": "contactId: createNewContact is the client's word for a contact that is not there yet",
}


@SQLITE_ONLY
async def test_a_log_is_linked_to_no_contact_that_the_crm_cannot_have(database_url: str) -> None:
    """An id is refused there as it is in a request, and one that a request may name is taken."""
    async with runtime_fixture(database_url, Plain) as here:
        await failed(here, 1)
        for id_, problem in NOBODY.items():
            with pytest.raises(BadRequest) as refused:
                await inbox(here).link(KEY, id_, "Omar Reyes")
            assert str(refused.value) == problem
            if id_ not in {"createNewContact", "\ud83d"}:  # half an emoji does not get through JSON
                with pytest.raises(BadRequest) as in_request:
                    parse_log_request(msgspec.json.encode(body(message(1), contact=id_)))
                assert str(in_request.value) == problem
        for name, type_ in (("n" * 256, "lead"), ("Omar", "t" * 256)):
            with pytest.raises(BadRequest, match="longer than 255 characters"):
                await inbox(here).link(KEY, "c-2", name, type_)
        with pytest.raises(BadRequest, match="thirdPartyLogId: expected an activity's id"):
            await inbox(here).mark_done(KEY, "a-7\r\nX-Header: 1")
        with pytest.raises(BadRequest, match="thirdPartyLogId"):
            await inbox(here).mark_done(KEY, " ")
        log = (await here.logs())[0]
        assert log.contact_id == "c-1", "nothing has changed"
        await inbox(here).link(KEY, "ключ/2 é", "Omar\r\n\u202eReyes\x00")
        log = (await here.logs())[0]
        assert (log.contact_id, log.contact_name, log.contact_type) == ("ключ/2 é", "Omar Reyes", "contact")


async def test_what_may_be_in_the_crm_stays_with_its_contact(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await parked(here, 1)
        with pytest.raises(DecisionRefused, match="Nobody knows"):
            await inbox(here).link(KEY, "c-2", "Omar Reyes")
        await inbox(here).mark_done(KEY)
        with pytest.raises(DecisionRefused, match="A part of it is in the CRM"):
            await inbox(here).link(KEY, "c-2", "Omar Reyes")


BOTH = (MAYA, OMAR)
OF_MAYA = KEY._replace(group_contact_id="c-1")
OF_OMAR = KEY._replace(group_contact_id="c-2")


async def failed_group(here: RuntimeFixture, *numbers: int) -> None:
    here.crm.before = refuses
    await here.send(body(*map(message, numbers), correspondents=BOTH))
    here.crm.before = None


async def for_omar(here: RuntimeFixture, *numbers: int) -> list[str]:
    """The client sends a group for its other contact; what was not logged before."""
    made = body(*map(message, numbers), correspondents=BOTH, contact="c-2", name="Omar Reyes")
    return (await here.send(made)).log_ids


async def test_a_groups_log_is_moved_with_all_that_belongs_to_it(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed_group(here, 1, 2)
        before = await inbox(here).entry(OF_MAYA, text=True)
        decided = await inbox(here).link(OF_MAYA, "c-2", "Omar Reyes", "lead")
        assert decided.conversation_log_id == "conv/7/13/2026-c-2"
        with pytest.raises(NotThere):
            await inbox(here).entry(OF_MAYA)
        after = await inbox(here).entry(OF_OMAR, text=True)
        assert [row.id for row in after.rows] == ["1-c-2", "2-c-2"]
        assert [{**(row.text or {}), "sides": None} for row in after.rows] == [
            {**(row.text or {}), "sides": None} for row in before.rows
        ], "it is sealed for its new place"
        assert after.attempts == before.attempts
        assert before.attempts
        assert (after.entry.group_contact_id, after.entry.contact_id) == ("c-2", "c-2")
        shown = 'SELECT "id", "conversationId", "conversationLogId", "clientLogId", "groupContactId" FROM "messageLogs"'
        assert sorted(run_sql(database_url, shown)) == [
            (f"{n}-c-2", "conv-c-2", "conv/7/13/2026-c-2", "conv/7/13/2026", "c-2") for n in (1, 2)
        ]
        await inbox(here).retry(OF_OMAR)
        await work(here)
        assert (here.crm.only.contact_id, written(here, 1, 2)) == ("c-2", [1, 1])
        assert await for_omar(here, 1, 2) == [], "the contact has it"
        assert written(here, 1, 2) == [1, 1]


async def test_a_group_whose_log_was_moved_can_be_logged_for_its_first_contact(database_url: str) -> None:
    async with runtime_fixture(database_url, Upserting) as here:
        await failed_group(here, 1)
        await inbox(here).link(OF_MAYA, "c-2", "Omar Reyes")
        await here.send(body(message(1), correspondents=BOTH))
        await inbox(here).retry(OF_OMAR)
        await work(here)
        assert sorted(each.contact_id for each in here.crm.activities.values()) == ["c-1", "c-2"]
        assert written(here, 1) == [2], "once for each"


async def test_a_groups_log_is_not_moved_to_a_contact_that_has_one(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await for_omar(here, 1)
        await failed_group(here, 1)
        with pytest.raises(
            DecisionRefused, match=r"The contact Omar Reyes \(c-2\) has a log of this conversation already"
        ):
            await inbox(here).link(OF_MAYA, "c-2", "Omar Reyes")
        assert [row.id for row in (await inbox(here).entry(OF_MAYA)).rows] == ["1-c-1"]


async def test_a_groups_log_is_not_moved_to_a_contact_that_has_its_messages(database_url: str) -> None:
    """In a log of another name: a day has one in each language."""
    async with runtime_fixture(database_url, Plain) as here:
        other = body(message(1), correspondents=BOTH, contact="c-2", name="Omar Reyes", day="13.7.2026")
        await here.send(other)
        await failed_group(here, 1, 2)
        with pytest.raises(DecisionRefused, match="or messages of it in another one"):
            await inbox(here).link(OF_MAYA, "c-2", "Omar Reyes")
        assert [row.id for row in (await inbox(here).entry(OF_MAYA)).rows] == ["1-c-1", "2-c-1"]


async def test_a_group_may_get_another_name_for_its_contact(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed_group(here, 1)
        decided = await Inbox(here.store, GRACE).link(OF_MAYA, "c-1", "Maya P.", "lead")
        assert decided.conversation_log_id == OF_MAYA.conversation_log_id
        await inbox(here).retry(OF_MAYA)
        await work(here)
        assert (here.crm.only.contact_id, "Maya P." in here.crm.only.subject) == ("c-1", True)


async def test_what_of_a_group_is_in_the_crm_is_not_moved(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await here.send(body(message(1), correspondents=BOTH))
        with pytest.raises(DecisionRefused, match="It is in the CRM already"):
            await inbox(here).link(OF_MAYA, "c-2", "Omar Reyes")


async def test_a_group_is_moved_by_who_can_open_its_texts(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed_group(here, 1)
        with pytest.raises(DecisionRefused, match="sealed with a secret key that is not given"):
            await Inbox(here.store, GRACE, Sealer("another secret " * 3)).link(OF_MAYA, "c-2", "Omar Reyes")
        assert await here.states() == {"1-c-1": "failed"}
        with pytest.raises(TypeError):
            await Inbox(here.store, GRACE).link(OF_MAYA, "c-2", "Omar Reyes")


async def test_nobody_is_no_contact(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await failed_group(here, 1)
        with pytest.raises(BadRequest, match="contactId"):
            await inbox(here).link(OF_MAYA, "", "")


async def test_of_a_move_and_a_request_for_the_same_contact_one_is_first(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        for number in range(1, 13):
            await failed_group(here, number)
        key = OF_MAYA
        moving = inbox(here).link(key, "c-2", "Omar Reyes")
        outcomes = await asyncio.gather(moving, for_omar(here, *range(1, 13)), return_exceptions=True)
        assert all(not isinstance(each, Exception) or isinstance(each, DecisionRefused) for each in outcomes)
        with suppress(DecisionRefused, NotThere):
            await inbox(here).retry(OF_OMAR)
        await work(here)
        await for_omar(here, *range(1, 13))
        assert [each.contact_id for each in here.crm.activities.values()] == ["c-2"]
        assert written(here, *range(1, 13)) == [1] * 12


# ------------------------------------------------------------------------------------------------ done


async def test_what_is_in_the_crm_is_marked_and_the_rest_goes_there(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await parked(here, 1, 2)
        await here.send(body(message(3)))
        assert await here.states() == dict.fromkeys("123", "parked")
        outcome = await inbox(here).mark_done(KEY, here.crm.only.id)
        assert (outcome.logged, outcome.planned) == (1, 2), "those behind were never sent"
        await work(here)
        assert await here.states() == dict.fromkeys("123", "logged")
        assert written(here, 1, 2, 3) == [1, 1, 1]
        assert here.crm.only.body.count("text") == 3
        assert [row[0] for row in run_sql(database_url, 'SELECT "payload" FROM "messageLogs"')] == [None] * 3


async def test_what_failed_before_is_not_in_question(database_url: str) -> None:
    """It is known not to be in the CRM: a decision about the lost one does not include it."""
    async with runtime_fixture(database_url, Appending) as here:
        await here.send(body(message(1)))
        await failed(here, 2)
        await parked(here, 3)
        assert (await inbox(here).mark_done(KEY)).logged == 1
        assert await here.states() == {"1": "logged", "2": "failed", "3": "logged"}
        await inbox(here).retry(KEY)
        await work(here)
        assert written(here, 1, 2, 3) == [1, 1, 1]


async def test_without_an_activity_the_next_message_makes_another(database_url: str) -> None:
    async with runtime_fixture(database_url, Upserting) as here:
        await failed(here, 1)
        assert (await inbox(here).mark_done(KEY)).logged == 1
        await here.send(body(message(1), message(2)))
        assert written(here, 1, 2) == [0, 1], "the first was said to be there"
        assert await here.states() == {"1": "logged", "2": "logged"}


async def test_everything_can_be_marked(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await parked(here, 1, 2)
        assert (await inbox(here).mark_done(KEY, everything=True)).logged == 2
        await work(here)
        assert len(here.crm.activities) == 1


async def test_a_log_belongs_to_one_activity(database_url: str) -> None:
    async with runtime_fixture(database_url, Appending) as here:
        await here.send(body(message(1)))
        await parked(here, 2)
        with pytest.raises(DecisionRefused, match="belongs to the activity a-1"):
            await inbox(here).mark_done(KEY, "a-9")
        await inbox(here).mark_done(KEY)
        assert written(here, 1, 2) == [1, 1]
        assert await here.states() == {"1": "logged", "2": "logged"}


async def test_a_parked_thread_is_brought_up_to_date_in_its_activity(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        here.crm.after = lost
        await here.send(thread("hello"))
        here.crm.after = None
        (entry,) = (await inbox(here).entries()).entries
        key = key_of(entry)
        with pytest.raises(DecisionRefused, match="Say which activity"):
            await inbox(here).mark_done(key)
        assert (await inbox(here).mark_done(key, here.crm.only.id)).planned == 1
        before = here.crm.only.body
        await work(here)
        assert here.crm.only.body == before
        assert set((await here.states()).values()) == {"logged"}


async def test_a_decision_about_what_has_changed_since_is_refused(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        await parked(here, 1, done=False)
        (seen,) = (await inbox(here).entries()).entries
        await inbox(here).retry(KEY, not_in_crm=True, fence=seen.fence)
        here.crm.after = lost
        await work(here)
        assert await here.states() == {"1": "parked"}
        with pytest.raises(DecisionRefused, match="look again"):
            await inbox(here).retry(KEY, not_in_crm=True, fence=seen.fence)
        assert written(here, 1) == [1]
