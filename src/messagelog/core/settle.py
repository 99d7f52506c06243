"""What a call came to, as changes of the journal. Pure: the whole table of outcomes can be read and tested here.

planned -> calling -> logged | failed | planned (try again later) | waiting (she has to sign in) | unknown
unknown -> logged (it is there) | planned (it is not) | parked (nobody can tell) | unknown (ask again later)

`luck` is a number from 0 up to 1, drawn anew for every outcome: where in its step of the table the next try lies.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from messagelog.compose import LogFormat
from messagelog.connectors import (
    AuthExpired,
    BodyFull,
    Connector,
    ConnectorError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.connectors.errors import Paced
from messagelog.connectors.log import SentBlocks
from messagelog.core import backoff
from messagelog.core.backoff import COUNTED, Retry
from messagelog.storage.rows import LogRow, LogState, MessageRow, RowChange, RowState, WaitingChange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MISTAKES: Final = 3
"""How often a connector may raise an error of its own for the same call: a mistake in a program does not pass."""
_REFUSALS: Final = 3
"""How many calls in a row may be refused before it is not what each of them holds: those behind are not sent then."""


class Trouble(enum.StrEnum):
    """Why a row is not logged: the first word of its reason."""

    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    SIGN_IN = "sign_in"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"
    NO_ANSWER = "no_answer"
    MISTAKE = "mistake"
    TOO_LONG = "too_long"
    DELETED = "deleted"
    NO_LOG_ID = "no_log_id"
    BEHIND = "behind"


_WORDS: Final = frozenset(Trouble)
_LOST: Final = f"{Trouble.NO_ANSWER}: the answer was lost"


class Abilities(msgspec.Struct, frozen=True):
    """What a connector can do about a call whose answer was lost."""

    name: str
    upserts: bool
    finds: bool
    reads_back: bool
    amends: bool
    settle_ms: int
    not_found_means_gone: bool
    in_runs: bool
    """Whether several updates are journalled as one step: where each of them can be found out about, and no limit makes
    their CRM slower than the journal is."""

    @classmethod
    def of(cls, connector: Connector) -> Abilities:
        """The abilities that a connector declares, or shows by the methods it has."""
        known_by_text = connector.log_format is not LogFormat.CUSTOM
        reads_back = connector.can("read_message_log") and known_by_text
        amends = not connector.append_only and known_by_text
        return cls(
            name=connector.display_name or connector.name,
            upserts=connector.upserts,
            finds=connector.can("find_message_log"),
            reads_back=reads_back,
            amends=amends,
            settle_ms=int(connector.settle_seconds * 1000),
            not_found_means_gone=connector.not_found_means_gone,
            in_runs=(reads_back or amends) and not connector.takes_batches and not connector.rate_limits,
        )


class ConnectorBroke(OutcomeUnknown):
    """The connector raised an error of its own in the middle of a call."""

    meaning = "The connector failed."


class NotPrepared(Rejected):
    """A call could not be prepared, because of an error of the connector's own or of ours: nothing was sent."""

    meaning = "The connector failed."


class NoLogId(OutcomeUnknown):
    """A create that answered without an id: there may be an activity that nothing can be added to."""


class Settled(msgspec.Struct, frozen=True):
    """What is to be journalled: the log's new values, its rows' changes, and when to go on (None: at once).

    `anew` says that the activity is gone: all that the waiting requests hold of it is to be planned again.
    `signed_out` says that the CRM refused the credentials of the user who was called for. `error` is what the call
    ended with.
    """

    log: LogRow
    changes: tuple[RowChange, ...]
    waiting: WaitingChange | None = None
    wait_ms: int | None = None
    anew: bool = False
    signed_out: bool = False
    error: ConnectorError | None = None


