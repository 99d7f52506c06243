"""Answers to the client: `{successful, logIds, returnMessage}`, in words that a sales rep understands."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec.structs import replace

from messagelog.core.delivery.outcomes import FailureReason, failure_reason_of, first_reason
from messagelog.storage.records.journal import RowState

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from messagelog.storage.records.journal import RowStatus

MessageType = Literal["success", "warning", "danger"]


class ReturnMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A notice in the client: `ttl` in milliseconds, `details` as titled lists of lines."""

    message: str
    message_type: MessageType = msgspec.field(name="messageType")
    ttl: int
    details: list[dict[str, Any]] = msgspec.field(default_factory=list)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /messageLog`.

    `log_ids` are the ids that were not logged when the request arrived, and now are logged or accepted.
    """

    successful: bool
    log_ids: list[str] = msgspec.field(name="logIds")
    return_message: ReturnMessage = msgspec.field(name="returnMessage")


class SelectedAnswer(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """The answer about selected messages: the CRM's ids of the records that hold them.

    `message_logs` are these ids by message id, oldest first, and `log_ids` each of them once. A message that has none
    yet is left out. `log_id` is the first of them.
    """

    log_id: str | msgspec.UnsetType = msgspec.field(name="logId", default=msgspec.UNSET)
    message_logs: dict[str, str] = msgspec.field(name="messageLogs")


class UncertainAnswer(Answer, frozen=True, kw_only=True):
    """The database has not answered in time: it is not known whether anything was accepted."""


class EmptyAnswer(Answer, frozen=True, kw_only=True):
    """The request holds nothing to log."""


_DETAIL: Final = re.compile(r"\([^()]*\)$")
"""The last part of a reason: a status or an error code, never text of a message.

The name of a library's error, which has parentheses of its own, tells a person nothing.
"""

_WORDS = {
    FailureReason.UNAVAILABLE: "{crm} cannot be reached at the moment",
    FailureReason.RATE_LIMITED: "{crm} asks us to slow down",
    FailureReason.SIGN_IN: "please sign in to {crm} again",
    FailureReason.NOT_FOUND: "{crm} has no such contact or activity, or hides it from you",
    FailureReason.REJECTED: "{crm} refused it",
    FailureReason.NO_ANSWER: "{crm} gave no clear answer",
    FailureReason.MISTAKE: "the connection to {crm} has a fault",
    FailureReason.TOO_LONG: "it is too long for {crm}",
    FailureReason.DELETED: "its activity was deleted in {crm}",
    FailureReason.NO_LOG_ID: "{crm} may have it, but nothing can be added to it",
    FailureReason.INTERRUPTED: "the server was interrupted",
    FailureReason.FAULT: "the server has a fault",
}
_REFUSED_BUT_ASKED: Final = "{crm} refused it, and is asked whether it has it all the same"
_OURS: Final = frozenset({FailureReason.INTERRUPTED, FailureReason.FAULT})
"""Reasons in which the CRM has no part."""


_LOGGED: Final = ReturnMessage(message="Message logged", message_type="success", ttl=1000)
_UPDATED: Final = ReturnMessage(message="Message updated", message_type="success", ttl=1000)
_ALREADY_LOGGED: Final = ReturnMessage(message="Already logged", message_type="success", ttl=1000)

# Sets also where they hold one state: to name an enum's member costs Python 3.11 five times as much as to look in one.
_FAILED = frozenset({RowState.FAILED})
_DONE = frozenset({RowState.LOGGED})
_IN_DOUBT = frozenset({RowState.PARKED, RowState.UNKNOWN})
_PARKED = frozenset({RowState.PARKED})
_UNDER_WAY = frozenset({RowState.PLANNED, RowState.CALLING, RowState.UNKNOWN})
_AS_IT_IS = frozenset({FailureReason.REJECTED, FailureReason.TOO_LONG, FailureReason.MISTAKE})
"""Reasons for which the same message would be refused again."""


def refusal_answer(message: str) -> Answer:
    """Say that nothing was logged, and why."""
    return Answer(successful=False, log_ids=[], return_message=warning(message))


def warning(message: str) -> ReturnMessage:
    """Return a notice that something was not done, and why."""
    return ReturnMessage(message=message, message_type="warning", ttl=5000)


def uncertain() -> UncertainAnswer:
    """Say that the database has not answered in time."""
    notice = warning(
        "The server is busy, so it is not certain that this was accepted. "
        "Log again in a moment: nothing is logged twice"
    )
    return UncertainAnswer(successful=False, log_ids=[], return_message=notice)


def nothing_to_log() -> EmptyAnswer:
    """Say that the request holds nothing to log."""
    notice = warning("There are no messages to log in this conversation.")
    return EmptyAnswer(successful=False, log_ids=[], return_message=notice)


def nothing_to_do() -> Answer:
    """Say that all of it is logged already."""
    return Answer(successful=True, log_ids=[], return_message=_ALREADY_LOGGED)


def with_changes(
    about_messages: Answer | None, changes: Sequence[str], reports: Mapping[str, RowStatus], *, crm: str
) -> Answer:
    """Return the answer to a request that also changes logged messages, which stay logged whatever follows.

    `about_messages` is the answer about its other messages, or None. `changes` are the ids of the changes' rows.
    """
    given = about_messages or Answer(
        successful=True, log_ids=[], return_message=_UPDATED if changes else _ALREADY_LOGGED
    )
    states = {id_: reports[id_].state if id_ in reports else RowState.PLANNED for id_ in changes}
    undone = {id_: state for id_, state in states.items() if state not in _DONE}
    if not undone:
        return given
    which = "1 logged message" if len(undone) == 1 else f"{len(undone)} logged messages"
    why = _cause_in_words(undone, reports, crm, frozenset(RowState)) or "the server has not finished it yet"
    notice = with_warnings(given.return_message, [f"What has changed of {which} is not in {crm} yet: {why}"])
    return replace(given, return_message=notice)


def with_links(answer: Answer, links: Mapping[str, str]) -> SelectedAnswer:
    """Return the answer about selected messages; `links` are their records' ids by message id, oldest first."""
    ids = list(dict.fromkeys(links.values()))
    return SelectedAnswer(
        successful=answer.successful,
        log_ids=ids,
        return_message=answer.return_message,
        log_id=ids[0] if ids else msgspec.UNSET,
        message_logs=dict(links),
    )


def with_warnings(notice: ReturnMessage, warnings: Sequence[str]) -> ReturnMessage:
    """Return the notice with these sentences (without a full stop) after its own."""
    if not warnings:
        return notice
    return ReturnMessage(
        message=". ".join([notice.message.removesuffix("."), *warnings]) + ".",
        message_type="danger" if notice.message_type == "danger" else "warning",
        ttl=max(notice.ttl, 10_000),
        details=notice.details,
    )


def answer(
    ids: Sequence[str],
    reports: Mapping[str, RowStatus],
    *,
    crm: str,
    refused: int = 0,
    fresh: frozenset[str] | None = None,
    shown: Callable[[str], str] = str,
    calling: bool = False,
) -> Answer:
    """Return the answer for these ids, oldest first. `refused` counts messages of kinds that the CRM does not log.

    `fresh` limits `logIds` to the ids that were not logged before (a newer snapshot of a logged thread was). `shown`
    returns an id as the client sees it. `calling` says that this process works on them at this moment: then the CRM is
    slow, otherwise the server.
    """
    states = {id_: _state(reports.get(id_)) for id_ in ids}
    kept = [id_ for id_ in ids if states[id_] not in _FAILED]
    if refused == 0 and _DONE.issuperset(states.values()):
        notice = _LOGGED
    else:
        notice = _notice(states, reports, crm=crm, refused=refused, calling=calling)
    return Answer(
        successful=bool(kept),
        log_ids=[shown(id_) for id_ in kept if fresh is None or id_ in fresh],
        return_message=notice,
    )


def _state(report: RowStatus | None) -> RowState:
    """Return a row's state for the answer: a row that is parked for a connector's mistake counts as failed.

    If only the user's own session can reconcile a lost answer, the user is told to sign in.
    """
    if report is None:
        return RowState.PLANNED
    if report.state not in _IN_DOUBT:
        return report.state
    if report.state is RowState.PARKED and _failure_reason(report) is FailureReason.NO_LOG_ID:
        return RowState.FAILED
    if report.state is RowState.UNKNOWN and _failure_reason(report) is FailureReason.SIGN_IN:
        return RowState.WAITING
    return report.state


def _notice(
    states: Mapping[str, RowState],
    reports: Mapping[str, RowStatus],
    *,
    crm: str,
    refused: int,
    calling: bool,
) -> ReturnMessage:
    """Return the notice that counts the messages by state, with the cause of each that is not logged."""
    counts = Counter(states.values())
    logged, failed, parked = counts[RowState.LOGGED], counts[RowState.FAILED], counts[RowState.PARKED]
    waiting = counts[RowState.WAITING]
    under_way = len(states) - logged - failed - parked - waiting
    total = len(states) + refused
    parts = [f"{logged} of {total} messages logged"] if logged else []
    if under_way:
        slow = f"{crm} is slow" if calling else "the server has not finished it yet"
        cause = _cause_in_words(states, reports, crm, _UNDER_WAY) or slow
        parts.append(f"{_many(under_way)} accepted; {cause}, so logging goes on in the background")
    if waiting:
        it = "it is" if waiting == 1 else "they are"
        parts.append(f"{_many(waiting)} accepted; please sign in to {crm} again, then {it} logged")
    if parked:
        why = _cause_in_words(states, reports, crm, _PARKED, _OURS) or f"{crm} did not confirm it"
        parts.append(f"{_many(parked)} kept for review, since {why} and it must not be logged twice")
    if failed:
        again = any(
            report.state is RowState.FAILED and _failure_reason(report) not in _AS_IT_IS
            for report in reports.values()
        )
        why = _cause_in_words(states, reports, crm, _FAILED) or f"{crm} did not take it"
        parts.append(f"{_many(failed)} not logged: {why}" + (". Log again to try the rest" if again else ""))
    if refused:
        parts.append(f"{_many(refused)} not logged: {crm} takes no messages of this kind")
    failed_all = failed + refused == total
    return ReturnMessage(
        message=". ".join(part[0].upper() + part[1:] for part in parts) + ".",
        message_type="danger" if failed_all else "warning",
        ttl=10_000,
    )


def _many(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _cause_in_words(
    states: Mapping[str, RowState],
    reports: Mapping[str, RowStatus],
    crm: str,
    among: frozenset[RowState],
    causes: Container[FailureReason | None] = _WORDS,
) -> str | None:
    """Return the first of `causes` among these states, in words, with the CRM's status or code if there is one."""
    for id_, state in states.items():
        report = reports.get(id_)
        if state in among and report is not None:
            failure = _failure_reason(report)
            if failure is not None and failure in causes:
                asked = state is RowState.UNKNOWN and failure is FailureReason.REJECTED
                words = _REFUSED_BUT_ASKED if asked else _WORDS[failure]
                detail = _DETAIL.search(_cause(report))
                return words.format(crm=crm) + (f" {detail[0]}" if detail else "")
    return None


def _failure_reason(report: RowStatus) -> FailureReason | None:
    return failure_reason_of(_cause(report))


def _cause(report: RowStatus) -> str:
    return first_reason(report.reason or "")
