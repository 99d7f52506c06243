"""Check after each run that every message is in the CRM exactly once, in its conversation's own activity."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TOLD: Final = 3  # examples of a problem that are printed


class CrmContents(msgspec.Struct, frozen=True):
    """The contents of the CRM: the numbers of the messages in each activity, and the counts of calls."""

    activities: dict[str, list[int]]
    created: int
    updated: int
    unknown: int


def faults(sent: Iterable[tuple[int, int, int]], contents: CrmContents) -> list[str]:
    """Return what is wrong, in sentences; none when every message is there once. `sent` is as in `load.LoadResult`."""
    conversations = {
        number: conversation for conversation, first, count in sent for number in range(first, first + count)
    }
    found = Counter(number for numbers in contents.activities.values() for number in numbers)
    owners: dict[int, set[str]] = {}
    mixed = []
    for id_, numbers in contents.activities.items():
        held = {conversations[number] for number in numbers if number in conversations}
        for conversation in held:
            owners.setdefault(conversation, set()).add(id_)
        if len(held) != 1:
            mixed.append(id_)
    problems = (
        ("messages were never logged", [number for number in conversations if number not in found]),
        ("messages were logged more than once", [number for number, times in found.items() if times > 1]),
        ("messages are in the CRM that were not sent", [n for n in found if n not in conversations]),
        ("conversations have more than one activity", [c for c, ids in owners.items() if len(ids) > 1]),
        ("activities are not of one conversation", mixed),
        ("additions were for no activity", range(contents.unknown)),
    )
    return [_sentence(what, which) for what, which in problems if which]


def _sentence(what: str, which: Sequence[object]) -> str:
    examples = ", ".join(str(each) for each in which[:_TOLD])
    return f"{len(which)} {what}, such as {examples}."
