"""What a person decides about a conversation log in trouble, as changes of the journal. Pure.

No decision overtakes work that is under way: a claimed log is left to its holder, and only rows without a call under
way are changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from messagelog.connectors.log import SentBlocks
from messagelog.core.delivery.outcomes import FailureReason, failure_reason_of
from messagelog.storage.records.inbox import Decision
from messagelog.storage.records.journal import LogState, RowChange, RowState

if TYPE_CHECKING:
    from messagelog.core.contacts.resolve import ChosenContact
    from messagelog.storage.records.inbox import Decide, DecisionContext
    from messagelog.storage.records.journal import LogRow, MessageRow

EXPIRED: Final = "expired: its text is not here any more; sent again, it can be logged again"

_RESTING: Final = frozenset({RowState.FAILED, RowState.PARKED, RowState.WAITING})
_BEHIND: Final = f"{FailureReason.BEHIND}:"

_BUSY = "It is being worked on at this moment: look again in a minute."
_FINDING_OUT = (
    "The server is finding out whether the CRM has it: wait for that, or retry to have it asked at once."
)
_PARKED = (
    "Nobody knows whether the CRM has it. Look there: if it is there, mark it as done; "
    "if it is not, retry and say so."
)
_IN_CRM = "It is in the CRM already, in the activity {id}, where it cannot be moved from here."
_SAID_TO_BE_IN_CRM = "A part of it is in the CRM already: it cannot go to another contact."
_TAKEN = "The contact {name} ({id}) has a log of this conversation already, or messages of it in another one."
_OTHER_ACTIVITY = "It belongs to the activity {id}, and cannot be linked to another one."
_WHICH_ACTIVITY = "Say which activity it is: the thread goes on, and would be made once more."
_CHANGED = "The server has worked on it since you looked: look again."
_NOTHING = "Nothing of it is left to be decided."


def if_unchanged(seen: DecisionContext, judge: Decide, fence: int | None) -> Decision:
    """Return what `judge` decides if the log still has the `fence` that the person saw; None: any fence."""
    return Decision(refused=_CHANGED) if fence not in {None, seen.log.fence} else judge(seen)


def retry(seen: DecisionContext, *, not_in_crm: bool) -> Decision:
    """Plan failed rows again, and make waiting rows due now.

    For a parked log the person must have looked and say that the CRM does not have it. The log then gets a new
    `idempotency_key`: the CRM may answer the old one with an activity that holds only the lost message.
    """
    log, rows, now = seen.log, seen.rows, seen.now
    in_doubt = log.state is LogState.PARKED or any(row.state is RowState.PARKED for row in rows)
    if in_doubt and not not_in_crm:
        return Decision(refused=_PARKED)
    changes = tuple(_plan_again(row) for row in rows if row.state in _RESTING)
    planned = any(change.state is RowState.PLANNED for change in changes)
    waits = any(row.state in {RowState.PLANNED, RowState.UNKNOWN} for row in rows)
    if not changes and not waits:
        return Decision(refused=_NOTHING)
    if log.owner is not None:  # its holder goes on with these rows
        return Decision(changes=changes)
    if log.call is not None:
        # Until the first probe the CRM gets the time that its search needs; after a refusal, until the second.
        asked = log.probe_count > 0 and failure_reason_of(log.reason) is not FailureReason.REJECTED
        return Decision(replace(log, due_at=now) if asked else None, changes)
    after = _open(log) if log.state is LogState.PARKED else log
    return Decision(
        replace(
            after,
            due_at=now if planned or waits else log.due_at,
            attempt_count=0,
            rejection_count=0,
            reason=None,
        ),
        changes,
    )


def link(seen: DecisionContext, contact: ChosenContact) -> Decision:
    """Give the log to another contact, if nothing of it is or may be in the CRM.

    A group's log gets another key with that, since a group has a log for each contact.
    """
    refused = _why_not_to_move(seen)
    if refused is not None:
        return Decision(refused=refused)
    log = seen.log
    if log.key.group_contact_id and log.key.group_contact_id != contact.id:
        if seen.taken:
            return Decision(refused=_TAKEN.format(name=contact.name, id=contact.id))
        log = _move(log, contact.id)
    # It gets a new key: the CRM may know the old one from a call that it refused for the contact.
    return Decision(
        replace(
            log,
            contact_id=contact.id,
            contact_name=contact.name,
            contact_type=contact.type,
            generation=log.generation + 1,
        )
    )


def _move(log: LogRow, contact_id: str) -> LogRow:
    """Return a group's log as that of another contact."""
    conversation_id = log.conversation_id.removesuffix(f"-{log.key.group_contact_id}")
    key = log.key._replace(group_contact_id=contact_id)
    return replace(log, key=key, conversation_id=key.display_id(conversation_id))


