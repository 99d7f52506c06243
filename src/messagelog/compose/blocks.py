"""A text is a sequence of blocks, headings and entries: their contents, and what each format does with them.

A message's own text never leaves its block: every format lays it out so that no line of it can begin a block.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from messagelog.messages import MessageKind


class Link(NamedTuple):
    """A line that is a link: `label` is its text, `url` is https and holds no secret."""

    label: str
    url: str


class Block(NamedTuple):
    """A heading, or an entry with its `stamp` (the time in words). Its text is clean, and not yet escaped."""

    title: str
    lines: Sequence[str | Link] = ()
    stamp: str | None = None
    sent_at: int = 0
    id: str | None = None
    kind: MessageKind = MessageKind.OTHER


class Candidate(NamedTuple):
    """A part of a body that may be our block: it begins at `start` and may end at each of `ends`.

    `pieces` has the visible text up to each of `ends`, from the end before. `tag` is the HTML element, or empty.
    """

    start: int
    ends: Sequence[int]
    pieces: Sequence[str]
    tag: str = ""


class Line(NamedTuple):
    """One line of a body: its visible text, and its place from `start` to before `end`."""

    start: int
    end: int
    text: str


class Syntax(Protocol):
    """What differs between the formats."""

    separator: str
    """The separator of two blocks."""

    def render(self, block: Block) -> str:
        """Return the block's text, escaped."""

    def visible_text(self, block: Block) -> str:
        """Return the visible text that `scan` finds for this block when it is rendered, apart from white space."""

    def scan(self, body: str) -> Iterator[Candidate]:
        """Every part that may be a block, in order; no two have the same start."""

    def lines(self, body: str, start: int, end: int) -> Iterator[Line]:
        """Return the lines of a part of the body, each with its own place, so that it can be replaced."""

    def line(self, text: str) -> str:
        """Return a line of text, escaped."""

    def visible(self, body: str) -> str:
        """Return roughly all that a person reads in a body: to see whether something is mentioned."""

    def adapt(self, text: str, body: str, tag: str) -> str:
        """Adapt rendered blocks to this body: to its line ends, or to the element of their neighbour."""

    def holds_more(self, block: str) -> bool:
        """Whether a part of a body, recognised by its text, holds something that its hash does not cover."""

    def append_position(self, body: str) -> int:
        """Return the place at the end of a body where something can be added."""

    def separator_after(self, body: str) -> str:
        """Return the separator between the end of this text and a block after it."""
