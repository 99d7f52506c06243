"""`text/markdown`."""

import re

from messagelog.compose.blocks import Block, Link
from messagelog.compose.indented import IndentedLines

_ESCAPES = {ord(char): f"\\{char}" for char in "\\`*_{}[]<>#|~&"}
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~&]")
_NUMBERED = re.compile(r"\d{1,9}(?=[.)])")
_MARKUP = re.compile(r"\\([!-/:-@\[-`{-~])|^\s*[-+] |\*")
_BULLETS = ("- ", "+ ")
_HARD_BREAK = "  \n"
_URL_ESCAPES = {ord(char): f"%{ord(char):02X}" for char in "()*'\\ <>[]`"}


class Markdown(IndentedLines):
    """A list item per entry: `- time **sender**`, with the text indented below it."""

    def render(self, block: Block) -> str:
        """Return the block's lines, with hard breaks between them."""
        title = f"**{_escape(block.title)}**"
        head = f"- {_escape(block.stamp)} {title}" if block.stamp else title
        lines = [
            f"[{_escape(line.label)}]({_bare_url(line.url)})" if isinstance(line, Link) else _escape(line)
            for line in block.lines
        ]
        return _HARD_BREAK.join([head, *[f"{self.indent}{line}".rstrip() for line in lines]])

    def visible_text(self, block: Block) -> str:
        """Return the lines without escapes; a link with its brackets."""
        head = f"{block.stamp} {block.title}" if block.stamp else block.title
        lines = [f"[{at.label}]({_bare_url(at.url)})" if isinstance(at, Link) else at for at in block.lines]
        return " ".join([head, *lines])

    def line(self, text: str) -> str:
        """Return the line with every special character escaped."""
        return _escape(text)

    def line_text(self, line: str) -> str:
        """Return the line without bullet, bold and escapes. A CRM may have changed the first two."""
        if "\\" in line:
            return _MARKUP.sub(lambda markup: markup[1] or "", line)
        text = line.lstrip()
        return (text[2:] if text.startswith(_BULLETS) else line).replace("*", "")


def _escape(text: str) -> str:
    """Escape a text for Markdown. White space at the front would make it code."""
    text = text.strip()
    first = text[:1]
    if _SPECIAL.search(text):
        text = text.translate(_ESCAPES)
    if first in {"-", "+", "="}:
        return f"\\{text}"
    if first.isdigit() and (number := _NUMBERED.match(text)):
        return f"{number[0]}\\{text[number.end() :]}"
    return text


def _bare_url(url: str) -> str:
    """Return an address that cannot end the link early."""
    return url.translate(_URL_ESCAPES)
