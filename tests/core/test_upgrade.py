"""An upgrade in the middle of a call whose outcome is unknown: what the release before has written is known again.

`released/` holds what that release left behind for some requests: the rows' payloads (as JSON, before they are sealed),
the pins, the text that its calls brought into the CRM, the visible text of each entry, and its idempotency keys. It was
written by the release itself, the last one that composed template 2. Nothing of it was made by today's code.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.compose import Entry
from messagelog.connectors.log import SentBlocks
from messagelog.core import Times
from messagelog.core.delivery.next_step import next_step
from messagelog.core.delivery.prepare import NOTHING_COUNTED
from messagelog.storage import LogRequestWork, transactions
from messagelog.storage.records.journal import LeasePolicy, LogKey, NewRow, RowChange, RowState
from support.memory_crm import Activity, Crm, Finding, Plain, ReadingBack, Upserting
from support.requests import body, message
from support.runtime_fixture import RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from messagelog.storage import Claim

RELEASED = sorted((Path(__file__).parent / "released").glob("*.json"))
TERMS = LeasePolicy("the process that was upgraded", 60_000, 0, 50, journal="")
FAST = Times(answer=0.5, call=5, lease=60)


class Clock:
    """The database's clock, in a test's hands."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@dataclass(frozen=True)
class Left:
    """What the release before left behind for one request."""

    name: str
    pins: str
    log: str
    conversation: str
    shared: bool
    contact: list[str]
    rows: list[dict[str, Any]]
    subject: str
    bodies: list[str]
    visible: list[dict[str, Any]]
    keys: list[str]

    @property
    def group(self) -> str:
        """The contact's id, which stood behind all ids of a group."""
        return self.contact[0] if self.name.startswith("group") else ""

    @property
    def key(self) -> LogKey:
        return LogKey("acme", "memory", self.of_client(self.log), self.shared, self.group)

    def of_client(self, id_: str) -> str:
        return id_.removesuffix(f"-{self.group}") if self.group else id_

    def hash_of(self, here: RuntimeFixture, place: int) -> bytes:
        """The hash of an entry's visible text, as that release kept it."""
        text = self.visible[place]["text"].encode()
        return hashlib.blake2b(text, key=here.context.sealer.entry_key, digest_size=16).digest()


def left(path: Path) -> Left:
    return Left(path.stem, **json.loads(path.read_text("utf-8")))


ALL = [left(path) for path in RELEASED]
TWICE = [each for each in ALL if len(each.rows) > 1]


async def _claimed(here: RuntimeFixture, was: Left, place: int) -> Claim:
    """Journals a row as that release did, up to the moment before its call leaves."""
    row = was.rows[place]
    context = ("messageLogs", *was.key[:2], row["id"])
    sealed = here.context.sealer.seal(row["payload"].encode(), *context)
    contact_id, contact_type, contact_name = was.contact
    work = LogRequestWork(
        key=was.key,
        conversation_id=was.conversation,
        contact_id=contact_id,
        contact_type=contact_type,
        contact_name=contact_name,
        text_settings=was.pins,
        user_id=(await here.user()).id,
        rows=(NewRow(was.of_client(row["id"]), row["sentAt"], row["version"], sealed),),
    )
    acceptance = await here.store.write(
        lambda: transactions.accept_request(work, next_step(takes_batches=False), TERMS), locks=work.locks
    )
    assert acceptance.claim is not None
    assert acceptance.claim.step is not None
    if was.shared:
        blocks = [Entry(was.hash_of(here, at), 0, "", each["id"]) for at, each in enumerate(was.visible)]
        log = acceptance.claim.log
        log.blocks, log.call_before = SentBlocks().with_pending(blocks).packed, NOTHING_COUNTED
        await here.store.write(lambda: transactions.record_intent(log, TERMS), locks=(log.key,))
    return acceptance.claim