def succeeded(  # noqa: PLR0917 - all that a call brings about
    log: LogRow,
    rows: Sequence[MessageRow],
    third_party_log_id: str,
    hashes: Mapping[str, bytes],
    version: int,
    body_size: int = 0,
    *,
    has_more: bool = False,
) -> Settled:
    """The CRM has it. The text is erased; `hashes` are the entries' by row id, `body_size` what stands there now.

    With `has_more` a shared thread fills the activity, and goes on in another one.
    """
    after = replace(
        log,
        third_party_log_id=third_party_log_id,
        created_by=log.created_by if log.call == "update" else log.call_user,
        version=max(log.version, version),
        blocks=SentBlocks(bytes(log.blocks)).confirmed().packed if log.shared else b"",
        reason=None,
        tries=0,
        asks=0,
        refusals=0,
        body_size=body_size,
    )
    if has_more:
        again = tuple(RowChange(row.id, RowState.PLANNED, None, third_party_log_id) for row in rows)
        return Settled(replace(_full(after, third_party_log_id), version=log.version), again)
    changes = tuple(
        RowChange(row.id, RowState.LOGGED, None, third_party_log_id, hashes.get(row.id), erase=True)
        for row in rows
    )
    return Settled(after, changes)


def troubled(  # noqa: PLR0911 - one for each type of error
    log: LogRow,
    rows: Sequence[MessageRow],
    error: ConnectorError,
    able: Abilities,
    *,
    may_recreate: bool,
    luck: float,
    retry: Retry = COUNTED,
) -> Settled:
    """The call ended with an error. `may_recreate` allows to make a deleted activity anew (once in a run)."""
    match error:
        case Paced():
            return _paced(log, rows, error)
        case RateLimited():
            answered = replace(retry, probe_ms=None)
            return _later(log, rows, Trouble.RATE_LIMITED, error, luck, answered, error.retry_after)
        case Unavailable():
            return _later(log, rows, Trouble.UNAVAILABLE, error, luck, retry)
        case AuthExpired():
            return _waiting(log, rows, error)
        case BodyFull():
            return _no_room(log, rows, error)
        case NotFound() if log.call == "update" and may_recreate and _is_gone(log, error, able):
            return _gone(log, rows)
        case Rejected():
            return _refused(log, rows, error)
        case NotFound():
            return _failed(log, rows, _reason(Trouble.NOT_FOUND, error), behind=True)
        case _:
            return _unknown(log, rows, error, able, luck, retry)


def followed(before: Settled, after: Settled) -> Settled:
    """What two calls of one step came to, one after the other.

    What the first had brought into an activity that the second found gone is planned again.
    """
    changes = before.changes
    if after.anew:
        changes = tuple(RowChange(change.id, RowState.PLANNED) for change in changes)
    return replace(after, changes=changes + after.changes)


def found_in_part(settled: Settled, missing: Sequence[MessageRow]) -> Settled:
    """Of a step whose answers were lost some rows are there: the others were not sent, or are sent again."""
    changes = tuple(RowChange(row.id, RowState.PLANNED, _LOST) for row in missing)
    return replace(settled, changes=settled.changes + changes)


def _is_gone(log: LogRow, error: NotFound, able: Abilities) -> bool:
    """Whether a missing activity was deleted, rather than hidden from a user who did not create it."""
    gone = able.not_found_means_gone if error.gone is None else error.gone
    return gone or (error.gone is None and log.call_user == log.created_by)


class Finding(enum.Enum):
    """What was found out about a call of before."""

    NOT_THERE = enum.auto()
    REPEATABLE = enum.auto()
    NOBODY_KNOWS = enum.auto()


def recovered(log: LogRow, rows: Sequence[MessageRow], finding: Finding, retry: Retry = COUNTED) -> Settled:
    """What becomes of a call whose answer was lost, when it is not known to have been done."""
    reason = log.reason or _LOST
    if finding is Finding.NOBODY_KNOWS:
        return _parked(log, rows, reason)
    log = replace(log, asks=0)
    broke = trouble_of(reason) is Trouble.MISTAKE
    tries = log.tries + (retry.counts or broke)
    if tries >= (_MISTAKES if broke else len(backoff.STEPS)):
        if finding is Finding.REPEATABLE:
            return _parked(log, rows, reason)
        return _failed(log, rows, reason, behind=not broke)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    # A call that will be repeated is over: what was noted for it must not be taken for the next one's.
    return Settled(replace(log.without_call(), tries=tries), changes)


