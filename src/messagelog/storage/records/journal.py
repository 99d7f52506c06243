"""The journal: conversation logs, their rows, and what a request, a claim and an outcome are made of."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from messagelog.errors import MessagelogError

_CHANGE: Final = "\x1f"
"""Stands between a message's id and the number of its change. A client's id never has a control character."""


def change_id(message_id: str, number: int) -> str:
    """Return the id of the row for a message's change: `number` counts the changes of this message from 1."""
    return f"{message_id}{_CHANGE}{number}"


def message_id_of(row_id: str) -> str:
    """Return the id of the message that a row is about; a change's row has another id than its message's."""
    return row_id.partition(_CHANGE)[0]


def is_change(row_id: str) -> bool:
    """Return whether this is the id of a change's row."""
    return _CHANGE in row_id


class LogKey(NamedTuple):
    """The key of a conversation log: the owner of the CRM data, the CRM, and the client's id.

    A shared thread, a conversation and a group may have the same id, and are three logs. A group has a log for each
    contact; `group_contact_id` is empty if it is no group.
    """

    tenant: str
    platform: str
    client_log_id: str
    shared: bool = False
    group_contact_id: str = ""

    @property
    def kind(self) -> LogKind:
        """What it is a log of."""
        if self.shared:
            return LogKind.THREAD
        return LogKind.GROUP if self.group_contact_id else LogKind.CONVERSATION

    @property
    def conversation_log_id(self) -> str:
        """The id that people see, which is the reference's."""
        return self.display_id(self.client_log_id)

    def display_id(self, id_: str) -> str:
        """Return an id of this log or of one of its messages as people see it: in a group, with the contact behind it.

        A change is shown as the message that it is about.
        """
        id_ = message_id_of(id_)
        return f"{id_}-{self.group_contact_id}" if self.group_contact_id else id_

    def row(self, id_: str) -> tuple[str | bool, ...]:
        """Return the key of one of its rows, to be locked by."""
        return (self.tenant, self.platform, id_, self.shared, self.group_contact_id)


class LogKind(enum.StrEnum):
    """What a conversation log is a log of. Two of different kinds never meet, whatever their ids are."""

    CONVERSATION = "conversation"
    GROUP = "group"
    THREAD = "thread"


class RowState(enum.StrEnum):
    """The state of one `messageLogs` row."""

    PLANNED = "planned"  # accepted, waiting for its call -> calling
    WAITING = "waiting"  # accepted, waiting for its user to sign in again -> planned
    CALLING = "calling"  # the call may be under way -> logged, failed, planned, waiting or unknown
    UNKNOWN = "unknown"  # the call ended without a trustworthy answer -> logged, planned or parked
    LOGGED = "logged"  # the CRM has it
    FAILED = "failed"  # known not done; it is planned when it is sent again -> planned
    PARKED = "parked"  # only a person can find out whether the CRM has it


class LogState(enum.StrEnum):
    """Whether the core may work on a conversation log."""

    OPEN = "open"
    PARKED = "parked"  # an unknown outcome that nothing can resolve: no call until a person decides


class LogRow(msgspec.Struct):
    """One conversation log: one activity in the CRM, or the intention to have one.

    `due_at` is when the log may be claimed: None if nothing is to be done, the end of the lease while it is claimed,
    the time of the next retry while it waits. `fence` is the fencing token, which grows with every claim.
    `attempt_count` counts the calls that have failed since the last good one, and the leases that ran out during one;
    `probe_count` how often the CRM was asked in vain about the present one, `rejection_count` the calls in a row that
    were refused for their content, or at which a program failed. `body_size` is what was written into an append-only
    activity, as its CRM counts; `earlier` the ids (a JSON list) of the full activities that this one follows.
    `journal` is the id of the journal that its external ids carry; empty if the log is older than these ids.
    """

    key: LogKey
    conversation_id: str
    contact_id: str
    contact_type: str
    contact_name: str
    text_settings: str
    state: LogState = LogState.OPEN
    reason: str | None = None
    third_party_log_id: str | None = None
    generation: int = 1
    created_by: str | None = None
    version: int = 0
    blocks: bytes = b""
    owner: str | None = None
    fence: int = 0
    due_at: int | None = None
    call: str | None = None
    call_user: str | None = None
    call_version: int = 0
    call_before: str | None = None
    attempt_count: int = 0
    probe_count: int = 0
    body_size: int = 0
    earlier: str | None = None
    rejection_count: int = 0
    created_at: int = 0
    updated_at: int = 0
    journal: str = ""

    @property
    def shared(self) -> bool:
        """Whether it is a thread of a shared inbox."""
        return self.key.shared

    def without_call(self) -> LogRow:
        """Return the log without a call under way."""
        return replace(self, call=None, call_user=None, call_version=0, call_before=None, probe_count=0)


