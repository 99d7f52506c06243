"""A CRM that is down, asks for patience, or signs users out: nothing is lost, doubled or out of order afterwards."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from messagelog.connectors import (
    AuthExpired,
    ConnectorError,
    Credentials,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from messagelog.core import Times
from messagelog.core.delivery import backoff
from messagelog.core.delivery.fair_share import BacklogLimiter
from messagelog.storage import LogKey, transactions
from support.live_server import SQLITE_ONLY
from support.memory_crm import Batches, Call, Crm, Finding, Plain
from support.requests import body, message
from support.run_until_idle import work_off
from support.runtime_fixture import RuntimeFixture, runtime_fixture
from support.waiting import until

if TYPE_CHECKING:
    from messagelog.connectors import MessageLog, Session
    from messagelog.core import Answer

TIMED_OUT = OutcomeUnknown("no answer")
BRISK = Times(answer=0.3, call=5.0, lease=60.0)
AT_ONCE = Times(answer=0.05, call=5.0, lease=60.0)
"""Answers before a call has ended."""


class Clock:
    """The database's clock, in a test's hands."""

    now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


async def settled(here: RuntimeFixture, clock: Clock) -> None:
    """Lets time pass until nothing is due any more."""
    for _ in range(200):
        await work_off(here.runtime)
        left = await here.store.read(transactions.find_next_due)
        if left is None:
            return
        clock.forward(left + 0.001)
    raise AssertionError("it never settles")


def away(_call: Call) -> ConnectorError:
    return Unavailable("no connection")


def refused_sign_in(_call: Call) -> ConnectorError:
    return AuthExpired("HTTP 401", status=401)


async def sign_in(here: RuntimeFixture, user: str = "acme/ada") -> None:
    await here.context.users.sign_in(here.runtime.connector("memory"), Credentials(api_key=user), "")


def order(here: RuntimeFixture) -> list[str]:
    """The ids of the messages that were sent to the CRM, as they came."""
    return [each.record.id for call in here.crm.calls if call.log for each in call.log.messages]


# ------------------------------------------------------------------------------------------ an hour


class Counting(Plain):
    """Counts the calls that are under way together."""

    now = most = 0

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0)
            return await super().create_message_log(session, log)
        finally:
            self.now -= 1


@SQLITE_ONLY
async def test_an_hour_without_the_crm_under_steady_traffic(database_url: str) -> None:
    clock, crm, draw = Clock(), Crm(), random.Random(7)
    counting = Counting(crm)
    jitter = random.Random(11).random
    sent: Counter[int] = Counter()
    async with runtime_fixture(
        database_url, lambda _: counting, crm=crm, clock=clock, settings=Times(answer=0.01), jitter=jitter
    ) as here:
        crm.before = away
        for minute in range(60):
            clock.forward(60)
            for conversation in {draw.randrange(120) for _ in range(4)}:
                sent[conversation] += 1
                assert (await logged(here, conversation, sent[conversation])).successful
            await here.runtime.sweep()
            await here.runtime.idle()
            assert not crm.activities, f"minute {minute}"
        assert len(crm.calls) < 8 * len(sent), "few calls for an hour"
        crm.before, counting.most = None, 0
        await settled(here, clock)
        assert set((await here.states()).values()) == {"logged"}
        assert counting.most <= 16, "no herd"
        for activity in crm.activities.values():
            numbers = [int(each) for each in re.findall(r"text-\d+-(\d+)\.", activity.body)]
            assert numbers == sorted(set(numbers))
        held = Counter(int(each) for each in re.findall(r"text-(\d+)-", " ".join(bodies(here))))
        assert held == sent


def bodies(here: RuntimeFixture) -> list[str]:
    return [activity.body for activity in here.crm.activities.values()]


async def logged(here: RuntimeFixture, conversation: int, upto: int) -> Answer:
    texts = [
        message(conversation * 100 + number, f"text-{conversation}-{number}.")
        for number in range(1, upto + 1)
    ]
    return await here.send(body(*texts, conversation=f"k{conversation}"))


@SQLITE_ONLY
async def test_due_logs_come_back_spread_over_the_longest_wait(database_url: str) -> None:
    """All failed in one moment: their next tries do not come in one moment."""
    clock = Clock()
    jitter = random.Random(5).random
    async with runtime_fixture(database_url, clock=clock, settings=Times(answer=0.01), jitter=jitter) as here:
        here.crm.before = away
        await asyncio.gather(*(logged(here, conversation, 1) for conversation in range(60)))
        await here.runtime.idle()
        due = [log.due_at - clock.now for log in await here.logs() if log.due_at]
        assert len(due) == 60
        tenths = Counter(each // 200 for each in due)
        assert max(tenths.values()) < 15


async def test_a_retry_that_ends_with_the_table_is_a_failure_that_can_be_seen(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, clock=clock, settings=BRISK, jitter=lambda: 0.999) as here:
        here.crm.before = away
        await here.send(body(message(1), message(2)))
        began = clock.now
        await settled(here, clock)
        assert set((await here.states()).values()) == {"failed"}
        assert here.crm.count("create") == len(backoff.STEPS) + 1
        assert 5.5 < (clock.now - began) / 86_400_000 < 6.5
        rows = await here.rows()
        assert rows["1"].reason == "unavailable: The CRM could not be reached. (no connection)"
        here.crm.before = None
        assert (await here.send(body(message(1), message(2)))).log_ids == ["1", "2"]


async def test_a_resend_of_what_waits_changes_nothing_and_says_why(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, clock=clock, settings=BRISK, jitter=lambda: 0.5) as here:
        here.crm.before = away
        first = await here.send(body(message(1)))
        (before,) = await here.logs()
        again = await here.send(body(message(1)))
        (after,) = await here.logs()
        assert (after.due_at, after.attempt_count, after.fence) == (
            before.due_at,
            before.attempt_count,
            before.fence,
        )
        assert len(here.crm.calls) == 1
        assert first == again
        assert again.log_ids == ["1"]
        assert "Log again" not in again.return_message.message
        more = await here.send(body(message(1), message(2)))
        assert "2 messages accepted; Memory CRM cannot be reached" in more.return_message.message
        assert len(here.crm.calls) == 1


async def test_what_waited_becomes_one_call_where_the_connector_takes_batches(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(
        database_url, Batches, clock=clock, settings=BRISK, jitter=lambda: 0.5
    ) as here:
        here.crm.before = away
        await here.send(body(message(1)))
        for number in (2, 3, 4):
            await here.send(body(message(number)))
        here.crm.before = None
        await settled(here, clock)
        assert here.crm.count("create") == 2
        assert here.crm.count("update") == 0
        assert [here.crm.only.body.count(f"text {n}") for n in (1, 2, 3, 4)] == [1, 1, 1, 1]


# ------------------------------------------------------------------------------------ signing in again


async def test_work_waits_for_its_user_and_goes_on_when_she_signs_in(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, clock=clock, settings=BRISK) as here:
        await here.user()
        here.crm.before = refused_sign_in
        answer = await here.send(body(message(1), message(2)))
        assert answer.log_ids == ["1", "2"]
        assert (
            "2 messages accepted; please sign in to Memory CRM again, then they are logged"
            in answer.return_message.message
        )
        assert await here.states() == {"1": "waiting", "2": "waiting"}
        await here.send(body(message(1), message(2), message(3)))
        await here.send(body(message(4), conversation="other"))
        assert set((await here.states()).values()) == {"waiting"}
        assert len(here.crm.calls) == 1, "nothing is asked in her name from then on"
        assert await here.store.read(transactions.find_next_due) is None, "and nothing polls"
        here.crm.before = None
        await sign_in(here)
        await settled(here, clock)
        assert set((await here.states()).values()) == {"logged"}
        assert [id_ for id_ in order(here) if id_ != "4"] == ["1", "1", "2", "3"]


async def test_a_pause_holds_in_other_processes_and_a_sign_in_there_ends_it(database_url: str) -> None:
    crm, clock = Crm(), Clock()
    async with (
        runtime_fixture(database_url, crm=crm, clock=clock, settings=BRISK) as here,
        runtime_fixture(database_url, crm=crm, clock=clock, settings=BRISK) as other,
    ):
        await here.user()
        crm.before = refused_sign_in
        await here.send(body(message(1)))
        other.users.update(here.users)
        await other.send(body(message(2), conversation="other"))
        assert len(crm.calls) == 1
        crm.before = None
        await sign_in(other)
        await settled(other, clock)
        assert set((await here.states()).values()) == {"logged"}


async def test_a_refusal_of_credentials_that_were_replaced_meanwhile_pauses_nobody(database_url: str) -> None:
    """The user signs in while the CRM refuses the former credentials."""
    clock = Clock()
    async with runtime_fixture(database_url, clock=clock, settings=BRISK) as here:
        user = await here.user()
        gate = asyncio.Event()
        calls = 0

        async def slow_refusal() -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                await gate.wait()
                raise AuthExpired("HTTP 401", status=401)

        connector = here.runtime.connector("memory")
        create = connector.create_message_log

        async def created(session: Session, log: MessageLog) -> str | int | None:
            await slow_refusal()
            return await create(session, log)

        connector.create_message_log = created  # type: ignore[method-assign]
        await here.send(body(message(1)))
        await sign_in(here)
        gate.set()
        await here.runtime.idle()
        assert await here.states() == {"1": "logged"}
        row = await here.store.read(lambda: transactions.find_user(user.tenant, user.platform, user.id))
        assert row is not None
        assert row.sign_in_since is None


async def test_a_colleagues_messages_pass_those_that_wait(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, clock=clock, settings=BRISK) as here:
        await here.user("acme/grace")
        await here.user("acme/ada")
        here.crm.before = lambda call: AuthExpired() if call.user == "ada" else None
        await here.send(body(message(1)), user="acme/ada")
        await here.send(body(message(2)), user="acme/grace")
        assert await here.states() == {"1": "waiting", "2": "logged"}
        await here.send(body(message(1)), user="acme/grace")
        assert await here.states() == {"1": "logged", "2": "logged"}, "she brings it herself"
        assert [here.crm.only.body.count(f"text {n}") for n in (1, 2)] == [1, 1]


async def test_a_shutdown_during_a_refusal_leaves_a_colleagues_message_to_the_next_start(
    database_url: str,
) -> None:
    clock, crm = Clock(), Crm(delay=0.3)
    async with runtime_fixture(database_url, crm=crm, clock=clock, settings=AT_ONCE) as here:
        await here.user("acme/grace")
        await here.user("acme/ada")
        crm.before = lambda call: AuthExpired() if call.user == "ada" else None
        adas = asyncio.create_task(here.send(body(message(1)), user="acme/ada"))
        await until(lambda: crm.calls)
        await here.send(body(message(2)), user="acme/grace")
        await here.runtime.stop()
        await adas
        assert await here.states() == {"1": "waiting", "2": "planned"}
    crm.delay = 0
    async with runtime_fixture(database_url, crm=crm, clock=clock, settings=AT_ONCE) as again:
        await settled(again, clock)
        assert await again.states() == {"1": "waiting", "2": "logged"}


async def test_what_waits_when_she_signs_out_goes_on_when_she_is_back(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, clock=clock, settings=BRISK, jitter=lambda: 0.5) as here:
        here.crm.before = away
        user = await here.user()
        await here.send(body(message(1)))
        await here.context.users.sign_out(here.runtime.connector("memory"), user)
        here.crm.before = None
        await settled(here, clock)
        assert await here.states() == {"1": "waiting"}
        await sign_in(here)
        await settled(here, clock)
        assert await here.states() == {"1": "logged"}


async def test_an_unknown_create_is_asked_about_when_she_is_back(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(
        database_url, Finding, clock=clock, settings=BRISK, jitter=lambda: 0.5
    ) as here:
        await here.user()
        here.crm.after = lambda call: TIMED_OUT if call.kind == "create" else None
        here.crm.before = lambda call: AuthExpired() if call.kind == "find" else None
        await here.send(body(message(1)))
        await here.runtime.idle()
        clock.forward(2)
        await here.runtime.sweep()
        await here.runtime.idle()
        assert await here.states() == {"1": "unknown"}
        calls = len(here.crm.calls)
        assert await here.store.read(transactions.find_next_due) is None
        await here.send(body(message(1)))
        await here.runtime.sweep()
        await here.runtime.idle()
        assert len(here.crm.calls) == calls, "nobody is asked in her name"
        here.crm.before = here.crm.after = None
        await sign_in(here)
        await here.runtime.sweep()
        await here.runtime.idle()
        assert await here.states() == {"1": "logged"}
        assert len(here.crm.activities) == 1


# ----------------------------------------------------------------------------------------- poison


@pytest.mark.parametrize("connector", [Plain, Batches])
async def test_a_refused_message_lets_the_others_pass_wherever_it_stands(
    database_url: str, connector: type[Plain]
) -> None:
    for poison in (1, 2, 3):
        async with runtime_fixture(database_url, connector) as here:
            here.crm.before = lambda call, bad=poison: (
                Rejected("HTTP 422")
                if call.log and any(each.record.id == str(bad) for each in call.log.messages)
                else None
            )
            sent = [message(n) for n in (1, 2, 3)]
            answer = await here.send(body(*sent), user=f"t{poison}/ada")
            left = [str(n) for n in (1, 2, 3) if n != poison]
            assert answer.log_ids == left
            assert [id_ for id_ in left if f"text {id_}" in here.crm.only.body] == left


@pytest.mark.parametrize("connector", [Plain, Batches])
async def test_a_contact_that_takes_nothing_costs_three_calls(
    database_url: str, connector: type[Plain]
) -> None:
    async with runtime_fixture(database_url, connector) as here:
        here.crm.before = lambda _: Rejected("HTTP 422")
        answer = await here.send(body(*(message(n) for n in range(1, 51))))
        assert answer.log_ids == []
        assert len(here.crm.calls) == 3
        reasons = Counter((row.reason or "").partition(":")[0] for row in (await here.rows()).values())
        assert set(reasons) == {"rejected", "behind"}


class Clumsy(Finding):
    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        if log.messages[0].record.id == "1":
            self.crm.calls.append(Call("create", session.user_id, log))
            raise KeyError("a slip")
        return await super().create_message_log(session, log)


async def test_a_connector_that_always_fails_at_one_message_is_not_asked_for_ever(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, Clumsy, clock=clock, settings=BRISK, jitter=lambda: 0.5) as here:
        await here.send(body(message(1), message(2)))
        await here.send(body(message(3), conversation="other"))
        await settled(here, clock)
        assert await here.states() == {"1": "failed", "2": "logged", "3": "logged"}
        assert here.crm.count("create") == 5
        assert (await here.rows())[
            "1"
        ].reason == "mistake: The connector failed. (the connector memory raised KeyError)"


# ------------------------------------------------------------------------------------- catching up


def test_no_tenant_takes_all_the_room() -> None:
    catching_up = BacklogLimiter(most=6)
    loud = [LogKey("loud", "crm", f"k{n}") for n in range(9)]
    quiet = [LogKey(f"quiet-{n}", "crm", "k") for n in range(9)]
    assert [catching_up.try_acquire(key, 4) for key in loud].count(True) == 4
    turns = catching_up.fair_order([*loud[4:], *quiet])
    assert turns == [*quiet, *loud[4:]], "who has the fewest under way comes first"
    assert [catching_up.try_acquire(key, 4) for key in quiet].count(True) == 2
    assert catching_up.room == 0
    catching_up.release(loud[0])
    assert not catching_up.try_acquire(loud[5], 0)
    assert catching_up.try_acquire(loud[5], 4)


async def test_one_tenants_backlog_does_not_keep_another_waiting(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(
        database_url, clock=clock, settings=Times(answer=0.01), jitter=lambda: 0.5
    ) as here:
        here.crm.before = away
        await here.user("loud/ada")
        await here.user("quiet/ada")
        loud = (here.send(body(message(n), conversation=f"k{n}"), user="loud/ada") for n in range(1, 81))
        await asyncio.gather(*loud)
        clock.forward(0.5)
        await here.send(body(message(500), conversation="k"), user="quiet/ada")
        await here.runtime.idle()
        clock.forward(60)
        here.crm.before, here.crm.gate = None, asyncio.Event()
        assert await here.runtime.sweep() == 17, "a share of the one, and all of the other"
        here.crm.gate.set()
        await settled(here, clock)
        assert set((await here.states()).values()) == {"logged"}
