"""Finds the conversation log of a day that another browser has named differently.

The client names a day in the locale of its browser, so that one day has several labels: `7/13/2026`, `13.7.2026`. They
are compared, never parsed: what a number in them means is not known.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from messagelog.storage.records.journal import LogState

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.core.intake.plan import RequestPlan
    from messagelog.storage.records.journal import DayLog, JournalLookup, Window

_DAY_MS: Final = 24 * 60 * 60 * 1000
_A_YEAR: Final = 1_000
_CENTURY: Final = 100
_NUMBER: Final = re.compile(r"\d{1,9}")


def window_of(plan: RequestPlan) -> Window | None:
    """Return where logs of the same day may be; None if the request's log has no day, such as a thread."""
    if plan.key.shared or not plan.items or not _label(plan, plan.key.client_log_id):
        return None
    times = [item.sent_at for item in plan.items]
    return plan.conversation_id, min(times) - _DAY_MS, max(times) + _DAY_MS


def with_log_of_day(
    plan: RequestPlan, known: JournalLookup, day_of: Callable[[int], str]
) -> tuple[RequestPlan, JournalLookup]:
    """Return the plan for the log that the conversation's day has under another label, if any, and what is known of it.

    `day_of` names the day of a time (epoch ms) in the user's zone. Another contact's log is taken only if some of it
    has reached the CRM: then the answer says whose it is.
    """
    if known.contact_id is not None:
        return plan, known
    same = [log for log in known.days if _is_same_day(plan, log, day_of)]
    for log in sorted(same, key=lambda log: log.contact_id != plan.contact_id):
        if log.contact_id == plan.contact_id or log.linked or log.state is LogState.PARKED:
            key = plan.key._replace(client_log_id=log.client_log_id)
            found = replace(
                known,
                contact_id=log.contact_id,
                contact_name=log.contact_name,
                version=log.version,
                state=log.state,
                linked=log.linked,
                days=(),
            )
            return replace(plan, key=key), found
    return plan, known


def _is_same_day(plan: RequestPlan, log: DayLog, day_of: Callable[[int], str]) -> bool:
    """Return True if a log of the same conversation, with messages of about the same time, is of the same day."""
    ours, theirs = _label(plan, plan.key.client_log_id), _label(plan, log.client_log_id)
    if not ours or not theirs:
        return False
    same = is_same_label(ours, theirs)
    if same is not None:
        return same
    times = [item.sent_at for item in plan.items]
    return day_of(min(times)) <= day_of(log.last_at) and day_of(log.first_at) <= day_of(max(times))


def _label(plan: RequestPlan, log_id: str) -> str:
    """Return the day in a log's id, which follows the conversation's id; empty if the id has another form."""
    contact = plan.key.group_contact_id
    conversation = plan.conversation_id.removesuffix(f"-{contact}") if contact else plan.conversation_id
    label = log_id.removeprefix(conversation) if log_id.startswith(conversation) else ""
    # Selected messages have a log of their own, on whatever day they were sent.
    return "" if label.startswith("/selected/") else label


def is_same_label(one: str, other: str) -> bool | None:
    """Return whether two labels of about the same time are of the same day; None if they do not tell.

    They are if both have the same numbers, in any order and any digits; a year may be shortened, and a month may be a
    word. Two calendars number a day differently; different years show that they are two.
    """
    (numbers, year), (others, another) = _numbers(one), _numbers(other)
    if not numbers or not others or (year and another and year != another):
        return None
    return not (numbers - others) or not (others - numbers)


def _numbers(label: str) -> tuple[Counter[int], int | None]:
    """Return the numbers in a label, a year without its century; and the full year, if there is one."""
    found = [int(number) for number in _NUMBER.findall(label)]
    year = next((number for number in found if number >= _A_YEAR), None)
    return Counter(number % _CENTURY if number >= _A_YEAR else number for number in found), year
