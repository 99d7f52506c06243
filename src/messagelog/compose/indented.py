"""The common part of plain text and Markdown: a block is a line at the margin and the indented lines below it."""

from collections.abc import Iterator

from messagelog.compose.blocks import Candidate, Line


class IndentedLines:
    """Blocks of lines, with an empty line between two of them.

    A message's lines are always indented, its empty ones too. If a CRM has stripped those, an empty line belongs to
    the block when an indented one follows. People may have indented a line of their own below a block, so each line
    is a possible end: the hash decides.
    """

    separator = "\n\n"
    indent = "  "

    def line_text(self, line: str) -> str:
        """Return a line without its markup."""
        return line

    def scan(self, body: str) -> Iterator[Candidate]:
        """Yield every line at the margin, with the indented lines below it."""
        position = start = 0
        ends: list[int] = []
        pieces: list[str] = []
        line_text = self.line_text
        for line in body.splitlines(keepends=True):
            text = line.rstrip()
            if text:
                if text[0] not in " \t":
                    if ends:
                        yield Candidate(start, ends, pieces)
                    start, ends, pieces = position, [], []
                if ends or text[0] not in " \t":
                    ends.append(position + len(line.rstrip("\r\n")))
                    pieces.append(line_text(text))
            position += len(line)
        if ends:
            yield Candidate(start, ends, pieces)

    def lines(self, body: str, start: int, end: int) -> Iterator[Line]:
        """Yield every line, without the white space around it."""
        for line in body[start:end].splitlines(keepends=True):
            text = line.strip()
            at = start + len(line) - len(line.lstrip())
            yield Line(at, at + len(text), self.line_text(text))
            start += len(line)

    def visible(self, body: str) -> str:
        """Return the text without markup."""
        return "\n".join(map(self.line_text, body.splitlines()))

    def adapt(self, text: str, body: str, tag: str) -> str:  # noqa: ARG002 - HTML needs the tag
        """Return the blocks with the line ends of the body."""
        return text.replace("\n", "\r\n") if "\r\n" in body else text

    def holds_more(self, block: str) -> bool:  # noqa: ARG002 - HTML also has parts that are not text
        """Return False: there are only lines, and the hash covers each."""
        return False

    def append_position(self, body: str) -> int:
        """Return the place after everything."""
        return len(body)

    def separator_after(self, body: str) -> str:
        """Return as many line ends as are missing for an empty line."""
        if not body:
            return ""
        tail = body[-4:].replace("\r\n", "\n")[-2:]
        return "\n" * (2 - (len(tail) - len(tail.rstrip("\n"))))