def undecided(
    log: LogRow,
    rows: Sequence[MessageRow],
    error: ConnectorError,
    *,
    luck: float,
    retry: Retry = COUNTED,
) -> Settled:
    """The question itself failed: it is asked again later, for ever; where she has to sign in, when she has."""
    asks = max(1, log.asks)  # the CRM's search has had its time: from now on it may be asked at any time
    if isinstance(error, Paced):  # it was not even asked
        reason = log.reason or _LOST
        held = tuple(RowChange(row.id, RowState.UNKNOWN, reason) for row in rows)
        return Settled(replace(log, reason=reason, asks=asks), held, wait_ms=_held_ms(error))
    reason = log.reason or _reason(Trouble.NO_ANSWER, error)
    signed_out = isinstance(error, AuthExpired)
    told = _reason(Trouble.SIGN_IN, error) if signed_out else reason
    changes = tuple(RowChange(row.id, RowState.UNKNOWN, told) for row in rows)
    retry_after, away = None, retry.probe_ms
    if isinstance(error, RateLimited):  # it is there
        retry_after, away = error.retry_after, None
    after = replace(log, asks=log.asks + 1 if away is None and not retry.early else asks, reason=reason)
    wait_ms = backoff.for_ever(after.asks, luck, retry_after=retry_after) if away is None else away
    return Settled(after, changes, wait_ms=wait_ms, signed_out=signed_out)


def _unknown(  # noqa: PLR0917 - what is journalled, and when to go on
    log: LogRow,
    rows: Sequence[MessageRow],
    error: ConnectorError,
    able: Abilities,
    luck: float,
    retry: Retry,
) -> Settled:
    trouble = next((each for type_, each in _UNKNOWN if isinstance(error, type_)), Trouble.NO_ANSWER)
    reason = _reason(trouble, error)
    log = replace(log, reason=reason)
    creating = log.call == "create"
    if not ((able.finds or able.upserts) if creating else (able.reads_back or able.amends)):
        return _parked(log, rows, reason)
    changes = tuple(RowChange(row.id, RowState.UNKNOWN, reason) for row in rows)
    # An answer with a status says that the CRM is done with the call; without one it may still be at work.
    at_work = error.status is None and not isinstance(error, NoLogId)
    searched = creating and able.finds
    wait_ms = able.settle_ms if at_work or searched else 0
    if retry.probe_ms is not None and trouble is not Trouble.MISTAKE:
        return Settled(log, changes, wait_ms=max(wait_ms, retry.probe_ms))
    # A call that was repeated in vain is asked about, and so repeated, more slowly each time.
    return Settled(log, changes, wait_ms=wait_ms + (backoff.for_ever(log.tries, luck) if log.tries else 0))


_UNKNOWN: Final = ((NoLogId, Trouble.NO_LOG_ID), (ConnectorBroke, Trouble.MISTAKE))


def _later(  # noqa: PLR0917 - what is journalled, and when to go on
    log: LogRow,
    rows: Sequence[MessageRow],
    trouble: Trouble,
    error: ConnectorError,
    luck: float,
    retry: Retry,
    retry_after: float | None = None,
) -> Settled:
    """Nothing was done and nobody is to blame: the same again later, until the table ends."""
    reason = _reason(trouble, error)
    after = replace(log.without_call(), tries=log.tries + retry.counts, reason=reason)
    wait_ms = retry.probe_ms
    if wait_ms is None:
        wait_ms = backoff.after(after.tries, luck, retry_after=retry_after)
    if wait_ms is None:
        return _failed(log, rows, reason, behind=True)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    return Settled(after, changes, wait_ms=wait_ms)


def _waiting(log: LogRow, rows: Sequence[MessageRow], error: AuthExpired) -> Settled:
    """The user has to sign in again: what is hers waits for that, and what is her colleagues' goes on."""
    reason = _reason(Trouble.SIGN_IN, error)
    changes = tuple(RowChange(row.id, RowState.WAITING, reason) for row in rows)
    waiting = WaitingChange(log.call_user or rows[0].user_id, RowState.WAITING, reason)
    return Settled(log.without_call(), changes, waiting, signed_out=True)


