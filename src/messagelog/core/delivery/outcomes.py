"""The outcomes of calls, as changes of the journal. Pure: the whole table of outcomes can be read and tested here.

planned -> calling -> logged | failed | planned (retry later) | waiting (the user has to sign in) | unknown
unknown -> logged (it is there) | planned (it is not) | parked (a person has to decide) | unknown (ask again later)

`jitter` is a number from 0 up to 1, drawn for every outcome: the random part of the next wait.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from messagelog.connectors import (
    AuthExpired,
    BodyFull,
    ConnectorError,
    NotFound,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.connectors.errors import SignInRenewed, Throttled
from messagelog.connectors.log import SentBlocks
from messagelog.core.delivery import backoff
from messagelog.core.delivery.backoff import COUNTED, Retry
from messagelog.core.delivery.faults import Interrupted, ServerFault
from messagelog.core.errors import ConnectorBroke, NoLogId, NotPrepared
from messagelog.storage.records.journal import (
    LogRow,
    LogState,
    MessageRow,
    RowChange,
    RowState,
    WaitingChange,
    message_id_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from messagelog.core.delivery.capabilities import Capabilities

_MISTAKES: Final = 3
"""How often a connector, or this server, may fail at the same call: a mistake in a program does not pass by itself."""
_FORBIDDEN: Final = 403
_REFUSALS: Final = 3
"""After how many refused calls in a row the cause is not in each message: then those behind are not sent."""


class FailureReason(enum.StrEnum):
    """Why a row is not logged: the first word of its reason."""

    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    SIGN_IN = "sign_in"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"
    NO_ANSWER = "no_answer"
    MISTAKE = "mistake"
    INTERRUPTED = "interrupted"
    FAULT = "fault"
    TOO_LONG = "too_long"
    DELETED = "deleted"
    NO_LOG_ID = "no_log_id"
    BEHIND = "behind"


_WORDS: Final = frozenset(FailureReason)
_MAY_BE_DONE: Final = frozenset({RowState.LOGGED, RowState.UNKNOWN, RowState.PARKED})
LOST_ANSWER: Final = f"{FailureReason.NO_ANSWER}: the answer was lost"


class Outcome(msgspec.Struct, frozen=True):
    """What is to be journalled: the log's new values, its rows' changes, and when to go on (None: at once).

    `recreate`: the activity is gone, and all that the waiting requests hold of it is to be planned again.
    `signed_out`: the CRM refused the credentials of the user for whom it was called. `error` is the one that ended the
    call. `entry` is a message's id, and the hash of the entry that a change has put in its place. `unsaid` are the ids
    of messages whose change needed no call.
    """

    log: LogRow
    changes: tuple[RowChange, ...]
    waiting: WaitingChange | None = None
    wait_ms: int | None = None
    recreate: bool = False
    signed_out: bool = False
    error: ConnectorError | None = None
    entry: tuple[str, bytes] | None = None
    unsaid: tuple[str, ...] = ()


def on_change_written(
    log: LogRow,
    row: MessageRow,
    activity: str,
    *,
    entry_hash: bytes | None,
    line_hash: bytes | None,
    body_size: int,
) -> Outcome:
    """Return the outcome of a change that is in the CRM: as the message's entry, or as a line of its own."""
    change = RowChange(row.id, RowState.LOGGED, None, activity, line_hash, erase=True)
    after = replace(log, reason=None, attempt_count=0, probe_count=0, body_size=body_size)
    entry = None if entry_hash is None else (message_id_of(row.id), entry_hash)
    return Outcome(after, (change,), entry=entry)


def on_nothing_to_change(log: LogRow, rows: Sequence[MessageRow]) -> Outcome:
    """Return the outcome of a change that has no place in the CRM, or needs none: it is done, in no activity."""
    changes = tuple(RowChange(row.id, RowState.LOGGED, erase=True) for row in rows)
    unsaid = tuple(message_id_of(row.id) for row in rows)
    return Outcome(replace(log, reason=None, attempt_count=0, probe_count=0), changes, unsaid=unsaid)


