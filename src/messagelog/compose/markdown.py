"""`text/markdown`."""

import re

from messagelog.compose.blocks import Block, Link
from messagelog.compose.lines import IndentedLines

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_LIST_OR_RULE = re.compile(r"^([-+=]|\d{1,9}(?=[.)]))")
_MARKUP = re.compile(r"\\([!-/:-@\[-`{-~])|^\s*[-+] |\*")
_HARD_BREAK = "  \n"


class Markdown(IndentedLines):
    """A list item per entry: `- **time** who`, and below it, indented, what was said."""

    def render(self, block: Block) -> str:
        """The block's lines, with hard breaks between them."""
        head = (
            f"- **{_escape(block.stamp)}** {_escape(block.title)}"
            if block.stamp
            else f"**{_escape(block.title)}**"
        )
        lines = [head, *(f"{self.indent}{_line(line)}".rstrip() for line in block.lines)]
        return _HARD_BREAK.join(lines)

    def line_text(self, line: str) -> str:
        """Without bullet, bold and escapes. A CRM may have changed the first two."""
        return _MARKUP.sub(lambda markup: markup[1] or "", line)


def _line(line: str | Link) -> str:
    if isinstance(line, Link):
        return f"[{_escape(line.label)}]({_bare_url(line.url)})"
    return _escape(line)


def _escape(text: str) -> str:
    """Says the same in Markdown. White space at the front would make code of it."""
    escaped = _SPECIAL.sub(r"\\\1", text.strip())
    if number := re.match(r"\d{1,9}(?=[.)])", escaped):
        return f"{number[0]}\\{escaped[number.end() :]}"
    return f"\\{escaped}" if escaped.startswith(("-", "+", "=")) else escaped


def _bare_url(url: str) -> str:
    """An address that cannot end the link early."""
    return "".join(f"%{ord(char):02X}" if char in "()*'\\ <>[]`" else char for char in url)
