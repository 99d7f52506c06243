"""What plain text and Markdown share: a block is a line at the margin and the indented lines below it."""

import re
from collections.abc import Iterator

from messagelog.compose.blocks import Candidate

_LINE = re.compile(r"(?P<text>[^\r\n]*)(?:\r\n|\r|\n|\Z)")


class IndentedLines:
    """Blocks of lines, with an empty line between two of them.

    A message's lines are always indented, its empty ones too. Where a CRM has stripped those, an empty line
    belongs to the block if an indented one follows. People may have indented a line of theirs below a block,
    so that each line is a possible end: what is recognised decides.
    """

    separator = "\n\n"
    indent = "  "

    def line_text(self, line: str) -> str:
        """A line without its markup."""
        return line

    def scan(self, body: str) -> Iterator[Candidate]:
        """Every line at the margin, with the indented lines below it."""
        start = -1
        ends: list[tuple[int, str]] = []
        for line in _LINE.finditer(body):
            text = line["text"]
            if not text.strip():
                continue
            if start >= 0 and text[0] in " \t":
                ends.append((line.end("text"), self.line_text(text)))
                continue
            if start >= 0:
                yield Candidate(start, ends)
            start, ends = line.start(), [(line.end("text"), self.line_text(text))]
        if start >= 0:
            yield Candidate(start, ends)

    def visible(self, body: str) -> str:
        """The text without markup."""
        return "\n".join(self.line_text(line["text"]) for line in _LINE.finditer(body))

    def fit(self, text: str, body: str, tag: str) -> str:  # noqa: ARG002 - HTML needs the tag
        """With the line ends of the body."""
        return text.replace("\n", "\r\n") if "\r\n" in body else text

    def end_of(self, body: str) -> int:
        """After everything."""
        return len(body)

    def glue(self, body: str) -> str:
        """As many line ends as are missing to an empty line."""
        if not body:
            return ""
        tail = body.replace("\r\n", "\n")[-2:]
        return "\n" * (2 - (len(tail) - len(tail.rstrip("\n"))))