def _refused(log: LogRow, rows: Sequence[MessageRow], error: Rejected) -> Settled:
    """What one message holds was refused, so those behind it pass, unless it is the same with each of them.

    Of several in one call nobody knows which: they are sent again one by one (`next_step` sees the refusal).
    """
    refusals = log.refusals + 1
    reason = _reason(Trouble.MISTAKE if isinstance(error, NotPrepared) else Trouble.REJECTED, error)
    if refusals >= _REFUSALS:
        return _failed(replace(log, refusals=0), rows, reason, behind=True)
    log = replace(log, refusals=refusals)
    if len(rows) == 1:
        return _failed(log, rows, reason, behind=False)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    return Settled(replace(log.without_call(), reason=reason), changes)


def _paced(log: LogRow, rows: Sequence[MessageRow], error: Paced) -> Settled:
    """Held back by ourselves: nothing was sent, so it is no try. It waits until it makes sense."""
    reason = _reason(Trouble.UNAVAILABLE if error.down else Trouble.RATE_LIMITED, error)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    return Settled(replace(log.without_call(), reason=reason), changes, wait_ms=_held_ms(error))


def _held_ms(error: Paced) -> int:
    return max(int((error.retry_after or 0) * 1000), 100)


def _no_room(log: LogRow, rows: Sequence[MessageRow], error: BodyFull) -> Settled:
    if log.third_party_log_id is None:  # not even in an activity of its own
        return _failed(log, rows, _reason(Trouble.TOO_LONG, error), behind=False)
    changes = tuple(RowChange(row.id, RowState.PLANNED) for row in rows)
    return Settled(_full(log, log.third_party_log_id), changes)


def _full(log: LogRow, third_party_log_id: str) -> LogRow:
    """The log, to go on in another activity: this one has no room, and is left alone from now on."""
    earlier = [*earlier_activities(log), third_party_log_id]
    return replace(
        log.without_call(),
        third_party_log_id=None,
        created_by=None,
        generation=log.generation + 1,
        blocks=SentBlocks(bytes(log.blocks)).closed().packed if log.shared else b"",
        body_size=0,
        earlier=msgspec.json.encode(earlier).decode(),
        tries=0,
    )


def earlier_activities(log: LogRow) -> list[str]:
    """The activities that are full, which the log's present one goes on from."""
    return [] if log.earlier is None else msgspec.json.decode(log.earlier, type=list[str])


def _gone(log: LogRow, rows: Sequence[MessageRow]) -> Settled:
    after = replace(
        log,
        third_party_log_id=None,
        created_by=None,
        generation=log.generation + 1,
        version=0,
        blocks=SentBlocks(bytes(log.blocks)).only_closed().packed if log.shared else b"",
        body_size=0,
        tries=0,
    )
    return Settled(after, tuple(RowChange(row.id, RowState.PLANNED) for row in rows), anew=True)


def _failed(log: LogRow, rows: Sequence[MessageRow], reason: str, *, behind: bool) -> Settled:
    changes = tuple(RowChange(row.id, RowState.FAILED, reason) for row in rows)
    waiting = None
    if behind and log.call_user is not None:
        text = f"{Trouble.BEHIND}: one before it was not logged ({reason})"
        waiting = WaitingChange(log.call_user, RowState.FAILED, text)
    return Settled(replace(log, reason=reason, tries=0), changes, waiting)


def _parked(log: LogRow, rows: Sequence[MessageRow], reason: str) -> Settled:
    changes = tuple(RowChange(row.id, RowState.PARKED, reason) for row in rows)
    waiting = WaitingChange(None, RowState.PARKED, f"{Trouble.BEHIND}: one before it is parked ({reason})")
    return Settled(replace(log, state=LogState.PARKED, reason=reason), changes, waiting)


def trouble_of(reason: str | None) -> Trouble | None:
    """The first word of a reason of ours."""
    word = (reason or "").partition(":")[0]
    return Trouble(word) if word in _WORDS else None


def first_reason(reason: str) -> str:
    """The reason itself; of what was held back by another, the other's."""
    if reason.startswith(f"{Trouble.BEHIND}:") and reason.endswith(")"):
        return reason.partition("(")[2].removesuffix(")")
    return reason


def _reason(trouble: Trouble, error: ConnectorError) -> str:
    detail = f" ({error.detail})" if error.detail else ""
    return f"{trouble}: {error.meaning}{detail}"
