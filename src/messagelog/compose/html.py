"""`text/html`: the few elements that every CRM's sanitiser keeps."""

import html
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from messagelog.compose.blocks import Block, Candidate, Line, Link

_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt"),
        *("fieldset", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html"),
        *("li", "main", "nav", "ol", "p", "pre", "section", "summary"),
        *("table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
    }
)
_ENDED_BY_A_BLOCK = frozenset({"p"})
_ENDED_BY_THEIR_LIKE = frozenset({"li", "dt", "dd", "td", "th", "tr"})
_VOID = frozenset({"hr"})
_SHOWN = frozenset(
    {
        *("audio", "button", "canvas", "embed", "hr", "iframe", "img", "input", "math", "object", "picture"),
        *("select", "svg", "textarea", "video"),
    }
)
"""Elements that are visible without text."""

_TAG = (
    r"<!--.*?(?:-->|\Z)"
    r"|<(?P<raw>script|style)\b.*?(?:</(?P=raw)\s*>|\Z)"
    r"|<(?P<close>/?)(?P<tag>[a-zA-Z][a-zA-Z0-9-]*)(?:[^<>\"']|\"[^\"]*\"|'[^']*')*+>"
    r"|<[!?][^>]*>"
)
# A block of text, breaks, emphasis and links only: as we write them, and as most come back.
_ATTRIBUTES = r"(?:\s[^<>\"']*(?:\"[^\"<>]*\"[^<>\"']*)*+)?"
_LEAF = (
    rf"<(?P<block>p|div|li){_ATTRIBUTES}>"
    rf"(?P<leaf>[^<]*(?:<(?:/?(?:b|strong|i|em|u|span|font|a)|br/?){_ATTRIBUTES}>[^<]*)*+)"
    r"</(?P=block)\s*>"
)
_ANY_TAG = re.compile(_TAG, re.DOTALL | re.IGNORECASE)
_TOKEN = re.compile(f"{_LEAF}|{_TAG}", re.DOTALL | re.IGNORECASE)
_DOCUMENT_END = re.compile(r"(?:\s*</(?:body|html)\s*>)+\s*\Z", re.IGNORECASE)
_OUR_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_SIGNATURE = re.compile(r"--\s*$")
_BREAK = re.compile(r"<br[^<>]*>", re.IGNORECASE)
_LONGEST_DOCUMENT_END = 200  # characters
_INLINE = re.compile(r"<[^<>]*>")
_ZERO_WIDTH_SPACE = "\u200b"


class Html:
    """A paragraph per block: the title bold, behind the time if there is one; the other lines after line breaks.

    There are no classes, ids or comments, since sanitisers remove them; a block is recognised by its visible text.
    Text is escaped as serialisers do it, so that a sanitiser leaves every character as it is.
    """

    separator = ""

    def render(self, block: Block) -> str:
        """One `p` element."""
        title = f"<b>{html.escape(block.title, quote=False)}</b>"
        head = f"{html.escape(block.stamp, quote=False)} {title}" if block.stamp else title
        return f"<p>{'<br>'.join([head, *[_line(line) for line in block.lines]])}</p>"

    def visible_text(self, block: Block) -> str:
        """Return the lines; for a link, its label."""
        lines = [line.label if isinstance(line, Link) else line for line in block.lines]
        head = f"{block.stamp} {block.title}" if block.stamp else block.title
        return " ".join([head, *lines])

    def line(self, text: str) -> str:
        """Return the line escaped, and guarded against looking like a quotation."""
        return _line(text)

    def scan(self, body: str) -> Iterator[Candidate]:
        """Return every element of any name that holds text and no other block."""
        return _Scanner().scan(body)

    def lines(self, body: str, start: int, end: int) -> Iterator[Line]:
        """Yield every run of text between two tags."""
        position = start
        for tag in _ANY_TAG.finditer(body, start, end):
            yield from _run(body, position, tag.start())
            position = tag.end()
        yield from _run(body, position, end)

    def visible(self, body: str) -> str:
        """Return the text without elements."""
        return html.unescape(_ANY_TAG.sub(" ", body))

    def adapt(self, text: str, body: str, tag: str) -> str:  # noqa: ARG002 - plain text needs the body
        """Inside a list, make the blocks its items."""
        return _OUR_PARAGRAPH.sub(r"<li>\1</li>", text) if tag == "li" else text

    def holds_more(self, block: str) -> bool:
        """Return whether there are pictures and the like, text between elements, or an element with one end outside."""
        if any((tag["tag"] or "").lower() in _SHOWN for tag in _ANY_TAG.finditer(block)):
            return True
        candidates = list(self.scan(block))
        for last, following in pairwise(candidates):
            between = block[last.ends[-1] : following.start]
            if self.visible(between).strip():
                return True
        depth: Counter[str] = Counter()
        for last, following in pairwise(candidates):
            for tag in _ANY_TAG.finditer(block, last.ends[-1], following.start):
                depth[(tag["tag"] or "").lower()] += -1 if tag["close"] else 1
        return any(depth.values())

    def append_position(self, body: str) -> int:
        """Return the place after everything, but inside the document's own elements."""
        end = _DOCUMENT_END.search(body, max(0, len(body) - _LONGEST_DOCUMENT_END))
        return end.start() if end else len(body)

    def separator_after(self, body: str) -> str:  # noqa: ARG002 - elements need no separator
        """Return nothing: an element ends by itself."""
        return ""


