"""`text/plain`."""

from messagelog.compose.blocks import Block, Link
from messagelog.compose.lines import IndentedLines


class Plain(IndentedLines):
    """`[time] who`, and below it, indented, what was said."""

    def render(self, block: Block) -> str:
        """The block's lines."""
        head = f"[{block.stamp}] {block.title}" if block.stamp else block.title
        return "\n".join([head, *(f"{self.indent}{_line(line)}" for line in block.lines)])


def _line(line: str | Link) -> str:
    return f"{line.label}: {line.url}" if isinstance(line, Link) else line
