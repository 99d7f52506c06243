"""Updates in runs: one transaction for several calls, and what becomes of them when one of the calls ends badly."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from messagelog import compose
from messagelog.compose import LogFormat
from messagelog.connectors import (
    AuthExpired,
    ConnectorError,
    Contact,
    MessageLog,
    NotFound,
    OutcomeUnknown,
    RateLimit,
    RateLimited,
    Rejected,
    Session,
    Unavailable,
)
from messagelog.core import Times
from messagelog.core.delivery import runs
from messagelog.core.delivery.capabilities import Capabilities
from support.crash_campaign import Clock, kill_runtime
from support.memory_crm import Appending, Batches, Call, Crm, Finding, Html, Plain, ReadingBack
from support.requests import JORDAN, MAYA, OMAR, START, body, message
from support.runtime_fixture import RuntimeFixture, runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAST = Times(answer=0.3, call=5, lease=60)


class AppendingReadBack(Finding):
    """Activities can only be added to, and read."""

    append_only = True
    update_message_log = Appending.update_message_log


class Limited(Plain):
    """A CRM that takes few requests."""

    rate_limits = (RateLimit(100, 60),)


RUNNING = (Plain, AppendingReadBack, ReadingBack)


def messages(count: int) -> list[dict[str, Any]]:
    return [message(n, f"text-{n:02}.") for n in range(1, count + 1)]


def texts(crm: Crm, count: int) -> list[int]:
    """How often each message stands in the CRM."""
    whole = "\n".join(activity.body for activity in crm.activities.values())
    return [whole.count(f"text-{n:02}.") for n in range(1, count + 1)]


def fails(number: int, error: Callable[[], ConnectorError]) -> Callable[[Call], ConnectorError | None]:
    """Lets the update with this number (from 1) end so."""
    seen = 0

    def fault(call: Call) -> ConnectorError | None:
        nonlocal seen
        seen += call.kind == "update"
        return error() if call.kind == "update" and seen == number else None

    return fault


async def taken_up(here: RuntimeFixture, clock: Clock) -> None:
    """Takes up what is due, for as long as something comes due."""
    for _ in range(8):
        await here.runtime.idle()
        clock.now += 61_000
        await here.runtime.sweep()
    await here.runtime.idle()


@pytest.mark.parametrize(
    ("connector", "runs"),
    [
        (Plain, True),
        (Html, True),
        (Finding, True),
        (AppendingReadBack, True),
        (Appending, False),  # it could not be known which of them are there
        (Batches, False),  # they are one call
        (Limited, False),  # the CRM is slower than the journal
    ],
)
def test_who_has_runs(connector: type[Plain], *, runs: bool) -> None:
    assert Capabilities.of(connector(Crm())).in_runs is runs


@pytest.mark.parametrize("connector", RUNNING)
async def test_a_run_is_journalled_as_one(
    database_url: str, connector: type[Plain], monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = Crm()
    async with runtime_fixture(database_url, connector, crm=crm) as here:
        seen: list[list[str]] = []

        async def watched(call: Call, work: Callable[[], Any]) -> Any:
            seen.append(sorted((await here.states()).values()))
            return await crm.work(call, work)

        crm_of_connector = replace(crm)
        monkeypatch.setattr(crm_of_connector, "work", watched)
        monkeypatch.setattr(here.runtime.connector("memory"), "crm", crm_of_connector)
        answer = await here.send(body(*messages(5)))
        assert answer.successful
        assert [call.kind for call in crm.calls] == ["create", *["update"] * 4]
        assert seen == [["calling", *["planned"] * 4], *[["calling"] * 4 + ["logged"]] * 4]
        assert set((await here.states()).values()) == {"logged"}
    assert texts(crm, 5) == [1] * 5
    assert [crm.only.body.index(f"text-{n:02}.") for n in range(1, 6)] == sorted(
        crm.only.body.index(f"text-{n:02}.") for n in range(1, 6)
    )


async def test_a_run_ends_in_time(database_url: str) -> None:
    """So that what was done is written down, however slow the CRM is."""
    crm = Crm()
    async with runtime_fixture(
        database_url, settings=Times(answer=5, call=5, run=0, lease=60), crm=crm
    ) as here:
        gate = asyncio.Event()
        crm.before = lambda _call: setattr(crm, "gate", gate if crm.count("update") == 3 else None)
        waiting = asyncio.create_task(here.send(body(*messages(4))))
        await until(lambda: crm.count("update") == 3)
        assert await here.states() == {"1": "logged", "2": "logged", "3": "logged", "4": "calling"}
        gate.set()
        assert (await waiting).successful
    assert texts(crm, 4) == [1] * 4


@pytest.mark.parametrize("connector", RUNNING)
@pytest.mark.parametrize(
    ("error", "states"),
    [
        (partial(Rejected, "HTTP 422", status=422), ["logged", "failed", "logged", "logged"]),
        (partial(Unavailable, "no connection"), ["logged"] * 4),
        (partial(RateLimited, "HTTP 429", retry_after=7, status=429), ["logged"] * 4),
        (partial(OutcomeUnknown, "no answer"), ["logged"] * 4),
        (partial(AuthExpired, "HTTP 401", status=401), ["logged", "waiting", "waiting", "waiting"]),
        (partial(NotFound, "HTTP 404", gone=False, status=404), ["logged", "failed", "failed", "failed"]),
    ],
)
async def test_a_call_of_a_run_that_ends_badly(
    database_url: str, connector: type[Plain], error: Callable[[], ConnectorError], states: list[str]
) -> None:
    """Those before it are logged, it has its own outcome, and those behind it wait for theirs."""
    clock, crm = Clock(), Crm()
    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as here:
        crm.before = fails(2, error)
        await here.send(body(*messages(5)))
        await taken_up(here, clock)
        found = await here.states()
        if (
            connector is AppendingReadBack and "waiting" in states
        ):  # it is asked about first, and repeats nothing
            states = ["logged", "unknown", "planned", "planned"]
        assert [found[str(n)] for n in (2, 3, 4, 5)] == states
        assert texts(crm, 5) == [1] + [int(state == "logged") for state in states]


@pytest.mark.parametrize("connector", RUNNING)
async def test_an_activity_that_goes_away_during_a_run(database_url: str, connector: type[Plain]) -> None:
    """All that the run had brought into it goes into the new one."""
    clock, crm = Clock(), Crm()

    def deleted(call: Call) -> ConnectorError | None:
        if crm.count("update") == 3 and call.kind == "update":
            crm.activities.clear()
            crm.before = None
        return None

    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as here:
        crm.before = deleted
        assert (await here.send(body(*messages(5)))).successful
        await taken_up(here, clock)
        assert set((await here.states()).values()) == {"logged"}
    assert texts(crm, 5) == [1] * 5


@pytest.mark.parametrize("connector", [AppendingReadBack, ReadingBack])
@given(
    minutes=st.lists(st.integers(1, 4), min_size=3, max_size=5),
    dies_at=st.integers(1, 4),
    done=st.booleans(),
    lost=st.sets(st.integers(1, 4), max_size=1),
)
@example(minutes=[1, 2, 3], dies_at=2, done=True, lost=set())
@example(minutes=[1, 2, 2], dies_at=3, done=False, lost=set())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_a_run_that_is_cut_off(  # noqa: PLR0917 - what Hypothesis draws
    sqlite_template: Path,
    tmp_path: Path,
    connector: type[Plain],
    minutes: list[int],
    dies_at: int,
    done: bool,
    lost: set[int],
) -> None:
    """Whatever reads alike, wherever the process dies and whatever answers are lost: each message once."""
    path = tmp_path / "messagelog.sqlite"
    shutil.copy(sqlite_template, path)
    crm = Crm()
    asyncio.run(_cut_off(f"sqlite:///{path}", crm, connector, sorted(minutes), dies_at, lost, done=done))
    assert [crm.only.body.count(f"minute {minute}.") for minute in minutes] == [
        minutes.count(minute) for minute in minutes
    ]


async def _cut_off(  # noqa: PLR0917 - what was drawn
    url: str,
    crm: Crm,
    connector: type[Plain],
    minutes: list[int],
    dies_at: int,
    lost: set[int],
    *,
    done: bool,
) -> None:
    """Sends messages of these minutes, and dies at an update: with its work done, or not."""
    clock = Clock()
    sent = [
        message(100 + n, f"minute {minute}.", at=START + 60_000 * minute + n)
        for n, minute in enumerate(minutes)
    ]

    def hangs(call: Call) -> ConnectorError | None:
        if call.kind == "update" and crm.count("update") == dies_at:
            crm.gate = asyncio.Event()
            if not done:
                raise asyncio.CancelledError
        return None

    def loses(call: Call) -> ConnectorError | None:
        return OutcomeUnknown("no answer") if call.kind == "update" and crm.count("update") in lost else None

    async with runtime_fixture(
        url, connector, crm=crm, settings=Times(answer=0.1, call=5, lease=60), clock=clock
    ) as here:
        await here.send(body(message(1, "the first.")))
        crm.before, crm.after = hangs, loses
        await here.send(body(message(1, "the first."), *sent))
        await kill_runtime(here.runtime)
    crm.before = crm.after = crm.gate = None
    async with runtime_fixture(url, connector, crm=crm, settings=FAST, clock=clock) as again:
        await taken_up(again, clock)
        assert set((await again.states()).values()) == {"logged"}


@pytest.mark.parametrize("held", ["read", "update"])
@pytest.mark.parametrize("order", [(1, 2, 3), (1, 3, 2)])
async def test_a_copy_that_people_have_made_is_not_taken_for_a_later_message(
    database_url: str, order: tuple[int, ...], held: str
) -> None:
    """How often a text stands there is counted before a message that reads like it: so a run ends before one."""
    clock, crm = Clock(), Crm()
    said = {1: "again and again.", 2: "something else.", 3: "again and again."}
    first, *others = (message(n, said[n], at=START + 60_000 + 1000 * place) for place, n in enumerate(order))
    async with runtime_fixture(database_url, AppendingReadBack, crm=crm, settings=FAST, clock=clock) as here:
        await here.send(body(first))
        crm.only.body += "\n" + "\n".join(crm.only.body.splitlines()[-2:])
        crm.before = lambda call: setattr(crm, "gate", asyncio.Event() if call.kind == held else None)
        await here.send(body(first, *others))
        await kill_runtime(here.runtime)
    crm.before = crm.gate = None
    async with runtime_fixture(database_url, AppendingReadBack, crm=crm, settings=FAST, clock=clock) as again:
        await taken_up(again, clock)
        assert set((await again.states()).values()) == {"logged"}
    assert crm.only.body.count("again and again.") == 3
    assert crm.only.body.count("something else.") == 1


async def test_a_user_who_signs_out_during_a_run(database_url: str) -> None:
    """No further call is made in the user's name."""
    crm = Crm()
    async with runtime_fixture(database_url, crm=crm) as here:
        gate = asyncio.Event()
        crm.before = lambda _call: setattr(crm, "gate", gate if crm.count("update") == 1 else None)
        waiting = asyncio.create_task(here.send(body(*messages(4))))
        await until(lambda: crm.count("update") == 1)
        await here.context.users.sign_out(here.runtime.connector("memory"), await here.user())
        gate.set()
        await waiting
        await here.runtime.idle()
        assert crm.count("update") == 1
        assert await here.states() == {"1": "logged", "2": "logged", "3": "waiting", "4": "waiting"}


