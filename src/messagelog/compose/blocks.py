"""A text is a row of blocks: headings and entries. Here: what a block says, and what a format does with it.

A message's own text never leaves its block: every format lays it out so that no line of it can begin a block.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from messagelog.messages import MessageKind


class Link(NamedTuple):
    """A line that leads somewhere: `label` says to what, `url` is https and holds nothing secret."""

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
    """A place in a body that may be a block of ours: it begins at `start` and may end at each of `ends`.

    `pieces` are as many as `ends`: the visible text that came with each. `tag` is the HTML element, or empty.
    """

    start: int
    ends: Sequence[int]
    pieces: Sequence[str]
    tag: str = ""


class Line(NamedTuple):
    """One line of a body: what people see of it, and where it stands, from `start` to before `end`."""

    start: int
    end: int
    text: str


class Syntax(Protocol):
    """What tells the formats apart."""

    separator: str
    """Stands between two blocks."""

    def render(self, block: Block) -> str:
        """The block's text, escaped."""

    def visible_text(self, block: Block) -> str:
        """What `scan` finds as visible text where this block was rendered, but for white space."""

    def scan(self, body: str) -> Iterator[Candidate]:
        """Every place that may be a block, in order and apart from each other by their starts."""

    def lines(self, body: str, start: int, end: int) -> Iterator[Line]:
        """The lines of a stretch of the body, each so that it can be replaced by itself."""

    def line(self, text: str) -> str:
        """A line of text, escaped."""

    def visible(self, body: str) -> str:
        """All that a person reads in a body, roughly: for looking whether something is mentioned."""

    def adapt(self, text: str, body: str, tag: str) -> str:
        """Rendered blocks, as they look in this body: its line ends, or the element of their neighbour."""

    def holds_more(self, block: str) -> bool:
        """Whether something stands in a stretch of a body, recognised by what it says, that its hash does not tell."""

    def append_position(self, body: str) -> int:
        """Where something can be added at the end of a body."""

    def separator_after(self, body: str) -> str:
        """What has to stand between the end of this text and a block after it."""