class Facts(msgspec.Struct, frozen=True):
    """What a message's record says that may change later: why it did not arrive, and its transcript.

    `told` is None if it says neither; else the kinds of fact and a keyed hash, as `failed:1f0a…` or
    `transcript:9c…`. `at` is when the record was last modified (epoch ms), 0 where that is unknown.
    """

    told: str | None = None
    at: int = 0

    def advance(self, known: Facts) -> bool:
        """Return whether these facts are newer than the known ones, and not the same.

        Of two records of the same time the later one is that which says more. A transcript is never removed.
        """
        if self.told == known.told or self.at < known.at or known.kinds - self.kinds >= {"transcript"}:
            return False
        return self.at > known.at or self.kinds > known.kinds

    @property
    def kinds(self) -> frozenset[str]:
        """`failed` and `transcript`, if there is such a fact."""
        return frozenset() if self.told is None else frozenset(self.told.partition(":")[0].split("+"))


NO_FACTS = Facts()


class NewRow(msgspec.Struct, frozen=True):
    """A message (or the snapshot of a shared thread) that a request wants logged; `payload` is sealed.

    `id` is the message's own, as in all records: `LogKey.display_id` gives the one that people see.
    """

    id: str
    sent_at: int
    version: int
    payload: bytes
    facts: Facts = NO_FACTS


class MessageRow(msgspec.Struct, frozen=True):
    """One `messageLogs` row: a message and the activity that holds it; or a change of a message.

    `facts` and `facts_at` are what was last known of the message's facts, None if it was logged before they were kept;
    `changes` is how often they have changed. The number of a change is its `version`.
    """

    id: str
    conversation_id: str
    client_log_id: str
    third_party_log_id: str | None
    user_id: str
    state: RowState
    reason: str | None
    sent_at: int
    version: int
    entry_hash: bytes | None
    created_at: int
    updated_at: int
    payload: bytes | None
    facts: str | None = None
    facts_at: int | None = None
    changes: int = 0

    @property
    def known_facts(self) -> Facts:
        """What the journal knows of the message's facts: nothing if it was logged before they were kept."""
        return Facts(self.facts, self.facts_at or 0)

    @property
    def is_change(self) -> bool:
        """Whether it is a change of a message rather than the message."""
        return is_change(self.id)


class RowChange(msgspec.Struct, frozen=True):
    """The new state of a row. `erase` drops the sealed text, which is needed no more.

    `entry_hash` is the keyed hash of the entry's text in the activity, known once the row is logged.
    """

    id: str
    state: RowState
    reason: str | None = None
    third_party_log_id: str | None = None
    entry_hash: bytes | None = None
    erase: bool = False


class Attempt(msgspec.Struct, frozen=True):
    """A failed call: which one, the type of its error, and the CRM's answer, sealed.

    `reason` is the first word of its rows' reason. `fence` is the fencing token of the claim that made the call, and
    `at` when it was recorded (epoch ms); both are known once it is in the journal.
    """

    call: str
    error: str
    status: int | None = None
    reason: str | None = None
    body: bytes | None = None
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    fence: int = 0
    at: int = 0


class WaitingChange(msgspec.Struct, frozen=True):
    """The new state of all rows of a conversation log that are still planned: a user's, or all (None)."""

    user_id: str | None
    state: RowState
    reason: str


class SignInPause(msgspec.Struct, frozen=True):
    """The CRM has refused a user's credentials, which are `refused`, sealed; None if the user had none.

    Unless the user has others by now, their work waits until they sign in again.
    """

    user_id: str
    refused: bytes | None


class Step(msgspec.Struct, frozen=True):
    """The next call to a CRM: these rows, in this order, in this user's session."""

    call: str  # "create" | "update" | "change"
    user_id: str
    rows: tuple[MessageRow, ...]
    version: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the step's rows."""
        return tuple(row.id for row in self.rows)


Planner = Callable[[LogRow, Sequence[MessageRow]], "Step | None"]
"""Decides the next step from a conversation log and its waiting rows, oldest first. Pure."""


class LogRequestWork(msgspec.Struct, frozen=True):
    """What one request wants logged in one conversation log."""

    key: LogKey
    conversation_id: str
    contact_id: str
    contact_type: str
    contact_name: str
    text_settings: str
    user_id: str
    rows: tuple[NewRow, ...]

    @property
    def locks(self) -> tuple[tuple[str | bool, ...], ...]:
        """What accepting it locks: the conversation log, and each of its rows."""
        return (self.key, *(self.key.row(row.id) for row in self.rows))