def on_success(  # noqa: PLR0917 - all that a call brings about
    log: LogRow,
    rows: Sequence[MessageRow],
    third_party_log_id: str,
    hashes: Mapping[str, bytes],
    version: int,
    body_size: int = 0,
    *,
    has_more: bool = False,
) -> Outcome:
    """Return the outcome of a call that was done: the text is erased.

    `hashes` are the entries' by row id, `body_size` is the activity's size now. With `has_more` a shared thread fills
    the activity, and goes on in another one.
    """
    after = replace(
        log,
        third_party_log_id=third_party_log_id,
        created_by=log.created_by if log.call == "update" else log.call_user,
        version=max(log.version, version),
        blocks=SentBlocks(bytes(log.blocks)).with_confirmed().packed if log.shared else b"",
        reason=None,
        attempt_count=0,
        probe_count=0,
        rejection_count=0,
        body_size=body_size,
    )
    if has_more:
        again = tuple(RowChange(row.id, RowState.PLANNED, None, third_party_log_id) for row in rows)
        return Outcome(replace(_begin_next_activity(after, third_party_log_id), version=log.version), again)
    changes = tuple(
        RowChange(row.id, RowState.LOGGED, None, third_party_log_id, hashes.get(row.id), erase=True)
        for row in rows
    )
    return Outcome(after, changes)


def to_unconfirmed(outcome: Outcome, log: LogRow) -> Outcome:
    """Return the outcome of a create whose activity may be an earlier create's: its rows are put into it once more."""
    changes = tuple(
        RowChange(change.id, RowState.PLANNED, None, change.third_party_log_id) for change in outcome.changes
    )
    return replace(outcome, log=replace(outcome.log, version=log.version), changes=changes)


def on_error(  # noqa: C901, PLR0911 - a case for each type of error
    log: LogRow,
    rows: Sequence[MessageRow],
    error: ConnectorError,
    capabilities: Capabilities,
    *,
    may_recreate: bool,
    jitter: float,
    retry: Retry = COUNTED,
) -> Outcome:
    """Return the outcome of an error. `may_recreate` allows to create a deleted activity again (once per claim)."""
    match error:
        case ServerFault():
            return _on_fault(log, rows, error, capabilities, jitter)
        case Throttled():
            return _on_throttled(log, rows, error)
        case RateLimited():
            answered = replace(retry, probe_ms=None)
            return _retry_later(
                log, rows, FailureReason.RATE_LIMITED, error, jitter, answered, error.retry_after
            )
        case Unavailable():
            return _retry_later(log, rows, FailureReason.UNAVAILABLE, error, jitter, retry)
        case AuthExpired():
            return _on_auth_expired(log, rows, error, capabilities, jitter)
        case BodyFull():
            return (
                on_nothing_to_change(log, rows) if log.call == "change" else _on_body_full(log, rows, error)
            )
        case NotFound() if log.call == "change" and _is_gone(log, error, capabilities):
            return on_nothing_to_change(log, rows)
        case NotFound() if log.call == "update" and may_recreate and _is_gone(log, error, capabilities):
            return _on_gone(log, rows)
        case Rejected():
            return _on_rejected(log, rows, error, capabilities, jitter)
        case NotFound():
            return _fail(log, rows, _reason(FailureReason.NOT_FOUND, error), behind=True)
        case _:
            return _mark_unknown(log, rows, error, capabilities, jitter, retry)


def _can_be_asked(log: LogRow, capabilities: Capabilities) -> bool:
    """Return True if the call can be reconciled, if only by repeating the create with its key."""
    return capabilities.finds or capabilities.upserts if log.call == "create" else capabilities.reads_back


def _is_asked_first(log: LogRow, capabilities: Capabilities) -> bool:
    """Return True if a write that was refused for its credentials is unknown, rather than known not to be done.

    It is not if nothing can be reconciled, or if the repeat adds only what is missing: then no message has to wait for
    the user to sign in. But if the texts in the activity were counted before the call, the repeat would count them
    again, and find what the first call may have written.
    """
    counted = log.call_before is not None and not log.shared
    adds_what_is_missing = log.call != "create" and capabilities.amends and not counted
    return _can_be_asked(log, capabilities) and not adds_what_is_missing


def _is_gone(log: LogRow, error: NotFound, capabilities: Capabilities) -> bool:
    """Return True if a missing activity was deleted, rather than hidden from a user who did not create it."""
    gone = capabilities.not_found_means_gone if error.gone is None else error.gone
    return gone or (error.gone is None and log.call_user == log.created_by)


