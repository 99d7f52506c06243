"""An error of our own, a database that goes away, a process that dies: a call's outcome is not lost, and is seen."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from docs.pages import DOCS, table
from messagelog.compose import LogFormat
from messagelog.connectors import Credentials, OutcomeUnknown
from messagelog.core import Times
from messagelog.core.admin import decisions
from messagelog.core.delivery import backoff
from messagelog.storage import open_store, transactions
from support.crash_campaign import TIMES, AppendOnlyReadBack, Campaign, Clock, campaign, kill_runtime
from support.crash_points import Crashed, Fuse
from support.live_server import SQLITE_ONLY
from support.memory_crm import Appending, Crm, Finding, Plain, ReadingBack, Upserting
from support.own_faults import DatabaseAway, OwnFault
from support.requests import body, message, thread, to_log_request
from support.runtime_fixture import runtime_fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from messagelog.core import Answer, Runtime, User
    from messagelog.storage import LogRow, MessageRow
    from support.memory_crm import Call

ONE, TWO = (message(n, f"text-{n:02}.") for n in (1, 2))
PLACE = r"\(OwnFault at [a-z_.]+:\d+\)"
FAULT = re.compile(rf"fault: This server has a fault\. {PLACE}")


class Faults(Fuse):
    """Meets an error at points of these names, each as often as it says."""

    def __init__(self, error: type[BaseException] = OwnFault, **points: int) -> None:
        super().__init__()
        self.error = error
        self.points = {name.replace("__", ":"): times for name, times in points.items()}

    def point(self, name: str) -> None:
        self.passed.append(name)
        if self.points.get(name, 0) > 0:
            self.points[name] -= 1
            raise self.error("text-01. is what it was about")


@dataclass
class Place:
    """A journal and a CRM, and processes that meet faults."""

    campaign: Campaign
    connector: Plain
    clock: Clock
    user: User | None = None
    runtimes: list[Runtime] = field(default_factory=list)

    @property
    def crm(self) -> Crm:
        return self.connector.crm

    def process(self, faults: Fuse | None = None) -> Runtime:
        runtime = self.campaign.runtime(self.connector, faults or Faults())
        self.runtimes.append(runtime)
        return runtime

    async def send(self, runtime: Runtime, request: dict[str, Any]) -> Answer:
        if self.user is None:  # a sign-in hurries what waits
            connector, credentials = runtime.connector("memory"), Credentials(api_key="acme/ada")
            self.user = await runtime.context.users.sign_in(connector, credentials, "")
        answer = await runtime.submit(self.user, to_log_request(request))
        await runtime.idle()
        return answer

    async def sweep(self, runtime: Runtime, seconds: float) -> None:
        """Time passes, and what is due is taken up."""
        self.clock.now += int(seconds * 1000)
        await runtime.sweep()
        await runtime.idle()

    async def log(self) -> LogRow:
        (summary,) = await self.campaign.store.read(lambda: transactions.list_logs(10))
        return summary.log

    async def rows(self) -> dict[str, MessageRow]:
        key = (await self.log()).key
        ((_, rows),) = await self.campaign.store.read(lambda: transactions.show_logs(key.conversation_log_id))
        return {row.id: row for row in rows}

    async def states(self) -> dict[str, str]:
        return {id_: str(row.state) for id_, row in (await self.rows()).items()}


@asynccontextmanager
async def place(database_url: str, kind: type[Plain] = Finding) -> AsyncIterator[Place]:
    clock = Clock()
    store = await open_store(database_url, clock=clock)
    crm = Crm()
    crm.now = clock
    async with campaign(store, clock) as made:
        here = Place(made, kind(crm), clock)
        yield here
        for runtime in here.runtimes:
            await kill_runtime(runtime)
    await store.close()


# ------------------------------------------------------------------------- what was seen: a format of its own


class Custom(Plain):
    """A connector that writes its own text."""

    log_format = LogFormat.CUSTOM

    async def update_message_log(self, session: Any, log: Any) -> None:
        def do() -> None:
            self._activity(log).body += "more"

        await self.crm.work(_call("update", session, log), do)


class CustomAppending(Custom):
    append_only = True


class CustomFinding(Custom):
    async def find_message_log(self, session: Any, log: Any) -> str | None:
        for activity in self.crm.activities.values():
            if activity.key == log.idempotency_key:
                return activity.id
        return None


def _call(kind: str, session: Any, log: Any) -> Call:
    from support.memory_crm import Call

    return Call(kind, session.user_id, log)


@pytest.mark.parametrize("kind", [Custom, CustomAppending, CustomFinding])
@pytest.mark.parametrize("shared", [True, False])
async def test_a_format_of_the_connectors_own_is_logged_once(
    database_url: str, kind: type[Plain], *, shared: bool
) -> None:
    first, both = (thread("one"), thread("one", "two")) if shared else (body(ONE), body(ONE, TWO))
    async with runtime_fixture(database_url, kind) as here:
        assert (await here.send(first)).return_message.message == "Message logged"
        assert (await here.send(both)).return_message.message == "Message logged"
        assert [call.kind for call in here.crm.calls] == ["create", "update"]
        assert set((await here.states()).values()) == {"logged"}


# -------------------------------------------------------------------------------------- after the answer


@pytest.mark.parametrize("kind", [Plain, Appending, Upserting, Finding, ReadingBack])
@pytest.mark.parametrize("shared", [True, False])
async def test_a_call_that_is_done_is_settled_again_and_not_made_again(
    database_url: str, kind: type[Plain], *, shared: bool
) -> None:
    request = thread("text-01.") if shared else body(ONE)
    async with place(database_url, kind) as here:
        runtime = here.process(Faults(ours__settle=1))
        answer = await here.send(runtime, request)
        (row,) = (await here.rows()).values()
        assert row.state == "unknown"
        assert row.third_party_log_id == here.crm.only.id, "the id is in the journal"
        assert row.reason is not None
        assert FAULT.fullmatch(row.reason)
        assert "the server has a fault (OwnFault at" in answer.return_message.message
        await here.sweep(runtime, 10)
        assert set((await here.states()).values()) == {"logged"}
        assert [call.kind for call in here.crm.calls] == ["create"], "not even a question"


@pytest.mark.parametrize("kind", [Plain, Finding])
async def test_a_call_that_can_never_be_settled_ends_before_a_person_with_its_id(
    database_url: str, kind: type[Plain]
) -> None:
    async with place(database_url, kind) as here:
        runtime = here.process(Faults(ours__settle=1000))
        await here.send(runtime, body(ONE, TWO))
        for _ in range(10):
            await here.sweep(runtime, 60)
        log, rows = await here.log(), await here.rows()
        assert [call.kind for call in here.crm.calls] == ["create"]
        assert log.state == "parked"
        assert log.third_party_log_id == here.crm.only.id == rows["1"].third_party_log_id
        assert {row.state for row in rows.values()} == {"parked"}
        assert FAULT.fullmatch(rows["1"].reason or "")
        assert "text-01" not in f"{rows} {log}", "an error's own text may quote a message"
        attempts = await here.campaign.store.read(lambda: transactions.list_attempts(log.key))
        assert {attempt.error for attempt in attempts} == {"ServerFault"}
        again = await here.send(runtime, body(ONE, TWO))
        assert "kept for review, since the server has a fault (OwnFault at" in again.return_message.message
        # A person sees the activity there, and says so; a server without the mistake goes on with the rest.
        judge = lambda seen: decisions.mark_done(seen, None, everything=False)  # noqa: E731
        await here.campaign.store.write(
            lambda: transactions.apply_decision(log.key, ["1", "2"], judge, _entry())
        )
        await here.sweep(here.process(), 1)
        assert set((await here.states()).values()) == {"logged"}
        assert [here.crm.only.body.count(each) for each in ("text-01.", "text-02.")] == [1, 1]


def _entry() -> Any:
    from messagelog.storage import AuditEntry

    return AuditEntry(operator="test", act="mark_done")


@pytest.mark.parametrize("kind", [Plain, Upserting, Finding, ReadingBack, AppendOnlyReadBack])
async def test_updates_of_a_run_before_the_fault_are_kept(database_url: str, kind: type[Plain]) -> None:
    sent = [message(n, f"text-{n:02}.") for n in range(1, 6)]
    async with place(database_url, kind) as here:
        runtime = here.process()
        await here.send(runtime, body(sent[0]))
        faults = Faults()
        runtime = here.process(faults)

        def third(call: Call) -> None:
            if call.kind == "update" and here.crm.count("update") == 2:
                faults.points["ours:update"] = 1

        here.crm.after = third
        await here.send(runtime, body(*sent))
        assert (await here.states())["2"] == "logged"
        for _ in range(4):
            await here.sweep(runtime, 60)
        assert set((await here.states()).values()) == {"logged"}
        text = here.crm.only.body
        assert [text.count(f"text-{n:02}.") for n in range(1, 6)] == [1] * 5


# ------------------------------------------------------------------------------------- before and beside it


async def test_a_fault_before_the_call_is_tried_again_and_fails_with_its_place(database_url: str) -> None:
    async with place(database_url) as here:
        runtime = here.process(Faults(ours__prepare=1000))
        answer = await here.send(runtime, body(ONE))
        assert "accepted; the server has a fault (OwnFault at" in answer.return_message.message
        for _ in range(5):
            await here.sweep(runtime, 60)
        assert not here.crm.calls
        row = (await here.rows())["1"]
        assert row.state == "failed"
        assert FAULT.fullmatch(row.reason or "")
        await here.send(here.process(), body(ONE))
        assert await here.states() == {"1": "logged"}


async def test_a_fault_of_the_question_ends_before_a_person(database_url: str) -> None:
    async with place(database_url) as here:
        here.crm.after = lambda call: OutcomeUnknown("no answer") if call.kind == "create" else None
        runtime = here.process(Faults(ours__find=1000))
        await here.send(runtime, body(ONE))
        for _ in range(10):
            await here.sweep(runtime, 60)
        assert here.crm.count("create") == 1
        assert here.crm.count("find") == 3
        row = (await here.rows())["1"]
        assert row.state == "parked"
        assert FAULT.fullmatch(row.reason or "")


@pytest.mark.parametrize("kind", [Plain, Upserting, Finding])
@pytest.mark.parametrize(
    "point", ["save_outcome__rows_in_state", "save_outcome__save_log", "save_outcome__commit", "ours__told"]
)
async def test_an_outcome_that_was_not_written_at_first_is_not_lost(
    database_url: str, kind: type[Plain], point: str
) -> None:
    async with place(database_url, kind) as here:
        runtime = here.process(Faults(OwnFault, **{point: 1}))
        await here.send(runtime, body(ONE))
        await here.sweep(runtime, 70)
        assert await here.states() == {"1": "logged"}
        assert [call.kind for call in here.crm.calls] == ["create"]


async def test_an_outcome_that_can_never_be_written_makes_nothing_again(database_url: str) -> None:
    async with place(database_url) as here:
        runtime = here.process(Faults(save_outcome__rows_in_state=10_000))
        await here.send(runtime, body(ONE))
        for _ in range(len(backoff.STEPS) + 5):
            await here.sweep(runtime, 70)
        assert here.crm.count("create") == 1
        assert here.crm.count("find") <= len(backoff.STEPS)
        await here.sweep(here.process(), 70)
        assert await here.states() == {"1": "parked"}
        assert "the server was interrupted" in (await here.send(runtime, body(ONE))).return_message.message


@pytest.mark.parametrize("kind", [Plain, Appending, Finding])
async def test_a_database_that_goes_away_after_the_crm_has_it_is_written_to_again(
    database_url: str, kind: type[Plain]
) -> None:
    async with place(database_url, kind) as here:
        here.campaign.times = Times(answer=30.0, call=30.0, lease=90.0)  # it answers as soon as it is written
        runtime = here.process(Faults(DatabaseAway, save_outcome__rows_in_state=4))
        answer = await here.send(runtime, body(ONE))
        assert answer.return_message.message == "Message logged"
        assert await here.states() == {"1": "logged"}
        assert [call.kind for call in here.crm.calls] == ["create"]


async def test_a_database_that_stays_away_is_told_as_ours(database_url: str) -> None:
    async with place(database_url) as here:
        here.campaign.times = Times(
            answer=0.2, call=0.2, lease=0.5
        )  # for as long as its lease it tries to write
        runtime = here.process(Faults(DatabaseAway, save_outcome__rows_in_state=1000))
        answer = await here.send(runtime, body(ONE))
        assert answer.log_ids == ["1"]
        assert "accepted; the server has not finished it yet" in answer.return_message.message
        again = here.process(Faults(DatabaseAway, ours__find=1))
        await here.sweep(again, 70)
        reason = (await here.rows())["1"].reason or ""
        assert reason.startswith("interrupted: This server was interrupted.")
        answer = await here.send(again, body(ONE))
        assert "accepted; the server was interrupted" in answer.return_message.message
        await here.sweep(again, 70)
        assert await here.states() == {"1": "logged"}
        assert here.crm.count("create") == 1


# ------------------------------------------------------------------------------------------ a crash


class Dying(Faults):
    """A process that is killed at points of these names."""

    def __init__(self, **points: int) -> None:
        super().__init__(Crashed, **points)


async def crashed(here: Place, request: dict[str, Any], **points: int) -> None:
    """A process that dies in the middle of a request."""
    runtime = here.process(Dying(**points))
    await here.send(runtime, request)


@pytest.mark.parametrize(("kind", "words"), [(Plain, "kept for review, since"), (Finding, "accepted;")])
async def test_after_a_crash_the_user_reads_that_it_was_ours(
    database_url: str, kind: type[Plain], words: str
) -> None:
    async with place(database_url, kind) as here:
        await crashed(here, body(ONE), ours__create=1)
        runtime = here.process(Faults(DatabaseAway, ours__find=1))
        before = await here.send(runtime, body(ONE))
        assert "accepted; the server has not finished it yet" in before.return_message.message
        await here.sweep(runtime, 70)
        after = await here.send(runtime, body(ONE))
        assert f"{words} the server was interrupted" in after.return_message.message
        for answer in (before, after):
            assert "slow" not in answer.return_message.message
        (row,) = (await here.rows()).values()
        assert (row.reason or "").startswith("interrupted:")


async def test_what_a_slow_crm_is_working_on_is_its_own(database_url: str) -> None:
    async with place(database_url) as here:
        here.crm.delay = 0.5
        runtime = here.process()
        answer = await here.send(runtime, body(ONE))
        assert "accepted; Memory CRM is slow" in answer.return_message.message


@SQLITE_ONLY
@pytest.mark.parametrize("kind", [Plain, Upserting, Finding])
async def test_work_that_kills_its_process_each_time_is_parked(database_url: str, kind: type[Plain]) -> None:
    async with place(database_url, kind) as here:
        await crashed(here, body(ONE), ours__prepare=1)
        lives = 0
        while (await here.log()).state == "open":
            lives += 1
            await here.sweep(here.process(Dying(ours__prepare=1)), 70)
            assert lives <= len(backoff.STEPS) + 1
        if kind is not Plain:  # which cannot be reconciled, from the first time on
            assert lives == len(backoff.STEPS) + 1
        assert not here.crm.calls
        (row,) = (await here.rows()).values()
        assert row.state == "parked"
        assert (row.reason or "").startswith("interrupted:")


@SQLITE_ONLY
async def test_a_crash_now_and_then_is_no_reason_to_park(database_url: str) -> None:
    """Each good call resets the count."""
    sent = [message(n, f"text-{n:02}.") for n in range(1, 61)]
    async with place(database_url) as here:
        here.campaign.times = replace(TIMES, answer=0.01)  # a process that has died notifies no request
        for upto in range(1, 61):
            await crashed(here, body(*sent[:upto]), ours__create=1, ours__update=1)
            await here.sweep(here.process(), 70)
        assert set((await here.states()).values()) == {"logged"}
        assert (await here.log()).attempt_count == 0


# ------------------------------------------------------------------------------------------- the page

WHEN = {
    "before the call": "test_a_fault_before_the_call_is_tried_again_and_fails_with_its_place",
    "during the call": "test_updates_of_a_run_before_the_fault_are_kept",
    "after the CRM's answer": "test_a_call_that_can_never_be_settled_ends_before_a_person_with_its_id",
    "while asking": "test_a_fault_of_the_question_ends_before_a_person",
    "while writing it down": "test_an_outcome_that_was_not_written_at_first_is_not_lost",
    "the process dies": "test_after_a_crash_the_user_reads_that_it_was_ours",
}


def test_every_row_of_the_page_is_tried_here() -> None:
    page = DOCS / "reference" / "retries.md"
    assert [row[0] for row in table(page, "Errors of this server's own")] == list(WHEN)
    assert all(name in globals() for name in WHEN.values())