def _line(line: str | Link) -> str:
    if isinstance(line, Link):
        return f'<a href="{html.escape(line.url)}">{html.escape(line.label, quote=False)}</a>'
    # Mail readers and sanitisers take such lines, and all below them, for a quotation or a signature.
    if line[:1] == ">" or _SIGNATURE.match(line):
        line = _ZERO_WIDTH_SPACE + line
    return html.escape(line, quote=False)


def _run(body: str, start: int, end: int) -> Iterator[Line]:
    text = body[start:end]
    if text and not text.isspace():
        front, back = len(text) - len(text.lstrip()), len(text) - len(text.rstrip())
        yield Line(start + front, end - back, html.unescape(text.strip()))


def _text(leaf: str) -> str:
    """Return a paragraph's visible text: breaks are white space, other elements are nothing."""
    text = leaf.replace("<br>", " ").replace("<b>", "").replace("</b>", "")
    if "<" in text:
        text = _INLINE.sub("", _BREAK.sub(" ", text))
    return html.unescape(text) if "&" in text else text


class _Open:
    """An open element."""

    __slots__ = ("has_blocks", "start", "tag", "text")

    def __init__(self, tag: str, start: int) -> None:
        self.tag = tag
        self.start = start
        self.text: list[str] = []
        self.has_blocks = False


class _Scanner:
    """Finds the innermost block elements with their text, in HTML as people and sanitisers leave it."""

    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._open: Counter[str] = Counter()

    def scan(self, body: str) -> Iterator[Candidate]:
        position = 0
        for token in _TOKEN.finditer(body):
            if self._stack:
                self._add_text(body[position : token.start()])
            position = token.end()
            leaf = token["leaf"]
            if leaf is not None:
                block = token["block"].lower()
                if self._stack:
                    yield from self._begin(block, token.start())
                yield Candidate(token.start(), [position], [_text(leaf)], block)
                continue
            tag = (token["tag"] or "").lower()
            if tag in _BLOCKS:
                yield from self._block(tag, token)
            elif tag == "br":
                self._add_text(" ")
        self._add_text(body[position:])
        while self._stack:
            yield from self._end(len(body))

    def _add_text(self, text: str) -> None:
        if self._stack and text:
            self._stack[-1].text.append(text)

    def _block(self, tag: str, token: re.Match[str]) -> Iterator[Candidate]:
        if token["close"]:
            if self._open[tag]:
                while self._stack[-1].tag != tag:
                    yield from self._end(token.start())
                yield from self._end(token.end())
            return
        yield from self._begin(tag, token.start())
        if tag not in _VOID:
            self._stack.append(_Open(tag, token.start()))
            self._open[tag] += 1

    def _begin(self, tag: str, start: int) -> Iterator[Candidate]:
        if self._stack:
            # A start tag may end the element before it, which was left open.
            last = self._stack[-1].tag
            if last in _ENDED_BY_A_BLOCK or (last == tag and tag in _ENDED_BY_THEIR_LIKE):
                yield from self._end(start)
        if self._stack:
            self._stack[-1].has_blocks = True

    def _end(self, end: int) -> Iterator[Candidate]:
        element = self._stack.pop()
        self._open[element.tag] -= 1
        if not element.has_blocks:
            yield Candidate(element.start, [end], [html.unescape("".join(element.text))], element.tag)