class Reconciliation(enum.Enum):
    """What reconciling has found of a lost call."""

    NOT_THERE = enum.auto()
    REPEATABLE = enum.auto()
    NOBODY_KNOWS = enum.auto()


def on_reconciled(
    log: LogRow,
    rows: Sequence[MessageRow],
    finding: Reconciliation,
    capabilities: Capabilities,
    retry: Retry = COUNTED,
) -> Outcome:
    """Return the outcome of a lost call that is not known to have been done."""
    reason = log.reason or LOST_ANSWER
    failure = failure_reason_of(reason)
    if finding is Reconciliation.NOBODY_KNOWS:
        return _park(log, rows, reason)
    if failure is FailureReason.REJECTED and finding is Reconciliation.NOT_THERE:
        return _on_confirmed_refusal(log, rows, reason, capabilities)
    log = replace(log, probe_count=0)
    broke = failure in {FailureReason.MISTAKE, FailureReason.FAULT}
    # A call that was interrupted was counted when its lease had run out.
    attempt_count = log.attempt_count + (retry.counts and failure is not FailureReason.INTERRUPTED)
    over = attempt_count >= len(backoff.STEPS)
    if broke and log.call == "change":  # the refusals are those of the log's messages
        attempt_count = log.attempt_count + 1
        over = attempt_count >= 2 * _MISTAKES  # tries that ended otherwise, as lost answers, are among them
    elif broke:
        log = replace(log, rejection_count=log.rejection_count + 1)
        over = log.rejection_count >= _MISTAKES
    if over:
        log = replace(log, rejection_count=0) if broke and log.call != "change" else log
        if finding is Reconciliation.REPEATABLE:
            return _park(log, rows, reason)
        return _fail(log, rows, reason, behind=not broke)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    # A call that will be repeated is over: what was recorded for it must not be taken for the next one's.
    return Outcome(replace(log.without_call(), attempt_count=attempt_count), changes)


def _on_confirmed_refusal(
    log: LogRow, rows: Sequence[MessageRow], reason: str, capabilities: Capabilities
) -> Outcome:
    """Return the outcome of a refused call that was not found either; a search that lags is repeated once."""
    lag_ms = capabilities.settle_ms if log.call == "create" and capabilities.finds else 0
    if lag_ms and not log.probe_count:
        changes = tuple(RowChange(row.id, RowState.UNKNOWN, reason) for row in rows)
        return Outcome(replace(log, probe_count=1), changes, wait_ms=lag_ms)
    return _on_refused(replace(log, probe_count=0), rows, reason)


def on_reconcile_error(
    log: LogRow,
    rows: Sequence[MessageRow],
    error: ConnectorError,
    capabilities: Capabilities,
    *,
    jitter: float,
    retry: Retry = COUNTED,
) -> Outcome:
    """Return the outcome of an error while reconciling: it is repeated later, or once the user has signed in.

    A CRM that is away is asked for ever. If the connector or this server fails, that ends: a person decides.
    """
    probe_count = max(
        1, log.probe_count
    )  # the CRM's search has had its time: from now on it may be asked at any time
    refused = failure_reason_of(log.reason) is FailureReason.REJECTED
    # A refusal is reconciled at once, so a search that lags has not had its time: the next question waits for it.
    least_ms = capabilities.settle_ms if refused else 0
    if isinstance(error, Throttled):  # it was not even asked
        reason = log.reason or LOST_ANSWER
        # The rows keep the reason of the last question.
        held = tuple(RowChange(row.id, RowState.UNKNOWN, row.reason or reason) for row in rows)
        wait_ms = max(_throttle_ms(error), least_ms)
        return Outcome(replace(log, reason=reason, probe_count=probe_count), held, wait_ms=wait_ms)
    reason = log.reason or _reason(FailureReason.NO_ANSWER, error)
    row_reason, signed_out = _reason_while_unknown(reason, error)
    if refused and isinstance(error, Rejected | NotFound | BodyFull):  # it will not be answered better
        return _on_refused(replace(log, probe_count=0), rows, reason)
    retry_after, away = None, retry.probe_ms
    if isinstance(error, RateLimited):  # it is there
        retry_after, away = error.retry_after, None
    ours = isinstance(error, ConnectorBroke | ServerFault)
    if ours:  # whatever the CRM is
        away = None
    if _is_mistake(error) and failure_reason_of(rows[0].reason) is not FailureReason.FAULT:
        probe_count = 1  # our faults are counted in a row, and this is the first
    elif ours or (away is None and not retry.early):
        probe_count = log.probe_count + 1
    after = replace(log, probe_count=probe_count, reason=reason)
    if after.probe_count >= _most_probes(error, refused=refused):
        return (
            _on_refused(replace(log, probe_count=0), rows, reason)
            if refused
            else _park(after, rows, row_reason)
        )
    changes = tuple(RowChange(row.id, RowState.UNKNOWN, row_reason) for row in rows)
    wait_ms = backoff.for_ever(after.probe_count, jitter, retry_after=retry_after) if away is None else away
    return Outcome(after, changes, wait_ms=max(wait_ms, least_ms), signed_out=signed_out)


