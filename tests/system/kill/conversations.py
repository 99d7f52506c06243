"""Conversations whose last request is under way when a process is killed, and what must have become of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.live_server import ADA, OTTO
from support.requests import START, body, message, thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from support.process_group import JournalledLog

KEYS = (ADA, OTTO)
"""Users of two tenants, each with a CRM of its own."""

ABILITIES: Mapping[str, dict[str, Any]] = {ADA: {}, OTTO: {"external_ids": False, "append_only": True}}
"""What the tenants' CRMs can do: everything; neither search by our key nor change what is written."""


@dataclass(frozen=True)
class Kind:
    """What is under way: `past` texts are in the CRM already, the request brings `texts`, the call that `held`-th."""

    name: str
    past: int
    texts: int
    held: int
    shared: bool = False


KINDS = (
    Kind("create", past=0, texts=1, held=1),
    Kind("update", past=1, texts=2, held=2),
    Kind("second of three", past=0, texts=3, held=2),
    Kind("shared create", past=0, texts=2, held=2, shared=True),
    Kind("shared update", past=2, texts=3, held=3, shared=True),
)


@dataclass(frozen=True)
class Conversation:
    """One conversation; its name is its id and stands in its texts."""

    name: str
    key: str
    kind: Kind
    resent: bool

    @property
    def texts(self) -> list[str]:
        """What the CRM must hold in the end, in this order, each once."""
        return [f"{self.name}, text {number}." for number in range(1, self.kind.texts + 1)]

    @property
    def log_id(self) -> str:
        """The id of its conversation log."""
        return self.name if self.kind.shared else f"{self.name}/7/13/2026"

    def request(self, texts: int | None = None) -> dict[str, Any]:
        """The request with the first `texts`, or with all of them."""
        sent = self.texts[:texts]
        if self.kind.shared:
            return thread(*sent, id_=self.name)
        messages = (
            message(f"{self.name} {number}", text, at=START + 60_000 * number)
            for number, text in enumerate(sent, 1)
        )
        return body(*messages, conversation=self.name)

    def is_held(self, written: str) -> bool:
        """Whether the CRM has done the work of the call that is to be under way."""
        return self.texts[self.kind.held - 1] in written


def conversations(prefix: str) -> list[Conversation]:
    """Every kind for both tenants, once resent by the client and once left alone."""
    return [
        Conversation(
            f"{prefix}, {kind.name} of {key}, {'resent' if resent else 'left alone'}", key, kind, resent
        )
        for kind in KINDS
        for key in KEYS
        for resent in (True, False)
    ]


def is_settled(each: Conversation, journal: Mapping[str, JournalledLog]) -> bool:
    """Whether nothing is left to be done for it."""
    found = journal.get(each.log_id)
    return found is not None and found.at_rest


def problems(
    all_: Iterable[Conversation],
    activities: Mapping[str, list[dict[str, Any]]],
    journal: Mapping[str, JournalledLog],
) -> list[str]:
    """What is doubled, lost, out of order, or not logged by the journal; nothing, when the promise was kept."""
    found = []
    for each in all_:
        bodies = [
            made["body"] for made in activities[each.key] if any(text in made["body"] for text in each.texts)
        ]
        written = "\n".join(bodies)
        counts = [written.count(text) for text in each.texts]
        if len(bodies) != 1 or counts != [1] * len(counts):
            found.append(f"{each.name}: {len(bodies)} activities with its texts {counts} times")
        elif (places := [written.index(text) for text in each.texts]) != sorted(places):
            found.append(f"{each.name}: its texts are at {places}")
        states = list(journal[each.log_id].rows.values())
        if states != ["logged"] * (1 if each.kind.shared else each.kind.texts):
            found.append(f"{each.name}: its rows are {states}")
    return found
