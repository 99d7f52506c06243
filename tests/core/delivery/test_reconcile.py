"""Work that a crash, a shutdown or a lost lease leaves behind is taken up, and reconciled, exactly once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest

from messagelog.connectors import BodyFull, NotFound, OutcomeUnknown, Rejected
from messagelog.core import Times
from messagelog.core.errors import Stopping
from support.memory_crm import Appending, Call, Crm, Finding, Plain, ReadingBack, Upserting, lost
from support.requests import body, message, thread
from support.runtime_fixture import RuntimeFixture, runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from messagelog.connectors import ConnectorError

FAST = Times(answer=0.3, call=5, lease=60)


class Clock:
    """The database's clock, in a test's hands."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


async def _crash(here: RuntimeFixture) -> None:
    """Ends everything under way at once, as kill -9 does: nothing more is written."""
    tasks = list(here.runtime._dispatcher._working.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _crashed_during(here: RuntimeFixture, call: int, request: object) -> None:
    """Sends a request, and crashes when the CRM has done the work of this call (from 1) but not answered."""
    gate = asyncio.Event()
    seen = 0

    def hold(_call: Call) -> None:
        nonlocal seen
        seen += 1
        here.crm.gate = gate if seen == call else None

    here.crm.before = hold
    assert isinstance(request, dict)
    waiting = asyncio.create_task(here.send(request))
    await until(lambda: seen >= call)
    await asyncio.sleep(0.02)
    await _crash(here)
    answer = await waiting
    assert answer.successful, "accepted, though not finished"
    here.crm.before = here.crm.gate = None


@pytest.mark.parametrize(
    "refusal", [Rejected(status=422), NotFound(status=404), BodyFull(status=413)], ids=repr
)
async def test_a_repeat_that_is_refused_says_nothing_of_the_first_call(
    database_url: str, refusal: ConnectorError
) -> None:
    """The CRM may have the first message: a later one that came in under its key would be logged and be nowhere."""
    clock = Clock()
    async with runtime_fixture(database_url, Upserting, settings=FAST, clock=clock) as here:
        here.crm.after = lambda _call: OutcomeUnknown("HTTP 500", status=500)
        here.crm.before = lambda call: refusal if here.crm.count(call.kind) > 1 else None
        await here.send(body(message(1, "text-01.")))
        clock.forward(60)
        await here.runtime.sweep()
        await here.runtime.idle()
        here.crm.before = here.crm.after = None
        await here.send(body(message(1, "text-01."), message(2, "text-02.")))
        assert (await here.states()) == {"1": "parked", "2": "parked"}
        assert here.crm.only.body.count("text-01.") == 1
        assert "text-02." not in here.crm.only.body


@pytest.mark.parametrize("resend", [True, False])
@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("connector", [Upserting, Finding, ReadingBack])
async def test_a_crash_between_the_work_and_its_answer(
    database_url: str, connector: type[Plain], call: int, *, resend: bool
) -> None:
    clock, crm = Clock(), Crm()
    request = body(*(message(n, f"text-{n:02}.") for n in (1, 2, 3)))
    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as here:
        await _crashed_during(here, call, request)
    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as again:
        if resend:
            assert (await again.send(request)).successful
        assert crm.count("create") == 1, "nobody takes the claim before its lease is over"
        clock.forward(61)
        await again.runtime.sweep()
        await again.runtime.idle()
        await again.runtime.sweep()
        await again.runtime.idle()
        assert set((await again.states()).values()) == {"logged"}
        assert [crm.only.body.count(f"text-{n:02}.") for n in (1, 2, 3)] == [1, 1, 1]


async def test_a_crash_during_a_create_that_nothing_can_find_parks(database_url: str) -> None:
    clock, crm = Clock(), Crm()
    request = body(message(1), message(2))
    async with runtime_fixture(database_url, Plain, crm=crm, settings=FAST, clock=clock) as here:
        await _crashed_during(here, 1, request)
    async with runtime_fixture(database_url, Plain, crm=crm, settings=FAST, clock=clock) as again:
        clock.forward(61)
        await again.runtime.sweep()
        await again.runtime.idle()
        assert await again.states() == {"1": "parked", "2": "parked"}
        assert crm.count("create") == 1


async def test_a_crash_before_the_call_left_is_found_out_and_done(database_url: str) -> None:
    clock, crm = Clock(), Crm(delay=30)
    async with runtime_fixture(database_url, Finding, crm=crm, settings=FAST, clock=clock) as here:
        waiting = asyncio.create_task(here.send(body(message(1))))
        await until(lambda: crm.calls)
        await _crash(here)
        await waiting
    crm.delay = 0
    async with runtime_fixture(database_url, Finding, crm=crm, settings=FAST, clock=clock) as again:
        clock.forward(61)
        await again.runtime.sweep()
        await again.runtime.idle()
        assert await again.states() == {"1": "logged"}
        assert len(crm.activities) == 1


async def test_a_crash_during_a_shared_threads_update(database_url: str) -> None:
    for connector in (Plain, Finding, ReadingBack):
        clock, crm = Clock(), Crm()
        name = connector.__name__
        async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as here:
            await here.send(thread("one", id_=name))
            await _crashed_during(here, 1, thread("one", "two", id_=name))
        async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as again:
            assert (await again.send(thread("one", "two", "three", id_=name))).successful
            clock.forward(61)
            await again.runtime.sweep()
            await again.runtime.idle()
            text = crm.only.body
            assert [text.count(word) for word in ("one", "two", "three", "Started")] == [1, 1, 1, 1]


async def test_a_search_that_lags_is_waited_for(database_url: str) -> None:
    class Lagging(Finding):
        settle_seconds = 5.0

    clock, crm = Clock(), Crm()
    crm.search_from = lambda activity: clock.now - activity.made_at >= 4_000
    async with runtime_fixture(database_url, Lagging, crm=crm, settings=FAST, clock=clock) as here:

        def answer_lost(call: Call) -> Exception | None:
            for activity in crm.activities.values():
                activity.made_at = clock.now
            return lost(call) if call.kind == "create" else None

        crm.after = answer_lost  # type: ignore[assignment] # a narrower error is an error too
        await here.send(body(message(1)))
        assert await here.states() == {"1": "unknown"}
        clock.forward(3)
        await here.runtime.sweep()
        await here.runtime.idle()
        assert crm.count("find") == 0, "asked too early, the search would know nothing"
        clock.forward(3)
        await here.runtime.sweep()
        await here.runtime.idle()
        assert await here.states() == {"1": "logged"}
        assert len(crm.activities) == 1


async def test_a_claim_that_was_lost_confirms_nothing(database_url: str) -> None:
    """A process that was paused for longer than its lease must not write over what another has found out."""
    clock, crm = Clock(), Crm()
    async with (
        runtime_fixture(database_url, Finding, crm=crm, settings=FAST, clock=clock) as paused,
        runtime_fixture(database_url, Finding, crm=crm, settings=FAST, clock=clock) as other,
    ):
        crm.gate = asyncio.Event()
        waiting = asyncio.create_task(paused.send(body(message(1), message(2))))
        await until(lambda: crm.activities)
        gate, crm.gate = crm.gate, None
        clock.forward(61)
        await other.runtime.sweep()
        await other.runtime.idle()
        assert set((await other.states()).values()) == {"logged"}
        gate.set()
        await waiting
        await paused.runtime.idle()
        assert set((await other.states()).values()) == {"logged"}
        assert crm.count("create") == 1
        assert crm.only.body.count("text 2") == 1


async def test_the_answer_comes_in_time_and_the_work_goes_on(database_url: str) -> None:
    async with runtime_fixture(database_url, crm=Crm(delay=0.15), settings=FAST) as here:
        answer = await here.send(body(*(message(n) for n in range(1, 6))))
        assert answer.successful
        assert answer.log_ids == ["1", "2", "3", "4", "5"]
        assert answer.return_message.message_type == "warning"
        assert "goes on in the background" in answer.return_message.message
        await here.runtime.idle()
        assert set((await here.states()).values()) == {"logged"}


async def test_a_lost_client_does_not_end_the_call(database_url: str) -> None:
    async with runtime_fixture(database_url, crm=Crm(delay=0.1)) as here:
        request = asyncio.create_task(here.send(body(message(1), message(2))))
        await until(lambda: here.crm.calls)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        await here.runtime.idle()
        assert set((await here.states()).values()) == {"logged"}


async def test_a_shutdown_finishes_the_call_and_leaves_the_rest_to_the_next_start(database_url: str) -> None:
    crm = Crm(delay=0.1)
    async with runtime_fixture(database_url, crm=crm) as here:
        request = asyncio.create_task(here.send(body(message(1), message(2), message(3))))
        await until(lambda: crm.calls)
        await here.runtime.stop()
        answer = await request
        assert answer.successful
        assert len(answer.log_ids) == 3
        states = await here.states()
        assert states["1"] == "logged"
        assert states["3"] == "planned"
        with pytest.raises(Stopping):
            await here.send(body(message(4)))
    async with runtime_fixture(database_url, crm=crm) as again:
        await again.runtime.start()
        async with asyncio.timeout(5):
            while set((await again.states()).values()) != {"logged"}:  # noqa: ASYNC110 - the database does not notify
                await asyncio.sleep(0.02)
        assert crm.count("create") == 1


async def test_a_call_that_takes_too_long_is_unknown(database_url: str) -> None:
    settings = Times(answer=3, call=0.1, lease=60)
    async with runtime_fixture(database_url, Appending, settings=settings) as here:
        here.crm.gate = asyncio.Event()
        answer = await here.send(body(message(1)))
        assert "kept for review" in answer.return_message.message
        (log,) = await here.logs()
        assert log.reason is not None
        assert "no answer within 0.1 s" in log.reason


# ----------------------------------------------------------------------------------------------- sealing


async def test_text_is_sealed_while_it_waits_and_erased_when_it_is_logged(
    database_url: str, tmp_path: Path
) -> None:
    secret_text, token = "the-secret-words", "THE-RC-TOKEN"
    async with runtime_fixture(database_url, crm=Crm(delay=0.05), settings=FAST) as here:
        here.crm.gate = asyncio.Event()
        request = asyncio.create_task(
            here.send(body(message(1, secret_text), message(2), rcAccessToken=token))
        )
        await until(lambda: here.crm.activities)
        waiting = _bytes_of(database_url, tmp_path)
        assert await _payloads(database_url) == 2
        here.crm.gate.set()
        await request
        await here.runtime.idle()
        done = _bytes_of(database_url, tmp_path)
        assert await _payloads(database_url) == 0
    for stored in (waiting, done):
        for secret in (secret_text, token, "acme/ada"):
            assert secret.encode() not in stored


async def _payloads(database_url: str) -> int:
    query = 'SELECT COUNT("payload") FROM "messageLogs"'
    if database_url.startswith("sqlite"):
        import sqlite3

        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        try:
            (count,) = connection.execute(query).fetchone()
        finally:
            connection.close()
    else:
        with psycopg.connect(database_url) as other:
            (count,) = other.execute(query).fetchone() or (0,)
    return int(count)


def _bytes_of(database_url: str, folder: Path) -> bytes:
    if database_url.startswith("sqlite"):
        return b"".join(path.read_bytes() for path in folder.glob("messagelog.sqlite*"))
    with psycopg.connect(database_url) as connection:
        found = b""
        for table in ("conversationLogs", "messageLogs", "users"):
            with connection.cursor().copy(f'COPY "{table}" TO STDOUT (FORMAT binary)'.encode()) as copy:
                found += b"".join(bytes(part) for part in copy)
        return found


async def test_due_logs_of_a_connector_that_is_gone_do_not_hide_the_others(database_url: str) -> None:
    clock, crm, other = Clock(), Crm(), Crm(delay=30)

    class Gone(Plain):
        name = "gone"

    patient = Times(answer=0.3, call=25, lease=60)  # all calls are under way at once, on a busy machine too
    async with runtime_fixture(
        database_url, Finding, crm=crm, settings=patient, clock=clock, more={"gone": Gone(other)}
    ) as here:
        crm.delay = 30
        requests = [here.send(body(message(n), conversation=f"k{n}"), platform="gone") for n in range(1, 102)]
        sending = asyncio.gather(*requests, here.send(body(message(500))))
        await until(lambda: len(crm.calls) == 1 and len(other.calls) == 101, seconds=25)
        await _crash(here)
        await sending
    crm.delay = 0
    async with runtime_fixture(database_url, Finding, crm=crm, settings=FAST, clock=clock) as again:
        clock.forward(61)
        assert await again.runtime.sweep() == 1
        await again.runtime.idle()
        assert (await again.states())["500"] == "logged"