def _reason_while_unknown(reason: str, error: ConnectorError) -> tuple[str, bool]:
    """Return the rows' reason while their call cannot be reconciled, and whether its user has to sign in."""
    if isinstance(error, AuthExpired) and not isinstance(error, SignInRenewed):
        return _reason(FailureReason.SIGN_IN, error), True
    if isinstance(error, ServerFault):
        return _reason(_failure_reason_of_fault(error), error), False
    if failure_reason_of(reason) is FailureReason.FAULT:  # of the call: the question did not end in one
        return _reason(FailureReason.NO_ANSWER, error), False
    return reason, False


def _most_probes(error: ConnectorError, *, refused: bool) -> float:
    """Return how often a call is reconciled in vain, if it ends with this error."""
    if _is_mistake(error) or (refused and isinstance(error, ConnectorBroke)):
        return _MISTAKES
    return len(backoff.STEPS) if isinstance(error, ConnectorBroke | ServerFault) else math.inf


def _is_mistake(error: ConnectorError) -> bool:
    """Return True for an error of this server's own that does not pass by itself."""
    return isinstance(error, ServerFault) and not isinstance(error, Interrupted)


def on_too_many_interruptions(log: LogRow, rows: Sequence[MessageRow]) -> Outcome:
    """Return the outcome of work that was interrupted more often than the table has waits: a person decides."""
    return _park(log, rows, log.reason or LOST_ANSWER)


def on_fault_after_success(
    log: LogRow, rows: Sequence[MessageRow], id_: str, fault: ServerFault, *, jitter: float
) -> Outcome:
    """Return the outcome of a call that is done in this activity, after a fault of ours.

    The rows keep the activity's id, which says that the call is done: its outcome is computed again, and the call is
    never made again.
    """
    reason = _reason(_failure_reason_of_fault(fault), fault)
    # Only outcomes that ended like this are counted, not the questions that were asked in vain.
    again = rows[0].third_party_log_id == id_ and failure_reason_of(rows[0].reason) in {
        FailureReason.FAULT,
        FailureReason.INTERRUPTED,
    }
    after = replace(log, reason=reason, probe_count=log.probe_count + 1 if again else 1)
    if after.probe_count >= _MISTAKES:
        if after.call == "create":
            after = replace(after, third_party_log_id=id_, created_by=after.call_user)
        return replace(_park(after, rows, reason, id_), error=fault)
    changes = tuple(RowChange(row.id, RowState.UNKNOWN, reason, id_) for row in rows)
    wait_ms = backoff.for_ever(after.probe_count, jitter)
    return Outcome(after, changes, wait_ms=wait_ms, error=fault)


