"""Any order of requests, faults, work and honest decisions: each message ends up in the CRM once, in one activity.

A group has an activity for each contact: to give its log to another one makes room for a log of the first.

Operators look at the CRM before they decide about a parked log, and say what they saw. They may be late: the server,
the client and a colleague go on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messagelog.connectors import OutcomeUnknown, Rejected
from messagelog.core import Times
from messagelog.core.admin.inbox import DecisionRefused, Inbox, NotThere, key_of
from messagelog.core.operators.accounts import local_operator
from messagelog.storage.records.inbox import InboxFilter
from support.crash_campaign import Clock
from support.memory_crm import Appending, Call, Crm, Plain
from support.requests import MAYA, OMAR, body, message
from support.run_until_idle import work_off
from support.runtime_fixture import RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from messagelog.connectors import Connector, ConnectorError
    from messagelog.core.admin.inbox_models import InboxEntry

IDS = (1, 2, 3, 4)
TIMES = Times(answer=0.05, call=5.0, lease=60.0)


@dataclass(frozen=True)
class Send:
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Fault:
    """What befalls the next call: refused, lost before it was done, or after."""

    kind: str


@dataclass(frozen=True)
class Act:
    """retry what failed, decide what is parked, link, or look (and decide later, about what was seen then)."""

    kind: str


@dataclass(frozen=True)
class Together:
    """Several at the same time."""

    moves: tuple[Send | Act, ...]


Move = Send | Fault | Act | Together
People = tuple[dict[str, Any], ...]

SENDS = st.builds(Send, st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True).map(tuple))
FAULTS = st.builds(Fault, st.sampled_from(("refused", "lost before", "lost after")))
ACTS = st.builds(Act, st.sampled_from(("retry", "decide", "decide", "link", "look", "decide late", "work")))
TOGETHER = st.builds(Together, st.lists(SENDS | ACTS, min_size=2, max_size=3).map(tuple))
MOVES = st.lists(SENDS | FAULTS | FAULTS | ACTS | TOGETHER, min_size=4, max_size=14)


class Story:
    """One example: a conversation of a tenant of its own, and the operator who looks after it."""

    def __init__(self, here: RuntimeFixture, platform: str, tenant: str, people: People) -> None:
        self.here = here
        self.people = people
        self.platform = platform
        self.tenant = tenant
        self.inbox = Inbox(here.store, local_operator("grace"), here.context.sealer)
        self.sent: set[int] = set()
        self.faults: list[str] = []
        self.seen: tuple[InboxEntry, str | None] | None = None
        here.crm.before, here.crm.after = self._before, self._after

    def _before(self, _call: Call) -> ConnectorError | None:
        if self.faults and self.faults[0] != "lost after":
            return Rejected("HTTP 422") if self.faults.pop(0) == "refused" else OutcomeUnknown("no answer")
        return None

    def _after(self, _call: Call) -> ConnectorError | None:
        if self.faults:
            self.faults.pop(0)
            return OutcomeUnknown("no answer")
        return None

    async def play(self, move: Move) -> None:
        match move:
            case Send(ids):
                made = body(*map(message, sorted(ids)), conversation=self.tenant, correspondents=self.people)
                answer = await self.here.send(made, f"{self.tenant}/ada", self.platform)
                if "Nothing was written" not in answer.return_message.message:  # it is another contact's now
                    self.sent |= set(ids)
            case Fault(kind):
                self.faults.append(kind)
            case Act(kind):
                with contextlib.suppress(DecisionRefused, NotThere):
                    await self._act(kind)
            case Together(moves):
                await asyncio.gather(*map(self.play, moves))
        self.check()

    async def _act(self, kind: str) -> None:
        match kind:
            case "retry":
                async for _ in self.inbox.retry_all(InboxFilter(tenant=self.tenant)):
                    pass
            case "decide":
                await self._looks()
                await self._decides()
            case "link":
                if entry := await self._entry():
                    await self.inbox.link(key_of(entry), "c-2", "Omar Reyes")
            case "look":
                await self._looks()
            case "decide late":
                await self._decides()
            case _:
                await self.work()

    async def _entry(self) -> InboxEntry | None:
        page = await self.inbox.entries(InboxFilter(tenant=self.tenant))
        return page.entries[0] if page.entries else None

    async def _looks(self) -> None:
        """Looks at the inbox, then at the CRM: the activity that has the parked message, if there is one."""
        entry = await self._entry()
        if entry is None or entry.state != "parked":
            self.seen = None
            return
        rows = (await self.inbox.entry(key_of(entry))).rows
        lost = (row for row in rows if row.state == "parked" and not (row.reason or "").startswith("behind"))
        doubt = next(lost, None)
        if doubt is None:  # an operator has decided meanwhile
            self.seen = None
            return
        number = doubt.id.removesuffix(f"-{entry.group_contact_id}")
        activities = self.written(entry.contact_id if entry.group_contact_id else None)
        self.seen = entry, next((id_ for id_, text in activities if f"text {number}\n" in text), None)

    async def _decides(self) -> None:
        """Decide by the operator's last look at the CRM, about the log as it was then."""
        if self.seen is None:
            return
        entry, activity = self.seen
        if activity is None:
            await self.inbox.retry(key_of(entry), not_in_crm=True, fence=entry.fence)
        else:
            await self.inbox.mark_done(key_of(entry), activity, fence=entry.fence)

    async def work(self) -> None:
        await work_off(self.here.runtime)

    async def settle(self, clock: Clock) -> None:
        """Let the CRM recover, and the operator work until nothing is left."""
        self.faults.clear()
        for _ in range(6):
            clock.now += 3_600_000
            await self._act("work")
            for kind in ("decide", "retry"):
                with contextlib.suppress(DecisionRefused, NotThere):
                    await self._act(kind)
            await self._act("work")
        assert await self._entry() is None

    def written(self, contact: str | None = None) -> list[tuple[str, str]]:
        """The activities of this tenant, or of one of its contacts, by id."""
        return [
            (each.id, f"{each.body}\n")
            for each in self.here.crm.activities.values()
            if each.tenant == self.tenant and contact in {None, each.contact_id}
        ]

    def check(self) -> None:
        """What must hold at every moment: one activity (of a group, for each contact), and nothing in it twice."""
        of_contact = Counter(
            each.contact_id for each in self.here.crm.activities.values() if each.tenant == self.tenant
        )
        written = self.written()
        assert len(written) <= 1 or (len(self.people) > 1 and set(of_contact.values()) == {1}), (
            "two activities"
        )
        for _, text in written:
            assert all(text.count(f"text {number}\n") <= 1 for number in IDS), "written twice"

    def check_all(self) -> None:
        self.check()
        texts = "".join(text for _, text in self.written())
        assert all(f"text {number}\n" in texts for number in self.sent), "a message is nowhere"


class Other(Appending):
    """The CRM that only appends, beside the other one."""

    name = "appending"


@pytest.fixture
def stories(database_url: str) -> Iterator[Callable[[list[Move], str, People], None]]:
    """Plays moves, each time for a tenant of its own, in one world."""
    numbers = itertools.count(1)
    clock, crm = Clock(), Crm()
    more: dict[str, Connector] = {"appending": Other(crm)}
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        here = runner.run(
            stack.enter_async_context(
                runtime_fixture(database_url, Plain, crm=crm, settings=TIMES, clock=clock, more=more)
            )
        )

        async def example(moves: list[Move], platform: str, people: People) -> None:
            story = Story(here, platform, f"tenant{next(numbers)}", people)
            for move in moves:
                clock.now += 10
                await story.play(move)
            await story.settle(clock)
            story.check_all()

        yield lambda *given: runner.run(example(*given))
        runner.run(stack.aclose())


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    moves=MOVES,
    platform=st.sampled_from(("memory", "appending")),
    people=st.sampled_from(((MAYA,), (MAYA, OMAR))),
)
def test_honest_decisions_never_double_and_never_lose(
    stories: Callable[[list[Move], str, People], None], moves: list[Move], platform: str, people: People
) -> None:
    stories(moves, platform, people)
