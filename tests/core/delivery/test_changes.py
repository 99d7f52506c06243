"""What changes of a message after it was logged reaches the CRM: in the message's own activity, once."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from messagelog.compose import LogFormat
from messagelog.connectors import (
    AuthExpired,
    Connector,
    ConnectorError,
    MessageLog,
    NotFound,
    Rejected,
    Session,
)
from messagelog.storage import transactions
from messagelog.storage.transactions.commands import Execute
from support.memory_crm import Appending, Call, Crm, Fault, Finding, Html, Plain, ReadingBack, lost
from support.requests import LATER, MAYA, OMAR, START, body, failed, sent, voicemail
from support.runtime_fixture import RuntimeFixture, runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage import MessageRow

NOT_DELIVERED = "Not delivered"


def once(fault: Fault) -> Fault:
    """A fault of the first call alone that it fails."""
    met: list[Call] = []

    def first(call: Call) -> ConnectorError | None:
        error = None if met else fault(call)
        if error is not None:
            met.append(call)
        return error

    return first


async def rows_of(here: RuntimeFixture) -> dict[str, MessageRow]:
    """All rows by their own ids, those of changes too."""
    found = {}
    for log in await here.logs():
        for _, rows in await here.store.read(partial(transactions.show_logs, log.key.conversation_log_id)):
            found.update({row.id: row for row in rows})
    return found


async def changes_of(here: RuntimeFixture) -> dict[str, str]:
    """The states of the rows of changes, by their ids."""
    return {id_: str(row.state) for id_, row in (await rows_of(here)).items() if row.is_change}


@pytest.fixture(params=[Plain, Html, Finding, ReadingBack])
def connector(request: pytest.FixtureRequest) -> Callable[[Crm], Connector]:
    made: Callable[[Crm], Connector] = request.param
    return made


async def test_a_text_that_was_not_delivered_says_so_in_its_entry_once(
    database_url: str, connector: Callable[[Crm], Connector]
) -> None:
    async with runtime_fixture(database_url, connector) as here:
        await here.send(body(sent(1, "Your quote is attached")))
        answer = await here.send(body(failed(1, "Your quote is attached")))
        assert (answer.successful, answer.log_ids) == (True, [])
        assert answer.return_message.message == "Message updated"
        text = here.crm.only.body
        assert text.count("Your quote is attached") == 1
        assert text.count(NOT_DELIVERED) == 1
        calls = len(here.crm.calls)
        again = await here.send(body(failed(1, "Your quote is attached")))
        assert again.return_message.message == "Already logged"
        assert (here.crm.only.body, len(here.crm.calls)) == (text, calls)
        assert await here.states() == {"1": "logged"} | dict.fromkeys(await here.states(), "logged")


async def test_a_new_message_and_a_change_come_together(
    database_url: str, connector: Callable[[Crm], Connector]
) -> None:
    async with runtime_fixture(database_url, connector) as here:
        await here.send(body(sent(1, "Your quote is attached")))
        answer = await here.send(body(failed(1, "Your quote is attached"), sent(2, "Are you there?")))
        assert answer.log_ids == ["2"]
        assert answer.return_message.message == "Message logged"
        text = here.crm.only.body
        assert [text.count(each) for each in ("Your quote is attached", NOT_DELIVERED, "Are you there?")] == [
            1,
            1,
            1,
        ]
        assert text.index(NOT_DELIVERED) < text.index("Are you there?")


async def test_a_transcript_that_comes_later_is_added(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(voicemail(), type="VoiceMail"))
        await here.send(body(voicemail("Please call me back.", "Completed"), type="VoiceMail"))
        text = here.crm.only.body
        assert text.count("Please call me back.") == 1
        # A record of the same time that has none, or an older one, takes nothing back.
        for older in (voicemail(), voicemail(lastModifiedTime=START), voicemail("In progress")):
            await here.send(body(older, type="VoiceMail"))
        assert here.crm.only.body == text


async def test_an_older_record_takes_nothing_back_and_a_newer_one_does(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(failed(1)))
        text = here.crm.only.body
        assert NOT_DELIVERED in text
        await here.send(body(sent(1)))
        assert here.crm.only.body == text
        await here.send(body(sent(1, status="Delivered", after=2 * LATER)))
        assert NOT_DELIVERED not in here.crm.only.body
        await here.send(body(failed(1)))
        assert NOT_DELIVERED not in here.crm.only.body


async def test_a_second_change_takes_the_place_of_the_first(
    database_url: str, connector: Callable[[Crm], Connector]
) -> None:
    async with runtime_fixture(database_url, connector) as here:
        await here.send(body(sent(1, "first"), sent(2, "second")))
        await here.send(body(failed(1, "first")))
        await here.send(body(failed(1, "first", after=2 * LATER, deliveryErrorCode="SMS-CAR-413")))
        text = here.crm.only.body
        assert [text.count(each) for each in ("first", NOT_DELIVERED, "opted out")] == [1, 1, 1]
        await here.send(body(sent(1, "first", status="Delivered", after=3 * LATER)))
        text = here.crm.only.body
        assert [text.count(each) for each in ("first", NOT_DELIVERED, "second")] == [1, 0, 1]


async def test_what_is_no_fact_changes_nothing(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(sent(1)))
        text, calls = here.crm.only.body, len(here.crm.calls)
        renamed = sent(1, status="Sent", after=LATER, readStatus="Unread") | {
            "to": [MAYA | {"name": "Maya P."}]
        }
        assert (await here.send(body(renamed, name="Maya P."))).return_message.message == "Already logged"
        assert (here.crm.only.body, len(here.crm.calls)) == (text, calls)
        assert await changes_of(here) == {}


async def test_peoples_own_text_stays(database_url: str, connector: Callable[[Crm], Connector]) -> None:
    async with runtime_fixture(database_url, connector) as here:
        await here.send(body(sent(1, "first"), sent(2, "second")))
        here.crm.only.body = "Mine, above\n\n" + here.crm.only.body + "\n\nMine, below"
        await here.send(body(failed(1, "first"), sent(2, "second")))
        text = here.crm.only.body
        assert text.startswith("Mine, above\n\n")
        assert text.endswith("Mine, below")
        assert text.index("first") < text.index(NOT_DELIVERED) < text.index("second")


async def test_an_entry_that_people_have_edited_gets_one_line(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(sent(1, "first"), sent(2, "second")))
        here.crm.only.body = here.crm.only.body.replace("first", "first (she means the 2nd)")
        for _ in range(2):
            await here.send(body(failed(1, "first"), sent(2, "second")))
        text = here.crm.only.body
        assert text.count("first") == 1
        assert text.count(NOT_DELIVERED) == 1
        await here.send(
            body(failed(1, "first", after=2 * LATER, deliveryErrorCode="SMS-CAR-413"), sent(2, "second"))
        )
        assert here.crm.only.body.count("first") == 1
        assert here.crm.only.body.count("opted out") == 1


async def test_nothing_is_made_for_an_activity_that_is_gone(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(sent(1)))
        here.crm.activities.clear()
        here.runtime.connector("memory").__class__.not_found_means_gone = True
        try:
            answer = await here.send(body(failed(1)))
        finally:
            here.runtime.connector("memory").__class__.not_found_means_gone = False
        assert answer.successful
        assert here.crm.activities == {}
        assert await here.states() == {"1": "logged"}


class Short(Plain):
    """An activity has room for two short messages."""

    body_limit: ClassVar[int | None] = 400


async def test_the_change_of_a_message_goes_to_the_activity_that_is_full(database_url: str) -> None:
    async with runtime_fixture(database_url, Short) as here:
        texts = [sent(n, f"text {n} " + "x" * 60) for n in range(1, 6)]
        await here.send(body(*texts))
        assert len(here.crm.activities) > 1
        first = next(iter(here.crm.activities.values()))
        others = [each.body for each in here.crm.activities.values() if each is not first]
        await here.send(body(failed(1, "text 1 " + "x" * 60), *texts[1:]))
        assert NOT_DELIVERED in first.body
        assert len(first.body) <= 400
        assert [each.body for each in here.crm.activities.values() if each is not first] == others
        await here.send(body(*texts, sent(6, "text 6")))
        assert sum(each.body.count("text 6") for each in here.crm.activities.values()) == 1


class AppendingAndReading(Appending, ReadingBack):
    """Activities can be added to and read."""

    append_only = True


@pytest.mark.parametrize("appends", [Appending, AppendingAndReading])
async def test_a_crm_that_appends_gets_one_line(
    database_url: str, appends: Callable[[Crm], Connector]
) -> None:
    async with runtime_fixture(database_url, appends) as here:
        await here.send(body(sent(1, "first")))
        for _ in range(2):
            await here.send(body(failed(1, "first")))
        assert here.crm.only.body.count("first") == 1
        assert here.crm.only.body.count(NOT_DELIVERED) == 1


async def test_in_a_crm_that_nobody_can_ask_a_lost_line_is_parked_alone(database_url: str) -> None:
    async with runtime_fixture(database_url, Appending) as here:
        await here.send(body(sent(1, "first")))
        here.crm.after = lost
        answer = await here.send(body(failed(1, "first")))
        assert answer.successful
        assert "not in Memory CRM yet" in answer.return_message.message
        here.crm.after = None
        assert (await here.send(body(failed(1, "first"), sent(2, "second")))).log_ids == ["2"]
        assert set((await changes_of(here)).values()) == {"parked"}
        assert [here.crm.only.body.count(each) for each in ("first", NOT_DELIVERED, "second")] == [1, 1, 1]


@pytest.mark.parametrize("appends", [Finding, ReadingBack, AppendingAndReading, Plain])
async def test_a_lost_answer_does_not_double_a_change(
    database_url: str, appends: Callable[[Crm], Connector]
) -> None:
    async with runtime_fixture(database_url, appends) as here:
        await here.send(body(sent(1, "same"), sent(2, "other")))
        here.crm.after = once(lost)
        await here.send(body(failed(1, "same"), sent(2, "other")))
        await here.runtime.idle()
        assert [here.crm.only.body.count(each) for each in ("same", NOT_DELIVERED)] == [1, 1]
        assert set((await changes_of(here)).values()) == {"logged"}


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_of_two_messages_that_read_alike_each_is_changed(
    database_url: str, connector: Callable[[Crm], Connector], order: tuple[int, int]
) -> None:
    def twin(id_: int, make: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        return make(id_, "same", at=START)

    async with runtime_fixture(database_url, connector) as here:
        await here.send(body(twin(1, sent), twin(2, sent)))
        for n, id_ in enumerate(order, 1):
            for _ in range(2):
                await here.send(body(twin(id_, failed)))
            assert [here.crm.only.body.count(each) for each in ("same", NOT_DELIVERED)] == [2, n]


@pytest.mark.parametrize("reads", [Finding, ReadingBack, AppendingAndReading])
@pytest.mark.parametrize("done", [False, True])
async def test_a_lost_answer_does_not_double_the_change_of_one_that_reads_alike(
    database_url: str, reads: Callable[[Crm], Connector], *, done: bool
) -> None:
    twins = [sent(1, "same", at=START), sent(2, "same", at=START)]
    both = [failed(1, "same", at=START), failed(2, "same", at=START)]
    async with runtime_fixture(database_url, reads) as here:
        await here.send(body(*twins))
        await here.send(body(both[0], twins[1]))
        losing = once(lambda call: lost(call) if call.kind == "update" else None)
        here.crm.before, here.crm.after = (None, losing) if done else (losing, None)
        await here.send(body(*both))
        await until_changes(here, 2, "logged")
        assert [here.crm.only.body.count(each) for each in ("same", NOT_DELIVERED)] == [2, 2]


async def test_a_mistake_that_keeps_a_change_back_is_tried_again(database_url: str) -> None:
    """The change would not come again with its day, as a message that failed does."""
    twins = [sent(1, "same", at=START), sent(2, "same", at=START)]
    both = [failed(1, "same", at=START), failed(2, "same", at=START)]
    async with runtime_fixture(database_url, ReadingBack) as here:
        await here.send(body(*twins))
        await here.send(body(both[0], twins[1]))
        mistakes = itertools.count()

        def breaks(call: Call) -> None:
            if call.kind == "read" and next(mistakes) < 2:
                raise RuntimeError("a mistake of the connector's")

        here.crm.before = breaks
        await here.send(body(*both))
        await until_changes(here, 2, "logged")
        assert here.crm.only.body.count(NOT_DELIVERED) == 2


async def test_a_refused_change_leaves_the_message_logged_and_the_next_ones_pass(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(sent(1)))
        here.crm.before = lambda call: (
            Rejected("HTTP 422", status=422) if call.log and call.log.changes else None
        )
        answer = await here.send(body(failed(1), sent(2)))
        assert answer.log_ids == ["2"]
        assert "refused" in answer.return_message.message
        assert await changes_of(here) == {"1\x1f1": "failed"}
        assert {id_: row.state for id_, row in (await rows_of(here)).items() if not row.is_change} == {
            "1": "logged",
            "2": "logged",
        }


async def test_a_change_of_a_message_that_is_not_logged_yet_follows_it(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.gate = asyncio.Event()
        first = asyncio.create_task(here.send(body(sent(1))))
        await until(lambda: here.crm.calls)
        second = asyncio.create_task(here.send(body(failed(1))))
        await until_changes(here, 1)
        here.crm.gate.set()
        await asyncio.gather(first, second)
        assert here.crm.only.body.count("text 1") == 1
        assert here.crm.only.body.count(NOT_DELIVERED) == 1


@pytest.mark.parametrize("who", ["acme/ada", "acme/ben"])
async def test_a_message_that_waits_for_a_sign_in_is_sent_with_what_is_news(
    database_url: str, who: str
) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = lambda _: AuthExpired("HTTP 401", status=401)
        await here.send(body(sent(1)))
        here.crm.before = None
        await here.send(body(failed(1)), who)
        del here.users["memory:acme/ada"]
        await here.user()
        await here.runtime.sweep()
        await here.runtime.idle()
        assert [here.crm.only.body.count(each) for each in ("text 1", NOT_DELIVERED)] == [1, 1]
        assert set((await here.states()).values()) == {"logged"}


async def test_a_change_that_comes_to_nothing_before_its_message_is_logged_comes_again(
    database_url: str,
) -> None:
    """The message's own call ends in a sign-in that is asked for, while a colleague's change of it waits behind."""
    async with runtime_fixture(database_url) as here:
        here.crm.gate = asyncio.Event()
        here.crm.after = once(lambda _: AuthExpired("HTTP 401", status=401))
        await here.user(user="acme/ben")
        first = asyncio.create_task(here.send(body(sent(1))))
        await until(lambda: here.crm.calls)
        second = asyncio.create_task(here.send(body(failed(1)), "acme/ben"))
        await until_changes(here, 1)
        here.crm.gate.set()
        await asyncio.gather(first, second)
        here.crm.activities.clear()  # the CRM did not take it, whatever this one does before it answers
        del here.users["memory:acme/ada"]
        await here.user()
        await here.runtime.sweep()
        await here.runtime.idle()
        await here.send(body(failed(1)))
        assert [here.crm.only.body.count(each) for each in ("text 1", NOT_DELIVERED)] == [1, 1]
        assert set((await here.states()).values()) == {"logged"}


async def test_a_message_in_another_log_of_the_contact_is_changed_there(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(sent(1), day="7/12/2026"))
        answer = await here.send(body(failed(1), sent(2), day="7/13/2026"))
        assert answer.log_ids == ["2"]
        await here.runtime.idle()
        first, second = here.crm.activities.values()
        assert NOT_DELIVERED in first.body
        assert NOT_DELIVERED not in second.body


class Custom(Plain):
    """Writes a text of its own."""

    log_format = LogFormat.CUSTOM

    def _create(self, session: Session, log: MessageLog) -> str:
        text = " ".join(each.text for each in log.messages)
        return self.crm.add_activity(session.tenant, session.user_id, log, text, "", key=log.idempotency_key)

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        def do() -> None:
            activity = self._activity(log)
            activity.body += "".join(f"; {each.text} failed" for each in log.changes)

        await self.crm.work(Call("update", session.user_id, log), do)


class CustomWithChanges(Custom):
    takes_changes = True


async def test_a_connector_with_a_text_of_its_own_is_called_with_changes_if_it_says_so(
    database_url: str,
) -> None:
    for made, calls in ((Custom, 0), (CustomWithChanges, 1)):
        async with runtime_fixture(database_url, made) as here:
            day = f"7/{13 + calls}/2026"
            await here.send(body(sent(1 + calls), day=day))
            await here.send(body(failed(1 + calls), day=day))
            assert here.crm.count("update") == calls
            assert here.crm.only.body.count("failed") == calls


async def test_in_a_group_it_is_said_for_whom_it_failed(database_url: str) -> None:
    both = (MAYA, OMAR)

    def to_both(status: str, after: int = 0) -> dict[str, Any]:
        made = sent(1, "dinner?", status="Sent", after=after)
        return made | {"to": [MAYA | {"messageStatus": "Sent"}, OMAR | {"messageStatus": status}]}

    async with runtime_fixture(database_url) as here:
        await here.send(body(to_both("Sent"), correspondents=both))
        await here.send(body(to_both("DeliveryFailed", LATER), correspondents=both))
        assert here.crm.only.body.count("dinner?") == 1
        assert "Omar Reyes" in here.crm.only.body.split("dinner?")[1]


async def test_rows_without_a_fingerprint_are_compared_once(database_url: str) -> None:
    """A message that was logged as failed before its facts were kept is not written again."""
    async with runtime_fixture(database_url) as here:
        await here.send(body(failed(1), sent(2)))
        await forget_facts(here)
        calls = len(here.crm.calls)
        for _ in range(2):
            await here.send(body(failed(1), sent(2)))
        assert len(here.crm.calls) == calls
        await here.send(body(failed(1), failed(2)))
        assert here.crm.only.body.count(NOT_DELIVERED) == 2


async def until_changes(here: RuntimeFixture, count: int, *states: str) -> None:
    """Waits until so many changes are in the journal, in one of the states where these are given."""

    async def found() -> int:
        return sum(not states or state in states for state in (await changes_of(here)).values())

    async with asyncio.timeout(5.0):
        while await found() < count:  # noqa: ASYNC110 - a journal announces nothing
            await asyncio.sleep(0.005)


async def forget_facts(here: RuntimeFixture) -> None:
    """Makes rows as those of an older release are."""

    def forget() -> Any:
        for log in logs:
            for id_ in ("1", "2"):
                key = {
                    "tenant": log.key.tenant,
                    "platform": log.key.platform,
                    "shared": False,
                    "group_contact": "",
                }
                yield Execute(
                    "advance_row", [{**key, "id": id_, "facts": None, "facts_at": None, "changes": 0}]
                )

    logs = await here.logs()
    await here.store.write(forget)


async def test_hidden_activities_are_no_deleted_ones(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(sent(1)))
        here.crm.before = lambda call: (
            NotFound("HTTP 404", status=404) if call.log and call.log.changes else None
        )
        answer = await here.send(body(failed(1)), user="acme/ben")
        assert answer.successful
        assert "hides it" in answer.return_message.message