def on_save_failure(  # noqa: PLR0917 - what was to be written down, and of what
    log: LogRow,
    rows: Sequence[MessageRow],
    outcome: Outcome,
    fault: ServerFault,
    capabilities: Capabilities,
    jitter: float,
) -> Outcome:
    """Return what is left of an outcome that could not be saved; `log` and `rows` are those of the call.

    A row that is done keeps its activity's id, and its outcome is computed again. A row with an unknown outcome stays
    unknown, and a row that is known not to be done is tried again.
    """
    reason = _reason(_failure_reason_of_fault(fault), fault)
    outcomes = {change.id: change for change in outcome.changes}
    # What is in the CRM, or may be; of a thread that goes on a part of it is.
    open_rows = [
        row
        for row in rows
        if row.id in outcomes
        and (outcomes[row.id].state in _MAY_BE_DONE or outcomes[row.id].third_party_log_id is not None)
    ]
    if not open_rows:
        fault.wrote = False
        return replace(_on_fault(log, rows, fault, capabilities, jitter), error=fault)
    changes = [
        RowChange(row.id, RowState.UNKNOWN, reason, outcomes[row.id].third_party_log_id) for row in open_rows
    ]
    changes += [RowChange(row.id, RowState.PLANNED, reason) for row in rows if row not in open_rows]
    after = replace(log, reason=reason, attempt_count=log.attempt_count + 1)
    wait_ms = capabilities.settle_ms + backoff.for_ever(after.attempt_count, jitter)
    return Outcome(after, tuple(changes), wait_ms=wait_ms, error=fault)


def _mark_unknown(  # noqa: PLR0917 - what is journalled, and when to go on
    log: LogRow,
    rows: Sequence[MessageRow],
    error: ConnectorError,
    capabilities: Capabilities,
    jitter: float,
    retry: Retry = COUNTED,
) -> Outcome:
    """Return the outcome of a call that may be done: it is reconciled after a while, or parked if it cannot be."""
    failure = next((each for type_, each in _UNKNOWN if isinstance(error, type_)), FailureReason.NO_ANSWER)
    reason = _reason(failure, error)
    signed_out = failure is FailureReason.SIGN_IN
    log = replace(log, reason=reason)
    creating = log.call == "create"
    if not (
        (capabilities.finds or capabilities.upserts)
        if creating
        else (capabilities.reads_back or capabilities.amends)
    ):
        return _park(log, rows, reason)
    changes = tuple(RowChange(row.id, RowState.UNKNOWN, reason) for row in rows)
    # An answer with a status says that the CRM is done with the call; without one it may still be at work.
    at_work = error.status is None and not isinstance(error, NoLogId)
    searched = creating and capabilities.finds
    wait_ms = capabilities.settle_ms if at_work or searched else 0
    if failure is FailureReason.REJECTED:  # reconciled at once, and not repeated
        wait_ms = 0
    elif retry.probe_ms is not None and failure in {FailureReason.NO_ANSWER, FailureReason.NO_LOG_ID}:
        wait_ms = max(wait_ms, retry.probe_ms)
    elif log.attempt_count and not signed_out:
        # A call that was repeated in vain is reconciled, and so repeated, more slowly each time.
        wait_ms += backoff.for_ever(log.attempt_count, jitter)
    return Outcome(log, changes, wait_ms=wait_ms, signed_out=signed_out)


_UNKNOWN: Final = (
    (NoLogId, FailureReason.NO_LOG_ID),
    (ConnectorBroke, FailureReason.MISTAKE),
    (SignInRenewed, FailureReason.NO_ANSWER),
    (AuthExpired, FailureReason.SIGN_IN),
    (Rejected, FailureReason.REJECTED),
    (Interrupted, FailureReason.INTERRUPTED),
    (ServerFault, FailureReason.FAULT),
)


def _on_fault(
    log: LogRow, rows: Sequence[MessageRow], fault: ServerFault, capabilities: Capabilities, jitter: float
) -> Outcome:
    """Return the outcome of an error of our own: nothing was sent, or the call may be done."""
    failure = _failure_reason_of_fault(fault)
    if fault.wrote:
        # An interrupted call is counted at once.
        attempt_count = log.attempt_count + (failure is FailureReason.INTERRUPTED)
        return _mark_unknown(replace(log, attempt_count=attempt_count), rows, fault, capabilities, jitter)
    if failure is FailureReason.FAULT and log.call == "change":
        return _change_broke(log, rows, failure, fault, jitter)
    if failure is FailureReason.FAULT:
        log = replace(log, rejection_count=log.rejection_count + 1)
        if log.rejection_count >= _MISTAKES:
            return _fail(replace(log, rejection_count=0), rows, _reason(failure, fault), behind=False)
    return _retry_later(log, rows, failure, fault, jitter, COUNTED)


def _failure_reason_of_fault(fault: ServerFault) -> FailureReason:
    return FailureReason.INTERRUPTED if isinstance(fault, Interrupted) else FailureReason.FAULT


