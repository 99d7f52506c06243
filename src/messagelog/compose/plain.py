"""`text/plain`."""

from messagelog.compose.blocks import Block, Link
from messagelog.compose.indented import IndentedLines


class Plain(IndentedLines):
    """`[time] sender`, with the text indented below it."""

    def render(self, block: Block) -> str:
        """Return the block's lines."""
        return f"\n{self.indent}".join(_lines(block))

    def visible_text(self, block: Block) -> str:
        """Return the lines themselves."""
        return " ".join(_lines(block))

    def line(self, text: str) -> str:
        """Return the line as it is: plain text needs no escaping."""
        return text


def _lines(block: Block) -> list[str]:
    head = f"[{block.stamp}] {block.title}" if block.stamp else block.title
    return [head, *[f"{line.label}: {line.url}" if isinstance(line, Link) else line for line in block.lines]]