async def _logged(here: RuntimeFixture, was: Left) -> None:
    """The first row's create is done and confirmed."""
    claim = await _claimed(here, was, 0)
    _in_the_crm(here, was, 0)
    log = claim.log
    log.third_party_log_id, log.created_by = "a-1", log.call_user
    change = RowChange(
        was.of_client(was.rows[0]["id"]), RowState.LOGGED, None, "a-1", was.hash_of(here, 0), erase=True
    )
    await here.store.write(
        lambda: transactions.save_outcome(log, [change], next_step(takes_batches=False), TERMS),
        locks=(log.key,),
    )


def _in_the_crm(here: RuntimeFixture, was: Left, place: int) -> None:
    """The call has been done, and no process knows."""
    here.crm.activities["a-1"] = Activity(
        "a-1", "acme", was.contact[0], was.subject, was.bodies[place], was.keys[0], {}, "ada"
    )


async def _recovered(here: RuntimeFixture, clock: Clock) -> None:
    for _ in range(3):
        clock.now += 61_000
        await here.runtime.sweep()
        await here.runtime.idle()


@pytest.mark.parametrize("was", ALL, ids=lambda was: was.name)
@pytest.mark.parametrize("connector", [Upserting, Finding, ReadingBack])
@pytest.mark.parametrize("done", [True, False])
async def test_a_create_under_way_during_an_upgrade(
    database_url: str, connector: type[Plain], was: Left, *, done: bool
) -> None:
    clock, crm = Clock(), Crm()
    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as here:
        await _claimed(here, was, 0)
        if done:
            _in_the_crm(here, was, 0)
    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as here:
        await here.user()
        await _recovered(here, clock)
        assert await here.states() == {was.rows[0]["id"]: "logged"}
        assert (crm.only.subject, crm.only.body) == (was.subject, was.bodies[0])
        if connector is not ReadingBack:  # which keeps no keys
            assert crm.only.key == was.keys[0]


class Amending(Plain):
    """A CRM whose activities can be changed and not be read: a lost update is repeated."""


@pytest.mark.parametrize("was", TWICE, ids=lambda was: was.name)
@pytest.mark.parametrize("connector", [ReadingBack, Finding, Amending])
@pytest.mark.parametrize("done", [True, False])
async def test_an_update_under_way_during_an_upgrade(
    database_url: str, connector: type[Plain], was: Left, *, done: bool
) -> None:
    clock, crm = Clock(), Crm()
    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as here:
        await _logged(here, was)
        await _claimed(here, was, 1)
        if done:
            _in_the_crm(here, was, 1)
    async with runtime_fixture(database_url, connector, crm=crm, settings=FAST, clock=clock) as here:
        await here.user()
        await _recovered(here, clock)
        assert set((await here.states()).values()) == {"logged"}
        assert crm.only.body == was.bodies[1]


async def test_an_activity_of_before_keeps_its_wording_and_the_next_one_has_todays(database_url: str) -> None:
    (was,) = (each for each in ALL if each.name == "failed-text")
    clock, crm = Clock(), Crm()
    failed: dict[str, Any] = {
        "direction": "Outbound",
        "from": {"phoneNumber": "+14155550101", "name": "Jordan Lee"},
        "messageStatus": "SendingFailed",
        "deliveryErrorCode": "SMS-UP-413",
    }
    async with runtime_fixture(database_url, ReadingBack, crm=crm, settings=FAST, clock=clock) as here:
        await _logged(here, was)
        day = was.log.partition("/")[2]
        at = was.rows[0]["sentAt"] + 3_600_000
        await here.send(body(message(5, "Hi", at=at, **failed), conversation=was.conversation, day=day))
        assert crm.only.body.endswith("] Jordan Lee\n  Hi\n  Not sent: sending failed")
        assert crm.only.subject == was.subject
        await here.send(body(message(6, "Hi", at=at, **failed), conversation="other", day=day))
        newest = list(crm.activities.values())[-1]
        assert newest.body.endswith("  Hi\n  Not sent: the recipient has opted out of text messages")
        assert newest.subject == "SMS conversation with Maya Patel - 2026-07-15"