def _retry_later(  # noqa: PLR0917 - what is journalled, and when to go on
    log: LogRow,
    rows: Sequence[MessageRow],
    failure: FailureReason,
    error: ConnectorError,
    jitter: float,
    retry: Retry,
    retry_after: float | None = None,
) -> Outcome:
    """Return the outcome of a call that did nothing, for no fault of its rows: a retry later, until the table ends."""
    reason = _reason(failure, error)
    after = replace(log.without_call(), attempt_count=log.attempt_count + retry.counts, reason=reason)
    wait_ms = retry.probe_ms
    if wait_ms is None:
        wait_ms = backoff.after(after.attempt_count, jitter, retry_after=retry_after)
    if wait_ms is None:
        return _fail(log, rows, reason, behind=True)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    return Outcome(after, changes, wait_ms=wait_ms)


def _on_auth_expired(
    log: LogRow, rows: Sequence[MessageRow], error: AuthExpired, capabilities: Capabilities, jitter: float
) -> Outcome:
    """Return the outcome of refused credentials: nothing was done, or a gateway had let the write pass before."""
    if error.wrote and _is_asked_first(log, capabilities):
        return _mark_unknown(log, rows, error, capabilities, jitter)
    if isinstance(error, SignInRenewed):  # the same again, the first time at once
        outcome = _retry_later(log, rows, FailureReason.NO_ANSWER, error, jitter, COUNTED)
        return outcome if log.attempt_count else replace(outcome, wait_ms=0)
    return _wait_for_sign_in(log, rows, error)


def _wait_for_sign_in(log: LogRow, rows: Sequence[MessageRow], error: AuthExpired) -> Outcome:
    """Return the outcome for a user who has to sign in: their messages wait for that, their colleagues' go on."""
    reason = _reason(FailureReason.SIGN_IN, error)
    changes = tuple(RowChange(row.id, RowState.WAITING, reason) for row in rows)
    waiting = WaitingChange(log.call_user or rows[0].user_id, RowState.WAITING, reason)
    return Outcome(log.without_call(), changes, waiting, signed_out=True)


def _on_rejected(
    log: LogRow, rows: Sequence[MessageRow], error: Rejected, capabilities: Capabilities, jitter: float
) -> Outcome:
    """Return the outcome of a refusal. A gateway may say 403 after the CRM has done it: that is reconciled."""
    if error.wrote and error.status == _FORBIDDEN and _can_be_asked(log, capabilities):
        return _mark_unknown(log, rows, error, capabilities, jitter)
    if not isinstance(error, NotPrepared):
        return _on_refused(log, rows, _reason(FailureReason.REJECTED, error))
    if log.call == "change":
        return _change_broke(log, rows, FailureReason.MISTAKE, error, jitter)
    return _on_refused(log, rows, _reason(FailureReason.MISTAKE, error))


def _change_broke(
    log: LogRow, rows: Sequence[MessageRow], failure: FailureReason, error: ConnectorError, jitter: float
) -> Outcome:
    """Return the outcome of a mistake that kept a change from being sent.

    A message that failed is sent again with its day, a change is not. So it is tried again, until the mistake shows
    twice in a row and it was tried as often as any mistake is. The log's rejections, which are those of its messages,
    do not count.
    """
    if failure_reason_of(rows[0].reason) is failure and log.attempt_count + 1 >= _MISTAKES:
        return _fail(log, rows, _reason(failure, error), behind=False)
    return _retry_later(log, rows, failure, error, jitter, COUNTED)


def _on_refused(log: LogRow, rows: Sequence[MessageRow], reason: str) -> Outcome:
    """Return the outcome of a refused message: those behind it go on, unless each of them is refused too.

    If several messages of one call were refused, they are sent again one by one (`next_step` sees the refusal). The
    refusal of a change says nothing about the messages behind it.
    """
    if log.call == "change":
        return _fail(log, rows, reason, behind=False)
    rejection_count = log.rejection_count + 1
    if rejection_count >= _REFUSALS:
        return _fail(replace(log, rejection_count=0), rows, reason, behind=True)
    log = replace(log, rejection_count=rejection_count)
    if len(rows) == 1:
        return _fail(log, rows, reason, behind=False)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    return Outcome(replace(log.without_call(), reason=reason), changes)


