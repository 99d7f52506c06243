"""What a CRM's sanitiser does to HTML: a model of Odoo's, held to what the real one was seen doing."""

import html
import re
from html.parser import HTMLParser

_VOID = {"br", "hr", "img"}
_QUOTED = re.compile(r">|-- ?$")
_KEPT_STYLES = {"color"}


def sanitise(body: str) -> str:
    """The body as it is stored, with attributes and styles sanitised."""
    sanitiser = _Sanitiser()
    sanitiser.feed(body)
    sanitiser.close()
    text = "".join(sanitiser.written)
    return text if sanitiser.elements else f"<span>{text}</span>"


class _Sanitiser(HTMLParser):
    """Drops scripts, handlers, `data-*` and most styles; marks what reads like a quotation of an earlier mail."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.elements = 0
        self._open: list[int] = []
        self._in_script = False
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._end_of_text()
        if tag == "script":
            self._in_script = True
            return
        self.elements += 1
        kept = "".join(_attribute(name, value or "") for name, value in attrs)
        self.written.append(f"<{tag}{kept}>")
        if tag == "blockquote":
            self._mark(len(self.written) - 1, ' data-o-mail-quote-node="1" data-o-mail-quote="1"')
        elif tag == "br" and self._open and "data-o-mail-quote" in self.written[self._open[-1]]:
            self._mark(len(self.written) - 1)
        if tag not in _VOID:
            self._open.append(len(self.written) - 1)

    def handle_endtag(self, tag: str) -> None:
        self._end_of_text()
        if tag == "script":
            self._in_script = False
            return
        self.written.append(f"</{tag}>")
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._in_script:
            self._text.append(data)

    def handle_comment(self, data: str) -> None:
        self._end_of_text()
        self.written.append(f"<!--{data}-->")

    def close(self) -> None:
        super().close()
        self._end_of_text()

    def _end_of_text(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        if _QUOTED.match(text) and self._open:
            self._mark(self._open[-1])
        self.written.append(html.escape(text, quote=False))

    def _mark(self, index: int, mark: str = ' data-o-mail-quote="1"') -> None:
        self.written[index] = f"{self.written[index][:-1]}{mark}>"


def _attribute(name: str, value: str) -> str:
    if name.startswith(("on", "data-")):
        return ""
    if name == "href" and not value.startswith(("https:", "http:", "mailto:")):
        value = ""
    if name == "style":
        styles = [style for style in value.split(";") if style.partition(":")[0].strip() in _KEPT_STYLES]
        value = ";".join(styles)
    return f' {name}="{html.escape(value)}"'