def _why_not_to_move(seen: DecisionContext) -> str | None:
    """Return why a log cannot go to another contact; None if it can."""
    log = seen.log
    if log.third_party_log_id is not None:
        return _IN_CRM.format(id=log.third_party_log_id)
    if log.earlier is not None or seen.logged:
        return _SAID_TO_BE_IN_CRM
    if log.state is LogState.PARKED:
        return _PARKED
    if log.owner is not None:
        return _BUSY
    if log.call is not None:
        return _FINDING_OUT
    return None if seen.rows else _NOTHING


def mark_done(seen: DecisionContext, activity: str | None, *, everything: bool) -> Decision:
    """Record that the CRM has it: the rows in question are logged, and their texts are erased.

    Rows that were only held back were never sent, and are not in question: those of a parked log go on now.
    `everything` says that the CRM has them too. `activity` is the CRM's id of it: without one, the next message makes a
    new activity. A shared thread needs one; it is brought up to date there.
    """
    log, rows, now = seen.log, seen.rows, seen.now
    if log.owner is not None:
        return Decision(refused=_BUSY)
    if log.call is not None:
        return Decision(refused=_FINDING_OUT)
    if activity is not None and log.third_party_log_id not in {None, activity}:
        return Decision(refused=_OTHER_ACTIVITY.format(id=log.third_party_log_id))
    resting = [row for row in rows if row.state in _RESTING]
    parked = log.state is LogState.PARKED
    done = [row for row in resting if everything or _in_question(row, parked=parked)]
    if not done:
        return Decision(refused=_NOTHING)
    held_by = activity or log.third_party_log_id
    if log.shared and held_by is None:
        return Decision(refused=_WHICH_ACTIVITY)
    changes = [_mark_row_done(log, row, held_by) for row in done]
    held_back = [row for row in resting if parked and row.state is not RowState.FAILED and row not in done]
    changes += map(_plan_again, held_back)
    goes_on = any(change.state is RowState.PLANNED for change in changes)
    after = _open(log) if parked else log
    if held_by is not None:
        blocks = SentBlocks(bytes(log.blocks)).with_confirmed().packed if log.shared else log.blocks
        after = replace(after, third_party_log_id=held_by, generation=log.generation, blocks=blocks)
        if log.third_party_log_id is None:
            after = replace(after, created_by=None)
    else:  # the next create must not be answered with the activity that is there
        after = replace(after, generation=log.generation + 1)
    return Decision(
        replace(
            after, due_at=now if goes_on else log.due_at, attempt_count=0, rejection_count=0, reason=None
        ),
        tuple(changes),
    )


def _plan_again(row: MessageRow) -> RowChange:
    """Return the change that plans a row again, if it still has a text to send."""
    if row.payload is not None:
        return RowChange(row.id, RowState.PLANNED)
    reason = row.reason if (row.reason or "").startswith("expired:") else EXPIRED
    return RowChange(row.id, RowState.FAILED, reason)


def _mark_row_done(log: LogRow, row: MessageRow, activity: str | None) -> RowChange:
    if log.shared and row.payload is not None:  # a newer snapshot may have arrived than the one that was sent
        return RowChange(row.id, RowState.PLANNED)
    return RowChange(row.id, RowState.LOGGED, None, activity, erase=True)


def _in_question(row: MessageRow, *, parked: bool) -> bool:
    """Return whether a row was sent, or was tried: not only held back by another one.

    A row that had failed before its log was parked is known not to be in the CRM.
    """
    if parked and row.state is not RowState.PARKED:
        return False
    reason = row.reason or ""
    if reason.startswith("expired:"):  # what it was before stands in the brackets
        reason = reason.partition("(")[2]
    return not reason.startswith(_BEHIND)


def _open(log: LogRow) -> LogRow:
    """Return a parked log that may be worked on again. A create gets another key."""
    log = replace(log.without_call(), state=LogState.OPEN, probe_count=0)
    if log.third_party_log_id is not None:
        return log
    blocks = SentBlocks(bytes(log.blocks)).closed_only().packed if log.shared else log.blocks
    return replace(log, generation=log.generation + 1, blocks=blocks)
