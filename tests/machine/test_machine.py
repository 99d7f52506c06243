"""A state machine: clients, colleagues, tenants, a CRM that fails in every way, people who edit, crashes, restarts.

The model is small and knows nothing of the journal: which texts each conversation's activity must hold in the end,
which notes people wrote, and that there is one living activity for each conversation log.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from messagelog.connectors import (
    AuthExpired,
    ConnectorError,
    Credentials,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.connectors.http import error_for_status
from messagelog.core.admin.inbox import DecisionRefused, Inbox, NotThere
from messagelog.core.operators.accounts import local_operator
from messagelog.storage import LogKey, Sealer, open_store, transactions
from support.crash_campaign import MISHAPS, Campaign, ExternalIds, ReadBackOnly, Search, kill_runtime
from support.crash_points import Crashed, Fuse, Mishap
from support.effort import PROVE, SEED
from support.memory_crm import Activity, Crm, Plain
from support.requests import JORDAN, LATER, MAYA, OMAR, body, message, thread, to_log_request
from support.run_until_idle import run_until_idle
from support.runtime_fixture import SECRET
from support.virtual_clock import FrozenTimeStore, VirtualClock, VirtualTimeLoop

if TYPE_CHECKING:
    from pathlib import Path

    from messagelog.core import Runtime, User
    from support.memory_crm import Call

USERS = ("acme/ada", "acme/grace", "otto/otto")
RECEIVED, OURS, SPOKEN = "received", "ours", "spoken"
DAY, GROUP, THREAD = "day", "group", "thread"
CONTACTS = {"c-1": "Maya Patel", "c-2": "Omar Reyes"}
FAULTS: dict[str, tuple[ConnectorError, bool]] = {
    "unavailable": (Unavailable("no connection"), False),
    "refused": (Rejected("HTTP 422", status=422), False),
    "signed out": (AuthExpired("HTTP 401", status=401), False),
    "slow down": (RateLimited("HTTP 429", retry_after=3), False),
    "error, not done": (OutcomeUnknown("HTTP 500", status=500), False),
    "error, done": (OutcomeUnknown("HTTP 500", status=500), True),
    "lost, not done": (OutcomeUnknown("no answer"), False),
    "lost, done": (OutcomeUnknown("no answer"), True),
    "redirected, not done": (error_for_status(302, reads=False), False),
    "redirected, done": (error_for_status(302, reads=False), True),
    "signed out, done": (error_for_status(401, reads=False), True),
    "forbidden, not done": (error_for_status(403, reads=False), False),
    "forbidden, done": (error_for_status(403, reads=False), True),
}
MISHAP = st.builds(Mishap, st.integers(min_value=1, max_value=40), st.sampled_from((None, *MISHAPS)))


@dataclass
class Expected:
    """What one tenant's conversation must come to: the texts in order, and what people wrote; and whose log it is.

    `facts` is how much the records of messages say by now that they did not say at first, by number: that a text of
    ours was not delivered (1), and that it was not because of an opt-out (2); what a voicemail says (1).
    """

    sent: int = 0
    facts: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    contact: str = "c-1"


class Machine(RuleBasedStateMachine):
    """One example: a journal, a CRM, and whatever happens to them."""

    folder: ClassVar[Path]
    template: ClassVar[Path]
    kind: ClassVar[type[Plain]]
    numbers: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        Machine.numbers += 1
        # Who waits for the claim of a process that died waits in virtual time.
        self.loop = VirtualTimeLoop()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.clock = VirtualClock(self.loop)
        self.path = self.folder / f"{Machine.numbers}.sqlite"
        shutil.copy(self.template, self.path)
        self.crm = Crm(now=self.clock)
        self.crm.search_from = lambda activity: self.clock.now - activity.made_at >= 4_000
        self.expected: dict[tuple[str, str], Expected] = {}
        self.faults: list[str] = []
        self.away = False
        self.refused: set[str] = set()
        self.users: dict[str, User] = {}
        self.notes = 0
        self.runner.run(self._open())

    async def _open(self) -> None:
        with self.loop.frozen_time():
            self.store = FrozenTimeStore(
                await open_store(f"sqlite:///{self.path}", clock=self.clock), self.loop
            )
        self.client = aiohttp.ClientSession()
        self.campaign = Campaign(self.store, self.clock, self.client)
        self._start(Fuse())

    def _start(self, fuse: Fuse) -> None:
        """A process begins its life."""
        self.fuse = fuse
        self.runtime: Runtime = self.campaign.runtime(self.kind(self.crm), fuse)
        self.crm.before, self.crm.after = self._before, self._after

    # ------------------------------------------------------------------------------------- what happens

    @rule(
        user=st.sampled_from(USERS),
        conversation=st.sampled_from((DAY, GROUP, THREAD)),
        more=st.integers(min_value=0, max_value=3),
        faults=st.lists(st.sampled_from(sorted(FAULTS)), max_size=3),
        mishap=st.none() | MISHAP,
        copies=st.integers(min_value=1, max_value=3),
        stale=st.booleans(),
    )
    def send(  # noqa: PLR0917 - Hypothesis names what it draws
        self,
        user: str,
        conversation: str,
        more: int,
        faults: list[str],
        mishap: Mishap | None,
        copies: int,
        *,
        stale: bool,
    ) -> None:
        """A client sends all it has of a conversation, perhaps with new messages, perhaps more than once.

        What it has may be `stale`: records from before there was anything new.
        """
        expected = self._expected(user, conversation)
        expected.sent = max(1, expected.sent + more)
        self.faults = list(faults)
        known = replace(expected, facts={}) if stale else expected
        request = self._request(user, conversation, known)
        self.runner.run(self._sent(user, request, copies, mishap))
        self.faults = []

    @rule(
        user=st.sampled_from(USERS),
        conversation=st.sampled_from((DAY, GROUP)),
        pick=st.integers(min_value=0, max_value=20),
        more=st.integers(min_value=1, max_value=2),
    )
    def a_logged_message_changes(self, user: str, conversation: str, pick: int, more: int) -> None:
        """A text fails, or it is known why; a voicemail is transcribed. The next request brings it."""
        expected = self._expected(user, conversation)
        changing = [number for number in range(expected.sent) if _kind(number) != RECEIVED]
        if changing:
            number = changing[pick % len(changing)]
            known = expected.facts.get(number, 0)
            expected.facts[number] = min(known + more, 1 if _kind(number) == SPOKEN else 2)

    @rule(seconds=st.sampled_from((1, 6, 70, 4000)))
    def wait(self, seconds: int) -> None:
        """Let time pass, and let a process sweep."""
        self.runner.run(self._passed(seconds))
        self.runner.run(self._swept_unless_dead())

    @rule(away=st.booleans())
    def the_crm_goes_away_or_comes_back(self, *, away: bool) -> None:
        """No call arrives from now on, or all do again."""
        self.away = away

    @rule(user=st.sampled_from(USERS))
    def a_sign_in_ends(self, user: str) -> None:
        """Have the CRM refuse the user until they sign in again."""
        self.refused.add(user)

    @rule(user=st.sampled_from(USERS))
    def sign_in(self, user: str) -> None:
        """Sign the user in, so that what has waited for them goes on."""
        self.refused.discard(user)
        self.runner.run(self._signed_in(user))

    @rule(user=st.sampled_from(USERS))
    def give_the_group_to_another_contact(self, user: str) -> None:
        """An operator links a group's log and retries it: from then on the client sends it for that contact."""
        expected = self._expected(user, GROUP)
        other = next(contact for contact in CONTACTS if contact != expected.contact)
        if self.runner.run(self._linked(user.partition("/")[0], expected.contact, other)):
            expected.contact = other

    @rule()
    def restart(self) -> None:
        """The process is killed, and another one begins."""
        self.runner.run(self._restarted())

    @rule(pick=st.integers(min_value=0), above=st.booleans())
    def write_a_note(self, pick: int, *, above: bool) -> None:
        """Write into an activity by hand, as a person does."""
        activity = self._pick(pick)
        if activity is not None:
            self.notes += 1
            note = f"Note {self.notes} by hand."
            activity.body = f"{note}\n\n{activity.body}" if above else f"{activity.body}\n\n{note}"
            self._of(activity).notes.append(note)

    @rule(pick=st.integers(min_value=0))
    def delete(self, pick: int) -> None:
        """Delete an activity, as a person does."""
        activity = self._pick(pick)
        if activity is not None:
            self._of(activity).notes.clear()
            del self.crm.activities[activity.id]

    # ----------------------------------------------------------------------------------- what must hold

    def teardown(self) -> None:
        """In the end everybody sends all once more, with one new message: then the CRM holds just what was sent."""
        if not hasattr(self, "runner"):
            return
        try:
            self.runner.run(self._judged())
        finally:
            self.runner.run(self._closed())
            with self.loop.frozen_time():
                self.runner.close()

    async def _judged(self) -> None:
        self.away = False
        self.refused.clear()
        await self._restarted()
        for user in tuple(self.users):
            await self._signed_in(user)
        for (tenant, conversation), expected in self.expected.items():
            await self._settled()
            expected.sent += 1
            for number in range(expected.sent):
                if _kind(number) == SPOKEN:  # what it says is in the CRM once it is transcribed
                    expected.facts[number] = 1
            user = next(user for user in USERS if user.startswith(tenant))
            await self._submitted(user, self._request(user, conversation, expected))
        await self._settled()
        for (tenant, conversation), expected in self.expected.items():
            mark = _mark(tenant, conversation)
            found = [each for each in self.crm.activities.values() if _is_of(each, mark)]
            assert len(found) == 1, f"{len(found)} activities for {mark}"
            text = found[0].body
            assert found[0].tenant == tenant
            for number in range(1, expected.sent + 1):
                assert text.count(f"{mark} {number:02}.") == 1, f"{mark} {number:02} in:\n{text}"
            if conversation != THREAD:
                told = [how for number, how in expected.facts.items() if _kind(number) == OURS]
                assert text.count("Not delivered") == len(told), f"{expected.facts} in:\n{text}"
                assert text.count("opted out") == told.count(2), f"{expected.facts} in:\n{text}"
            for note in expected.notes:
                assert note in text, f"{note} is gone from:\n{text}"
        rows = await self.store.read(lambda: transactions.list_logs(1000))
        for each in rows:
            assert set(each.counts) == {"logged"}, (each.log.key, each.counts, each.log.reason)

    async def _closed(self) -> None:
        await kill_runtime(self.runtime)
        await self.client.close()
        await self.store.close()

    # --------------------------------------------------------------------------------------------- how

    async def _restarted(self, mishap: Mishap | None = None) -> None:
        await kill_runtime(self.runtime)
        self._start(Fuse(mishap))

    async def _sent(self, user: str, request: dict[str, Any], copies: int, mishap: Mishap | None) -> None:
        await self._restarted(mishap)
        sending = [asyncio.create_task(self._submitted(user, request)) for _ in range(copies)]
        death = asyncio.create_task(self.fuse.died.wait())
        while not self.fuse.dead and not all(task.done() for task in sending):
            left = [task for task in sending if not task.done()]
            await asyncio.wait([*left, death], return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if self.fuse.dead:
            for task in sending:
                task.cancel()
            await asyncio.wait(sending)
            await self._restarted()
        for outcome in await asyncio.gather(*sending, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, MISHAPS):
                raise outcome

    async def _signed_in(self, user: str) -> None:
        connector = self.runtime.connector("memory")
        try:
            credentials = Credentials(api_key=user)
            self.users[user] = await self.runtime.context.users.sign_in(connector, credentials, "")
        except Crashed:
            await self._restarted()
        except MISHAPS:  # the user tries again
            await self._signed_in(user)

    async def _submitted(self, user: str, request: dict[str, Any]) -> None:
        """Send a request of a user who has signed in once, and may have to sign in again by now."""
        if user not in self.users:
            connector = self.runtime.connector("memory")
            credentials = Credentials(api_key=user)
            self.users[user] = await self.runtime.context.users.sign_in(connector, credentials, "")
        await self.runtime.submit(self.users[user], to_log_request(request))

    async def _passed(self, seconds: int) -> None:
        """Puts the time forward. A transaction that is under way has real time, and ends before."""
        while self.loop.waiting.busy:  # noqa: ASYNC110 - a virtual loop announces nothing
            await asyncio.sleep(0)
        self.clock.now += seconds * 1000

    async def _swept_unless_dead(self) -> None:
        """Sweeps. A process whose crash is still to come may meet it here; another one then takes its place."""
        try:
            await self._swept()
        except Crashed:
            await self._restarted()

    async def _swept(self) -> None:
        await self.runtime.sweep()
        await self.runtime.idle()

    async def _settled(self) -> None:
        await run_until_idle(self.runtime, self.store, self.clock, self._swept)

    def _before(self, call: Call) -> ConnectorError | None:
        self.fuse.point(f"crm:{call.kind}:before")
        return self._fault(call, done=False)

    def _after(self, call: Call) -> ConnectorError | None:
        self.fuse.point(f"crm:{call.kind}:after")
        return self._fault(call, done=True)

    def _fault(self, call: Call, *, done: bool) -> ConnectorError | None:
        if not done and self.away:
            return Unavailable("no connection")
        if not done and any(user.endswith(f"/{call.user}") for user in self.refused):
            return AuthExpired("HTTP 401", status=401)
        if not self.faults or call.kind not in {"create", "update"}:
            return None
        error, after = FAULTS[self.faults[0]]
        if after is not done:
            return None
        self.faults.pop(0)
        if isinstance(error, Rejected) and call.log is not None and call.log.changes:
            return None  # a change that is refused has failed, and is not brought again
        # A CRM that refuses what it has under this key leaves nothing to go by: that parks, and has a test of its own.
        return None if isinstance(error, Rejected) and self._has(call) else error

    def _has(self, call: Call) -> bool:
        """Whether the CRM has what a create brings, or only a repeat of it can tell."""
        if call.kind != "create" or call.log is None:
            return False
        key = call.log.idempotency_key
        creates = [each.log.idempotency_key for each in self.crm.calls if each.kind == "create" and each.log]
        repeats = self.kind.upserts and creates.count(key) > 1
        return repeats or any(each.key == key for each in self.crm.activities.values())

    async def _linked(self, tenant: str, contact: str, other: str) -> bool:
        """Whether a group's log may go to another contact, and does; what had failed of it is tried there."""
        inbox = Inbox(self.store, local_operator("grace"), Sealer(SECRET))
        key = LogKey(tenant, "memory", f"{GROUP}/7/13/2026", group_contact_id=contact)
        try:
            await inbox.link(key, other, CONTACTS[other])
        except (NotThere, DecisionRefused):
            return False
        with suppress(DecisionRefused):
            await inbox.retry(key._replace(group_contact_id=other))
        return True

    def _request(self, user: str, conversation: str, expected: Expected) -> dict[str, Any]:
        tenant = user.partition("/")[0]
        mark = _mark(tenant, conversation)
        texts = [f"{mark} {number:02}." for number in range(1, expected.sent + 1)]
        if conversation == THREAD:
            return thread(*texts, id_="thread-1")
        both = (MAYA, OMAR) if conversation == GROUP else (MAYA,)
        messages = [
            _record(number, f"{number}{len(conversation)}", text, expected.facts.get(number, 0))
            for number, text in enumerate(texts)
        ]
        contact = expected.contact
        return body(
            *messages,
            conversation=conversation,
            correspondents=both,
            contact=contact,
            name=CONTACTS[contact],
            submission={"mark": mark},
        )

    def _expected(self, user: str, conversation: str) -> Expected:
        return self.expected.setdefault((user.partition("/")[0], conversation), Expected())

    def _pick(self, pick: int) -> Activity | None:
        activities = list(self.crm.activities.values())
        return activities[pick % len(activities)] if activities else None

    def _of(self, activity: Activity) -> Expected:
        for (tenant, conversation), expected in self.expected.items():
            if _is_of(activity, _mark(tenant, conversation)):
                return expected
        raise AssertionError(f"an activity of nobody:\n{activity.body}")


def _mark(tenant: str, conversation: str) -> str:
    return f"{tenant}'s {conversation} text"


def _is_of(activity: Activity, mark: str) -> bool:
    """Return whether it is this conversation's; a voicemail without a transcript shows it only by its form."""
    return mark in activity.body or activity.fields.get("mark") == mark


def _kind(number: int) -> str:
    """What kind of message has a number."""
    return SPOKEN if number % 4 == 3 else OURS if number % 2 else RECEIVED


def _record(number: int, id_: str, text: str, facts: int) -> dict[str, Any]:
    """What RingCentral says of a message once so much is known of it."""
    at = _time(number)
    changed = {"lastModifiedTime": at + facts * LATER}
    if _kind(number) == SPOKEN:
        status = "Completed" if facts else "InProgress"
        spoken = {"transcript": text if facts else None, "vmTranscriptionStatus": status}
        return message(id_, "Voice message", at=at, type="VoiceMail") | changed | spoken
    if _kind(number) == RECEIVED:
        return message(id_, text, at=at)
    ours = {"from": JORDAN, "to": [MAYA], "direction": "Outbound"}
    said = {"messageStatus": "DeliveryFailed" if facts else "Queued"}
    if facts > 1:
        said["deliveryErrorCode"] = "SMS-CAR-413"
    return message(id_, text, at=at) | ours | changed | said


def _time(number: int) -> int:
    return 1_783_998_000_000 + 60_000 * number


@pytest.mark.timeout(1800 if PROVE else 120)
@pytest.mark.parametrize("part", range(4 if PROVE else 1))
@pytest.mark.parametrize("kind", [ExternalIds, Search, ReadBackOnly], ids=lambda kind: kind.__name__)
def test_whatever_happens_the_crm_holds_each_message_once(
    kind: type[Plain], part: int, tmp_path: Path, sqlite_template: Path
) -> None:
    class Deleting(kind):  # type: ignore[misc, valid-type] # a class of the test's parameter
        not_found_means_gone = True

    class Here(Machine):
        folder = tmp_path
        template = sqlite_template

    Here.kind = Deleting
    if PROVE:  # otherwise it is the same each time
        seed(f"{SEED} {part}")(Here)
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    examples, steps = (300, 40) if PROVE else (12, 12)
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=not PROVE,
            suppress_health_check=checks,
            print_blob=True,
        ),
    )