def _on_throttled(log: LogRow, rows: Sequence[MessageRow], error: Throttled) -> Outcome:
    """Return the outcome of a call that we held back: it is no try, and waits until the limits allow it."""
    reason = _reason(FailureReason.UNAVAILABLE if error.down else FailureReason.RATE_LIMITED, error)
    changes = tuple(RowChange(row.id, RowState.PLANNED, reason) for row in rows)
    return Outcome(replace(log.without_call(), reason=reason), changes, wait_ms=_throttle_ms(error))


def _throttle_ms(error: Throttled) -> int:
    return max(int((error.retry_after or 0) * 1000), 100)


def _on_body_full(log: LogRow, rows: Sequence[MessageRow], error: BodyFull) -> Outcome:
    """Return the outcome of a full activity: the log goes on in the next one."""
    if log.third_party_log_id is None:  # not even in an activity of its own
        return _fail(log, rows, _reason(FailureReason.TOO_LONG, error), behind=False)
    changes = tuple(RowChange(row.id, RowState.PLANNED) for row in rows)
    return Outcome(_begin_next_activity(log, log.third_party_log_id), changes)


def _begin_next_activity(log: LogRow, third_party_log_id: str) -> LogRow:
    """Return the log with its next activity to be created: this one is full, and stays as it is from now on."""
    earlier = [*earlier_activities(log), third_party_log_id]
    return replace(
        log.without_call(),
        third_party_log_id=None,
        created_by=None,
        generation=log.generation + 1,
        blocks=SentBlocks(bytes(log.blocks)).with_closed().packed if log.shared else b"",
        body_size=0,
        earlier=msgspec.json.encode(earlier).decode(),
        attempt_count=0,
    )


def earlier_activities(log: LogRow) -> list[str]:
    """Return the full activities that the log's present one continues."""
    return [] if log.earlier is None else msgspec.json.decode(log.earlier, type=list[str])


def _on_gone(log: LogRow, rows: Sequence[MessageRow]) -> Outcome:
    """Return the outcome of an update whose activity was deleted: it is created again."""
    after = replace(
        log,
        third_party_log_id=None,
        created_by=None,
        generation=log.generation + 1,
        version=0,
        blocks=SentBlocks(bytes(log.blocks)).closed_only().packed if log.shared else b"",
        body_size=0,
        attempt_count=0,
    )
    return Outcome(after, tuple(RowChange(row.id, RowState.PLANNED) for row in rows), recreate=True)


def _fail(log: LogRow, rows: Sequence[MessageRow], reason: str, *, behind: bool) -> Outcome:
    """Return the outcome of rows that failed, with `behind` also the user's messages that wait for them."""
    changes = tuple(RowChange(row.id, RowState.FAILED, reason) for row in rows)
    waiting = None
    if behind and log.call != "change" and log.call_user is not None:
        text = f"{FailureReason.BEHIND}: one before it was not logged ({reason})"
        waiting = WaitingChange(log.call_user, RowState.FAILED, text)
    return Outcome(replace(log, reason=reason, attempt_count=0), changes, waiting)


def _park(log: LogRow, rows: Sequence[MessageRow], reason: str, id_: str | None = None) -> Outcome:
    """Return the outcome of a call that a person has to decide. A change parks alone: its log's messages go on."""
    changes = tuple(RowChange(row.id, RowState.PARKED, reason, id_) for row in rows)
    if log.call == "change":
        return Outcome(replace(log, reason=None, attempt_count=0, probe_count=0), changes)
    text = f"{FailureReason.BEHIND}: one before it is parked ({reason})"
    waiting = WaitingChange(None, RowState.PARKED, text)
    return Outcome(replace(log, state=LogState.PARKED, reason=reason), changes, waiting)


def failure_reason_of(reason: str | None) -> FailureReason | None:
    """Return the first word of a reason of ours."""
    word = (reason or "").partition(":")[0]
    return FailureReason(word) if word in _WORDS else None


def first_reason(reason: str) -> str:
    """Return the reason itself; for a row behind another one, the other's."""
    if reason.startswith(f"{FailureReason.BEHIND}:") and reason.endswith(")"):
        return reason.partition("(")[2].removesuffix(")")
    return reason


def _reason(failure: FailureReason, error: ConnectorError) -> str:
    detail = f" ({error.detail})" if error.detail else ""
    return f"{failure}: {error.meaning}{detail}"
