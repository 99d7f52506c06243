"""What a CRM can do to us, and what is logged then: never twice, never lost, and the user is told."""

from __future__ import annotations

import asyncio

import pytest

from messagelog.connectors import (
    BodyFull,
    ConnectorError,
    MessageLog,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Session,
    Unavailable,
)
from messagelog.core import Times
from support.memory_crm import Appending, Call, Crm, Finding, Plain, ReadingBack, Upserting, lost
from support.requests import body, message, thread
from support.runtime_fixture import RuntimeFixture, runtime_fixture
from support.waiting import until

TEN = [message(n, f"text-{n:02}.") for n in range(1, 11)]


class Fails:
    """Fails the calls with these numbers (from 1), among those that write."""

    def __init__(self, error: ConnectorError, *numbers: int) -> None:
        self.error = error
        self.numbers = set(numbers)
        self.seen = 0

    def __call__(self, call: Call) -> ConnectorError | None:
        if call.kind not in {"create", "update"}:
            return None
        self.seen += 1
        return self.error if self.seen in self.numbers else None


async def test_the_activity_is_hidden_before_the_fifth_of_ten(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = Fails(NotFound("HTTP 403", gone=False, status=403), 5)
        answer = await here.send(body(*TEN))
        assert answer.log_ids == ["1", "2", "3", "4"]
        assert answer.successful
        assert answer.return_message.message_type == "warning"
        assert "4 of 10 messages logged" in answer.return_message.message
        assert "6 messages not logged" in answer.return_message.message
        assert "HTTP 403" in answer.return_message.message
        states = await here.states()
        assert [id_ for id_, state in states.items() if state == "logged"] == ["1", "2", "3", "4"]
        before = len(here.crm.calls)
        again = await here.send(body(*TEN))
        assert again.log_ids == ["5", "6", "7", "8", "9", "10"]
        assert again.return_message.message == "Message logged"
        calls = [call.log.message.id for call in here.crm.calls[before:] if call.log and call.log.message]
        assert calls == ["5", "6", "7", "8", "9", "10"], "exactly the other six, in order"
        _each_once(here)


@pytest.mark.parametrize("connector", [Upserting, Finding, ReadingBack])
@pytest.mark.parametrize("error", [OutcomeUnknown("HTTP 500", status=500), OutcomeUnknown("no answer")])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_the_crm_does_the_work_and_answers_an_error(
    database_url: str, connector: type[Plain], error: ConnectorError, number: int
) -> None:
    async with runtime_fixture(database_url, connector) as here:
        here.crm.after = Fails(error, number)
        answer = await here.send(body(*TEN[:3]))
        assert answer.log_ids == ["1", "2", "3"]
        assert answer.return_message.message == "Message logged"
        _each_once(here, 3)


@pytest.mark.parametrize("connector", [Upserting, Finding, ReadingBack])
async def test_an_older_message_that_joins_while_a_create_is_unknown_is_not_lost(
    database_url: str, connector: type[Plain]
) -> None:
    """The repeat of a create must bring what the lost one brought: the CRM answers with what it made then."""

    class Settling(connector):  # type: ignore[misc, valid-type] # a class of the test's parameter
        settle_seconds = 0.2

    async with runtime_fixture(database_url, Settling) as here:
        here.crm.after = Fails(OutcomeUnknown("no answer"), 1)
        second = asyncio.create_task(here.send(body(TEN[1])))
        await until(lambda: here.crm.activities)
        await asyncio.sleep(0.05)
        both = await here.send(body(*TEN[:2]))
        assert both.log_ids == ["1", "2"]
        assert (await second).log_ids == ["2"]
        _each_once(here, 2)


async def test_questions_in_vain_do_not_count_as_repeats(database_url: str) -> None:
    """A CRM that is away while we ask what became of a call is not one that refuses the call."""
    async with runtime_fixture(database_url, Finding, settings=Times(answer=9, call=5)) as here:
        asked = 0

        def away(call: Call) -> ConnectorError | None:
            nonlocal asked
            if call.kind == "create" and not asked:
                return OutcomeUnknown("no answer")
            asked += call.kind == "find"
            return Unavailable("no connection") if call.kind == "find" and asked <= 2 else None

        here.crm.before = away
        answer = await here.send(body(TEN[0]))
        assert answer.return_message.message == "Message logged"
        assert here.crm.count("create") == 2


@pytest.mark.parametrize("connector", [Plain, Appending])
async def test_a_lost_create_that_nothing_can_find_is_parked(
    database_url: str, connector: type[Plain]
) -> None:
    async with runtime_fixture(database_url, connector) as here:
        here.crm.after = Fails(OutcomeUnknown("HTTP 500", status=500), 1)
        answer = await here.send(body(*TEN[:3]))
        assert "kept for review" in answer.return_message.message
        assert set((await here.states()).values()) == {"parked"}
        (log,) = await here.logs()
        assert log.state == "parked"
        assert log.reason is not None
        assert "HTTP 500" in log.reason
        calls = len(here.crm.calls)
        again = await here.send(body(*TEN[:4]))
        assert len(here.crm.calls) == calls, "nothing is called for a parked log"
        assert "kept for review" in again.return_message.message
        assert (await here.states())["4"] == "parked"
        assert len(here.crm.activities) == 1


async def test_a_lost_append_that_cannot_be_read_is_parked(database_url: str) -> None:
    async with runtime_fixture(database_url, Appending) as here:
        here.crm.after = Fails(OutcomeUnknown("no answer"), 2)
        await here.send(body(*TEN[:3]))
        assert await here.states() == {"1": "logged", "2": "parked", "3": "parked"}
        assert here.crm.only.body.count("text-02.") == 1


async def test_a_lost_amend_is_repeated_since_repeating_changes_nothing(database_url: str) -> None:
    async with runtime_fixture(database_url, Plain) as here:
        here.crm.after = Fails(OutcomeUnknown("HTTP 502", status=502), 2)
        answer = await here.send(body(*TEN[:3]))
        assert answer.log_ids == ["1", "2", "3"]
        _each_once(here, 3)


async def test_two_equal_messages_of_one_minute_are_two_entries(database_url: str) -> None:
    ok = [message(n, "ok", at=1_783_998_000_000 + n) for n in (1, 2, 3)]
    for connector in (Plain, ReadingBack):
        async with runtime_fixture(database_url, connector) as here:
            here.crm.after = Fails(OutcomeUnknown("HTTP 500", status=500), 3)
            answer = await here.send(
                body(*ok, conversation=connector.__name__), user=f"{connector.__name__}/ada"
            )
            assert answer.log_ids == ["1", "2", "3"]
            assert here.crm.only.body.count("\n  ok") == 3


async def test_the_work_is_not_done_and_the_crm_answers_500_for_a_while(database_url: str) -> None:
    async with runtime_fixture(database_url, Finding) as here:
        here.crm.before = Fails(OutcomeUnknown("HTTP 500", status=500), *range(1, 9))
        answer = await here.send(body(*TEN[:2]))
        assert answer.log_ids == ["1", "2"]
        assert answer.return_message.message == "Message logged"
        assert here.crm.count("find") == 8
        _each_once(here, 2)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotFound("HTTP 404", status=404), "no such contact"),
        (Rejected("HTTP 422", status=422), "refused"),
        (BodyFull("HTTP 413", status=413), "too long"),
    ],
)
async def test_words_for_what_happened(database_url: str, error: ConnectorError, words: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = Fails(error, 1, 2)
        answer = await here.send(body(*TEN[:2]))
        assert not answer.successful
        assert answer.log_ids == []
        assert words in answer.return_message.message
        assert set((await here.states()).values()) == {"failed"}
        here.crm.before = None
        assert (await here.send(body(*TEN[:2]))).log_ids == ["1", "2"]
        _each_once(here, 2)


async def test_a_message_that_is_refused_lets_the_others_pass(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = Fails(Rejected("HTTP 422", status=422), 2)
        answer = await here.send(body(*TEN[:3]))
        assert answer.log_ids == ["1", "3"]
        assert "2 of 3 messages logged" in answer.return_message.message


async def test_a_short_rate_limit_is_waited_for(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = Fails(RateLimited("HTTP 429", retry_after=0.05), 1, 3)
        answer = await here.send(body(*TEN[:3]))
        assert answer.log_ids == ["1", "2", "3"]
        _each_once(here, 3)


async def test_waiters_take_the_failure_too(database_url: str) -> None:
    async with runtime_fixture(database_url, crm=Crm(delay=0.05)) as here:
        here.crm.before = Fails(NotFound("HTTP 404"), 1)
        answers = await asyncio.gather(*(here.send(body(TEN[0])) for _ in range(10)))
        assert {answer.successful for answer in answers} == {False}
        assert here.crm.count("create") == 1


# ------------------------------------------------------------------------------------- deleted activities


@pytest.mark.parametrize("connector", [Plain, Finding, ReadingBack, Appending])
async def test_a_deleted_activity_is_created_anew_once_with_all_that_the_request_holds(
    database_url: str, connector: type[Plain]
) -> None:
    async with runtime_fixture(database_url, connector) as here:
        await here.send(body(*TEN[:2]))
        here.crm.activities.clear()
        answer = await here.send(body(*TEN[:3]))
        assert answer.log_ids == ["3"]
        _each_once(here, 3)
        assert set((await here.states()).values()) == {"logged"}
        (log,) = await here.logs()
        assert log.generation == 2
        rows = await here.rows()
        assert {row.third_party_log_id for row in rows.values()} == set(here.crm.activities)
        await here.send(body(*TEN[:4]))
        _each_once(here, 4)


async def test_a_deleted_activity_of_a_shared_thread_is_created_anew(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(thread("one"))
        here.crm.activities.clear()
        await here.send(thread("one", "two"))
        assert here.crm.only.body.count("one") == 1
        assert here.crm.only.body.count("two") == 1


async def test_a_404_for_a_colleague_may_hide_the_activity_so_none_is_made(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(body(*TEN[:1]))
        here.crm.before = lambda call: NotFound("HTTP 404") if call.user == "grace" else None
        answer = await here.send(body(*TEN[:2]), user="acme/grace")
        assert not answer.successful
        assert "hides it" in answer.return_message.message
        assert here.crm.count("create") == 1


async def test_a_crm_that_answers_404_to_every_update_makes_no_heap_of_activities(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = lambda call: NotFound("HTTP 404") if call.kind == "update" else None
        answer = await here.send(body(*TEN))
        assert here.crm.count("create") <= 2
        assert "not logged" in answer.return_message.message


# ------------------------------------------------------------------------------------ connectors' mistakes


class NoId(Plain):
    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        await super().create_message_log(session, log)
        return None


class FindingNoId(Finding):
    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        await super().create_message_log(session, log)
        return ""


async def test_a_create_without_an_id_is_an_error_that_names_the_connector(database_url: str) -> None:
    async with runtime_fixture(database_url, NoId) as here:
        answer = await here.send(body(*TEN[:2]))
        assert not answer.successful
        assert answer.log_ids == []
        assert answer.return_message.message_type == "danger"
        assert "the connector" in answer.return_message.message
        assert "memory" in answer.return_message.message
        assert "logged" not in (await here.states()).values()
        await here.send(body(*TEN[:2]))
        assert here.crm.count("create") == 1, "no new activity on every retry"


async def test_a_create_without_an_id_is_found_where_the_crm_can_be_searched(database_url: str) -> None:
    async with runtime_fixture(database_url, FindingNoId) as here:
        answer = await here.send(body(*TEN[:2]))
        assert answer.log_ids == ["1", "2"]
        _each_once(here, 2)


class Numbers(Plain):
    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        id_ = await super().create_message_log(session, log)
        self.crm.activities["77"] = self.crm.activities.pop(str(id_))
        return 77


async def test_ids_that_are_numbers_are_kept_as_text(database_url: str) -> None:
    async with runtime_fixture(database_url, Numbers) as here:
        await here.send(body(*TEN[:2]))
        assert {row.third_party_log_id for row in (await here.rows()).values()} == {"77"}


class Clumsy(Finding):
    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        if not self.crm.activities:
            await super().create_message_log(session, log)
            raise KeyError("Can you send the renewal options?")
        return await super().create_message_log(session, log)


async def test_a_connector_that_raises_after_its_work_is_not_called_twice(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with runtime_fixture(database_url, Clumsy) as here:
        answer = await here.send(body(message(1, "Can you send the renewal options?")))
        assert answer.log_ids == ["1"]
        assert len(here.crm.activities) == 1
    printed = capsys.readouterr()
    assert "connector_failed" in printed.out + printed.err
    assert "renewal" not in printed.out + printed.err, "no message text in a log line"


async def test_a_lost_answer_is_not_lost_for_the_second_of_a_shared_thread(database_url: str) -> None:
    for connector in (Plain, Upserting, Finding, ReadingBack):
        async with runtime_fixture(database_url, connector) as here:
            tenant = f"{connector.__name__}/ada"
            await here.send(thread("one"), user=tenant)
            here.crm.after = Fails(lost(Call("", "", None)), 1)
            answer = await here.send(thread("one", "two"), user=tenant)
            assert answer.successful
            assert here.crm.only.body.count("two") == 1
            assert here.crm.only.body.count("Started") == 1


@pytest.mark.parametrize("connector", [Upserting, Finding, ReadingBack])
async def test_a_lost_create_of_a_shared_thread(database_url: str, connector: type[Plain]) -> None:
    async with runtime_fixture(database_url, connector) as here:
        here.crm.after = Fails(OutcomeUnknown("no answer"), 1)
        assert (await here.send(thread("one", "two"))).log_ids == ["thread-1"]
        assert here.crm.only.body.count("two") == 1


def _each_once(here: RuntimeFixture, count: int = 10) -> None:
    text = here.crm.only.body
    assert [text.count(f"text-{n:02}.") for n in range(1, count + 1)] == [1] * count
    places = [text.index(f"text-{n:02}.") for n in range(1, count + 1)]
    assert places == sorted(places)
