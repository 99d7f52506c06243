"""What a call came to, as changes of the journal. Pure: the whole table of outcomes can be read and tested here.

planned -> calling -> logged | failed | planned (asked to wait) | unknown
unknown -> logged (it is there) | planned (it is not) | parked (nobody can tell) | unknown (ask again later)
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
from messagelog.storage.rows import LogRow, LogState, MessageRow, RowChange, RowState, WaitingChange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RATE_LIMIT_WAIT_MS: Final = 5_000
_RATE_LIMIT_LONGEST_MS: Final = 15 * 60_000
_RATE_LIMIT_TRIES: Final = 5
_REPEATS: Final = 3
"""How often what is known not to be there is tried again before it counts as failed."""
_BLIND_REPEATS: Final = 6
"""How often a call that may be repeated safely is repeated before a person is asked."""
_LONGEST_WAIT_MS: Final = 300_000


class Trouble(enum.StrEnum):
    """Why a row is not logged: the first word of its reason."""

    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    SIGN_IN = "sign_in"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"
    NO_ANSWER = "no_answer"
    TOO_LONG = "too_long"
    DELETED = "deleted"
    NO_LOG_ID = "no_log_id"
    BEHIND = "behind"


class Abilities(msgspec.Struct, frozen=True):
    """What a connector can do about a call whose answer was lost."""

    name: str
    upserts: bool
    finds: bool
    reads_back: bool
    amends: bool
    settle_ms: int
    not_found_means_gone: bool

    @classmethod
    def of(cls, connector: Connector) -> Abilities:
        """The abilities that a connector declares, or shows by the methods it has."""
        return cls(
            name=connector.display_name or connector.name,
            upserts=connector.upserts,
            finds=connector.can("find_message_log"),
            reads_back=connector.can("read_message_log") and connector.log_format is not LogFormat.CUSTOM,
            amends=not connector.append_only and connector.log_format is not LogFormat.CUSTOM,
            settle_ms=int(connector.settle_seconds * 1000),
            not_found_means_gone=connector.not_found_means_gone,
        )


class NoLogId(OutcomeUnknown):
    """A create that answered without an id: there may be an activity that nothing can be added to."""


class Settled(msgspec.Struct, frozen=True):
    """What is to be journalled: the log's new values, its rows' changes, and when to go on (None: at once).

    `anew` says that the activity is gone: all that the waiting requests hold of it is to be planned again.
    """

    log: LogRow
    changes: tuple[RowChange, ...]
    waiting: WaitingChange | None = None
    wait_ms: int | None = None
    anew: bool = False


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


def troubled(
    log: LogRow, rows: Sequence[MessageRow], error: ConnectorError, able: Abilities, *, may_recreate: bool
) -> Settled:
    """The call ended with an error. `may_recreate` allows to make a deleted activity anew (once in a run)."""
    match error:
        case RateLimited():
            return _rate_limited(log, rows, error)
        case BodyFull():
            return _no_room(log, rows, error)
        case NotFound() if log.call == "update" and may_recreate and _is_gone(log, error, able):
            return _gone(log, rows)
        case Rejected():
            # What one message holds was refused: those behind it may pass, unless there is no activity to take them.
            return _failed(log, rows, _reason(Trouble.REJECTED, error), behind=log.call == "create")
        case NotFound() | AuthExpired() | Unavailable():
            trouble = next(trouble for type_, trouble in _TROUBLES if isinstance(error, type_))
            return _failed(log, rows, _reason(trouble, error), behind=True)
        case _:
            return _unknown(log, rows, error, able)


_TROUBLES: Final = (
    (NotFound, Trouble.NOT_FOUND),
    (AuthExpired, Trouble.SIGN_IN),
    (Unavailable, Trouble.UNAVAILABLE),
)


def _is_gone(log: LogRow, error: NotFound, able: Abilities) -> bool:
    """Whether a missing activity was deleted, rather than hidden from a user who did not create it."""
    gone = able.not_found_means_gone if error.gone is None else error.gone
    return gone or (error.gone is None and log.call_user == log.created_by)


class Finding(enum.Enum):
    """What was found out about a call of before."""

    NOT_THERE = enum.auto()
    REPEATABLE = enum.auto()
    NOBODY_KNOWS = enum.auto()


def recovered(log: LogRow, rows: Sequence[MessageRow], finding: Finding) -> Settled:
    """What becomes of a call whose answer was lost, when it is not known to have been done."""
    reason = log.reason or f"{Trouble.NO_ANSWER}: the answer was lost"
    if finding is Finding.NOBODY_KNOWS:
        return _parked(log, rows, reason)
    log = replace(log, asks=0)
    tries = log.tries + 1
    if finding is Finding.NOT_THERE and tries >= _REPEATS:
        return _failed(log, rows, reason, behind=True)
    if finding is Finding.REPEATABLE and tries >= _BLIND_REPEATS:
        return _parked(log, rows, reason)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    # A call that will be repeated is over: what was noted for it must not be taken for the next one's.
    return Settled(replace(log.without_call(), tries=tries), changes)


def undecided(log: LogRow, rows: Sequence[MessageRow], error: ConnectorError) -> Settled:
    """The question itself failed: it is asked again later."""
    if isinstance(error, Paced):  # it was not even asked
        reason = log.reason or f"{Trouble.NO_ANSWER}: the answer was lost"
        held = tuple(RowChange(row.id, RowState.UNKNOWN, reason) for row in rows)
        return Settled(replace(log, reason=reason), held, wait_ms=_held_ms(error))
    reason = log.reason or _reason(Trouble.NO_ANSWER, error)
    changes = tuple(RowChange(row.id, RowState.UNKNOWN, reason) for row in rows)
    after = replace(log, asks=log.asks + 1, reason=reason)
    wait = error.retry_after * 1000 if isinstance(error, RateLimited) and error.retry_after else 0
    return Settled(
        after, changes, wait_ms=max(_backoff_ms(after.asks), int(min(wait, _RATE_LIMIT_LONGEST_MS)))
    )


def _unknown(log: LogRow, rows: Sequence[MessageRow], error: ConnectorError, able: Abilities) -> Settled:
    trouble = Trouble.NO_LOG_ID if isinstance(error, NoLogId) else Trouble.NO_ANSWER
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
    # A call that was repeated in vain is asked about, and so repeated, more slowly each time.
    return Settled(log, changes, wait_ms=wait_ms + (500 * 2**log.tries if log.tries else 0))


def _rate_limited(log: LogRow, rows: Sequence[MessageRow], error: RateLimited) -> Settled:
    if isinstance(error, Paced):
        return _paced(log, rows, error)
    wait_ms = _RATE_LIMIT_WAIT_MS if error.retry_after is None else int(error.retry_after * 1000)
    reason = _reason(Trouble.RATE_LIMITED, error)
    tries = log.tries + 1
    if wait_ms > _RATE_LIMIT_LONGEST_MS or tries >= _RATE_LIMIT_TRIES:
        return _failed(replace(log, tries=0), rows, reason, behind=True)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    return Settled(
        replace(log.without_call(), tries=tries, reason=reason), changes, wait_ms=max(wait_ms, 100)
    )


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


def _backoff_ms(tries: int) -> int:
    return int(min(1000 * 4 ** max(0, tries - 1), _LONGEST_WAIT_MS))


def _reason(trouble: Trouble, error: ConnectorError) -> str:
    detail = f" ({error.detail})" if error.detail else ""
    return f"{trouble}: {error.meaning}{detail}"