@pytest.mark.parametrize("which", ["loop", "calendar"])
async def test_whoever_was_paused_does_not_go_on_with_a_run(
    database_url: str, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process stands still for longer than its lease: another one does the work, and it makes no further call."""
    clock, crm = Clock(), Crm()
    times = Times(answer=5, call=5, lease=60)
    async with (
        runtime_fixture(database_url, AppendingReadBack, crm=crm, settings=times, clock=clock) as paused,
        runtime_fixture(database_url, AppendingReadBack, crm=crm, settings=times, clock=clock) as other,
    ):
        gate = asyncio.Event()
        crm.before = lambda _call: setattr(crm, "gate", gate if crm.count("update") == 1 else None)
        waiting = asyncio.create_task(paused.send(body(*messages(5))))
        await until(lambda: crm.count("update") == 1)
        await asyncio.sleep(0)
        crm.before = crm.gate = None
        clock.now += 61_000
        await other.runtime.sweep()
        await other.runtime.idle()
        assert texts(crm, 5) == [1] * 5
        loop, ahead = asyncio.get_running_loop(), 61.0
        late = (loop.time() + ahead, time.time()) if which == "loop" else (loop.time(), time.time() + ahead)
        monkeypatch.setattr(runs.RunTimer, "now", lambda _: late)
        gate.set()
        assert (await waiting).successful
        await paused.runtime.idle()
        assert texts(crm, 5) == [1] * 5


class BatchesReadBack(Finding):
    """All new messages in a call, and the activity can be read."""

    takes_batches = True


class Own(Plain):
    """Each text is written by the connector itself."""

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        def do() -> None:
            self._activity(log).body += "".join(str(each.record.subject) for each in log.messages)

        await self.crm.work(Call("update", session.user_id, log), do)


class Custom(Own):
    """And it says so."""

    log_format = LogFormat.CUSTOM


class Unsearchable(AppendingReadBack):
    """No contact can be looked up now."""

    looked_up = 0

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        self.looked_up += 1
        raise Unavailable("HTTP 503", status=503)


async def die(here: RuntimeFixture) -> None:
    """The process goes away, whatever it does."""
    await kill_runtime(here.runtime)


def hangs_at(crm: Crm, number: int) -> Callable[[Call], None]:
    """Keeps back the answer to the update with this number, with its work done."""

    def fault(call: Call) -> None:
        if call.kind == "update" and crm.count("update") == number:
            crm.gate = asyncio.Event()

    return fault


async def test_each_message_of_a_run_is_looked_for_as_it_was_written(database_url: str) -> None:
    """The user has another name since then: that is in the text of the later ones."""
    clock, crm = Clock(), Crm()
    ours: dict[str, Any] = {
        "direction": "Outbound",
        "from": {"phoneNumber": JORDAN["phoneNumber"]},
        "to": [MAYA],
    }
    renamed: dict[str, Any] = {"self": {**JORDAN, "name": "Jordan Singh"}}
    first, times = asyncio.Event(), Times(answer=0.1, call=5, lease=60)
    async with runtime_fixture(database_url, AppendingReadBack, crm=crm, settings=times, clock=clock) as here:
        await here.send(body(message(1, "text-01.")))
        crm.before = lambda _call: setattr(crm, "gate", first)
        await here.send(body(message(2, "text-02.", **ours)))
        await here.send(body(message(3, "text-03.", **ours)))
        await here.send(body(message(4, "text-04.", **ours), message(5, "text-05.", **ours), **renamed))
        crm.before = hangs_at(crm, 4)
        first.set()
        await until(lambda: crm.count("update") == 4)
        await asyncio.sleep(0)
        assert list((await here.states()).values()).count("calling") == 3
        assert "Jordan Singh" in crm.only.body
        await die(here)
    crm.before = crm.gate = None
    async with runtime_fixture(database_url, AppendingReadBack, crm=crm, settings=FAST, clock=clock) as again:
        await taken_up(again, clock)
        assert set((await again.states()).values()) == {"logged"}
    assert texts(crm, 5) == [1] * 5


async def test_of_two_that_read_alike_the_one_that_is_there_is_not_taken_for_both(database_url: str) -> None:
    """A lost call has brought one of them only."""
    clock, crm = Clock(), Crm()

    def halved(call: Call) -> ConnectorError | None:
        if call.kind != "update":
            return None
        activity = crm.only
        activity.body = activity.body.replace("alike.", "", 1)
        crm.after = None
        return OutcomeUnknown("no answer")

    async with runtime_fixture(database_url, BatchesReadBack, crm=crm, settings=FAST, clock=clock) as here:
        await here.send(body(message(1, "first.")))
        crm.after = halved
        at = START + 120_000
        await here.send(body(message(2, "alike.", at=at), message(3, "alike.", at=at + 1)))
        await taken_up(here, clock)
        assert set((await here.states()).values()) == {"logged"}
    assert crm.only.body.count("alike.") == 2


async def test_a_lost_batch_is_found_also_by_a_connector_that_takes_none_by_now(database_url: str) -> None:
    """Two of its messages read alike, which no run has."""
    clock, crm = Clock(), Crm()
    at = START + 120_000
    async with runtime_fixture(database_url, BatchesReadBack, crm=crm, settings=FAST, clock=clock) as here:
        await here.send(body(message(1, "first.")))
        crm.before = hangs_at(crm, 1)
        await here.send(body(message(2, "alike.", at=at), message(3, "alike.", at=at + 1)))
        await die(here)
    crm.before = crm.gate = None
    async with runtime_fixture(database_url, AppendingReadBack, crm=crm, settings=FAST, clock=clock) as again:
        await taken_up(again, clock)
        assert set((await again.states()).values()) == {"logged"}
    assert crm.only.body.count("alike.") == 2


async def test_a_text_that_cannot_be_written_is_refused_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for the run that it began and once by itself: a third one would be told to those behind it."""
    clock, crm = Clock(), Crm()
    entries = compose.entries

    def broken(*given: Any) -> Any:
        if any(record.subject in {"text-02.", "text-03."} for record in given[2]):
            raise ZeroDivisionError
        return entries(*given)

    async with runtime_fixture(database_url, AppendingReadBack, crm=crm, settings=FAST, clock=clock) as here:
        await here.send(body(message(1, "text-01.")))
        monkeypatch.setattr(compose, "entries", broken)
        await here.send(body(*messages(5)))
        await taken_up(here, clock)
        states = await here.states()
        assert [states[str(n)] for n in range(1, 6)] == ["logged", "failed", "failed", "logged", "logged"]
    assert texts(crm, 5) == [1, 0, 0, 1, 1]


async def test_a_run_looks_up_the_others_of_a_group_once(database_url: str) -> None:
    """Each look-up may take seconds, and before the first call a run has no more of them than its lease allows."""
    crm = Crm()
    async with runtime_fixture(database_url, Unsearchable, crm=crm) as here:
        connector = here.runtime.connector("memory")
        assert isinstance(connector, Unsearchable)
        group: dict[str, Any] = {"correspondents": (MAYA, OMAR)}
        await here.send(body(message(1, "text-01."), **group))
        before = connector.looked_up
        assert before > 0
        await here.send(body(*messages(5), **group))
        assert set((await here.states()).values()) == {"logged"}
        assert connector.looked_up - before == 1
    assert texts(crm, 5) == [1] * 5


async def test_a_text_of_the_connectors_own_is_in_no_run(database_url: str) -> None:
    """It has no entries that its messages could be known by, also when the connector writes ours by now."""
    crm = Crm()
    async with runtime_fixture(database_url, Custom, crm=crm) as before:
        await before.send(body(message(1, "text-01.")))
    async with runtime_fixture(database_url, Own, crm=crm) as here:
        await here.send(body(*messages(4)))
        assert set((await here.states()).values()) == {"logged"}
    assert texts(crm, 4)[1:] == [1] * 3