class LeasePolicy(msgspec.Struct, frozen=True):
    """How claims are made: who claims, for how long, how many rows a step may need.

    `lease_ms` outlasts any call; `settle_ms` is how long a CRM may need until its search shows what it has. `journal`
    is the id of the journal, which new logs keep.
    """

    owner: str
    lease_ms: int
    settle_ms: int
    batch: int
    journal: str


class Claim(msgspec.Struct):
    """The right to work on a conversation log until its lease ends.

    `step` is recorded as being called. `reconcile` says that an earlier call has an unknown outcome: `rows` are its
    rows, and `colleague` is another user who has brought something to this log. An `early` claim was made before the
    next retry was due, for a request that waits.
    """

    log: LogRow
    step: Step | None
    reconcile: bool = False
    rows: tuple[MessageRow, ...] = ()
    early: bool = False
    colleague: str | None = None

    @property
    def key(self) -> LogKey:
        """The conversation log that is claimed."""
        return self.log.key


class ClaimLost(MessagelogError):
    """The lease ran out and the conversation log was claimed again: the outcome must not be written."""


Window = tuple[str, int, int]
"""A conversation's id, and from when until when (epoch ms) its logs are looked for."""


class DayLog(msgspec.Struct, frozen=True):
    """Another log of a conversation, and when the first and the last of its messages were sent."""

    client_log_id: str
    contact_id: str
    contact_name: str
    version: int
    state: LogState
    linked: bool
    first_at: int
    last_at: int


class JournalLookup(msgspec.Struct, frozen=True):
    """What the journal knows of a request: the ids that are not logged, and the conversation log if there is one.

    If there is none, `days` are the other logs of the conversation with messages of about the same time. `facts` are
    those of the logged messages that may have changed.
    """

    unlogged: frozenset[str]
    contact_id: str | None = None
    contact_name: str | None = None
    version: int | None = None
    state: LogState = LogState.OPEN
    linked: bool = False
    days: tuple[DayLog, ...] = ()
    facts: tuple[KnownFacts, ...] = ()


class KnownFacts(msgspec.Struct, frozen=True):
    """What the journal knows of a logged message's facts, and in which conversation log it is."""

    id: str
    client_log_id: str
    facts: Facts


class AcceptResult(msgspec.Struct, frozen=True):
    """The result of accepting a request.

    `held_by` (id, name) is set if the conversation log belongs to another contact: nothing was written then.
    `due_ms` is how long the log waits for its next retry, if it is not claimed. `twins` are the ids that the same
    contact's other kind of log has: they are left out. `changes` are the ids of the rows that were made for changes of
    messages.
    """

    claim: Claim | None = None
    held_by: tuple[str, str] | None = None
    due_ms: int | None = None
    twins: frozenset[str] = frozenset()
    changes: tuple[str, ...] = ()


class RowStatus(msgspec.Struct, frozen=True):
    """The state of a row as a waiter needs it; `version` is the newest snapshot of a shared thread in the CRM.

    `wait_ms` is how long it waits for its next retry, None if it is claimed, or may be at once.
    """

    id: str
    state: RowState
    reason: str | None
    version: int
    wait_ms: int | None = None


class ActivityLink(msgspec.Struct, frozen=True):
    """A logged message, the activity that holds it, and the contact that it is logged for.

    `group_contact_id` is empty if it is no group's.
    """

    message_id: str
    group_contact_id: str
    third_party_log_id: str
    contact_id: str


class OpenCount(msgspec.Struct, frozen=True):
    """How many messages of a platform have met an error, are not logged, and are in this state.

    `oldest_ms` is how long ago the oldest of them was accepted.
    """

    platform: str
    state: str
    messages: int
    oldest_ms: int


class LogSummary(msgspec.Struct, frozen=True):
    """A conversation log with the number of its rows in each state, for lists."""

    log: LogRow
    counts: dict[str, int] = msgspec.field(default_factory=dict)


class RowKey(NamedTuple):
    """A message in the whole journal: its id, its conversation log, and its user."""

    id: str
    log: LogKey
    user_id: str = ""


class ErasedInLog(msgspec.Struct, frozen=True):
    """How many messages of a conversation log were dropped, were parked without text, or lost the name of their user.

    `pending` is 1 when a call brings some of them at this moment.
    """

    dropped: int = 0
    parked: int = 0
    unlinked: int = 0
    under_way: int = 0
