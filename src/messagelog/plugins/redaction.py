"""The plugin `redaction`: masks card numbers, social-security numbers and the operator's own patterns in all texts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from messagelog.errors import MessagelogError
from messagelog.messages import change_form, change_names, change_texts
from messagelog.plugins.cards import mask_cards
from messagelog.plugins.contract import BadPluginSetting, Plugin, Refused
from messagelog.plugins.own_patterns import mask_patterns, read_patterns
from messagelog.plugins.social_security import mask_social_security
from messagelog.plugins.visible import as_number

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from messagelog.messages import LogRequest
    from messagelog.plugins.contract import ContactForm, RequestContext
    from messagelog.plugins.own_patterns import OwnPattern

_LENGTHS_OF_CARDS: Final = range(14, 17)
_LONGEST_ID: Final = 40
"""The most characters of an answer that are read to tell a card's number from an id."""

LONGEST_TEXT: Final = 50_000
"""The most characters of one text, which is searched without a pause: a tenth of a second if all are digits. Messages
are less than a hundredth of it."""

AT_ONCE: Final = 10_000
"""The characters after which the event loop gets a turn. Nearly every request has fewer, and never waits."""

_TOO_LONG: Final = (
    f"Nothing was logged: a text has more than {LONGEST_TEXT:,} characters, too many to redact."
)


class TooSlow(MessagelogError):
    """A request took longer than redaction may: it has too many matches or texts."""


class Rule(Protocol):
    """Masks numbers of one kind in a text. A second call changes nothing."""

    def __call__(self, text: str, *, in_line: bool) -> str:
        """Return the masked text. `in_line`: the text is shown in one line."""


_Text = tuple[str, bool]
"""A text, and whether it is shown in one line."""


class Redaction(Plugin):
    """Masks what must not reach a CRM. The result depends on the text alone.

    A text is masked without a pause, so its length is limited; between texts the event loop gets a turn (`pause`), and
    the time limit is checked. `rules` mask every text before the operator's patterns do.
    """

    name: ClassVar[str] = "redaction"
    required: ClassVar[bool] = True
    seconds: ClassVar[float] = 2.0

    def __init__(
        self,
        settings: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
        rules: Sequence[Rule] = (mask_social_security, mask_cards),
    ) -> None:
        super().__init__(
            {key: value for key, value in settings.items() if key not in {"patterns_file", "names"}}
        )
        path = settings.get("patterns_file", "")
        self._patterns: Sequence[OwnPattern] = _patterns_of(Path(path)) if path else ()
        names = settings.get("names", "false")
        if names not in {"true", "false"}:
            raise BadPluginSetting("names: expected true or false.")
        self._names = names == "true"
        self._clock = clock
        self._pause = pause
        self._rules = rules

    async def on_request(
        self,
        context: RequestContext,  # noqa: ARG002 - a card's number is one in every user's request
        request: LogRequest,
    ) -> LogRequest:
        """Return the request with all its texts masked. Raises `TooSlow`, and `Refused` for a text that is too long."""
        texts = _Texts()
        self._map_texts(request, texts.collect)
        masked = await self._mask(texts)
        return self._map_texts(request, lambda text: masked[text])

    async def on_contact(
        self,
        context: RequestContext,  # noqa: ARG002 - as above
        form: ContactForm,
    ) -> ContactForm:
        """Return the form of a new contact with its answers masked like a request's; its name only by the setting."""
        texts = _Texts()
        self._map_form(form, texts.collect)
        masked = await self._mask(texts)
        return self._map_form(form, lambda text: masked[text])

    def _map_texts(self, request: LogRequest, change: Callable[[_Text], str]) -> LogRequest:
        changed = change_texts(
            request, lambda text: change((text, False)), _in_form(change), lambda text: change((text, True))
        )
        return change_names(changed, lambda name: change((name, True))) if self._names else changed

    def _map_form(self, form: ContactForm, change: Callable[[_Text], str]) -> ContactForm:
        answers = change_form(form.additional_submission, _in_form(change))
        return replace(
            form, name=change((form.name, True)) if self._names else form.name, additional_submission=answers
        )

    async def _mask(self, texts: _Texts) -> dict[_Text, str]:
        end = self._clock() + self.seconds

        def check_time() -> None:
            if self._clock() > end:
                raise TooSlow

        masked: dict[_Text, str] = {}
        since_pause = 0
        for text, in_line in texts.all:
            check_time()
            if since_pause + len(text) > AT_ONCE:
                await self._pause()
                since_pause = 0
            since_pause += len(text)
            clean = text
            for rule in self._rules:
                clean = rule(clean, in_line=in_line)
            if self._patterns:
                clean = mask_patterns(clean, self._patterns, check_time, in_line=in_line)
            masked[text, in_line] = clean
        return masked


class _Texts:
    """The texts to be masked, each once."""

    def __init__(self) -> None:
        self.all: dict[_Text, None] = {}

    def collect(self, text: _Text) -> str:
        """Collect a text, and return it unchanged. Raises `Refused` when it is too long."""
        if len(text[0]) > LONGEST_TEXT:
            raise Refused(_TOO_LONG)
        self.all[text] = None
        return text[0]


def _in_form(change: Callable[[_Text], str]) -> Callable[[str], str]:
    """Return the change of a form's answer, which leaves ids as they are."""
    return lambda answer: answer if _is_id(answer) else change((answer, False))


def _is_id(answer: str) -> bool:
    """Return whether an answer of the form is more likely a choice's id in the CRM than typed text.

    Ids of CRMs are often only digits, some with as many as a rare card's: to change one would lose the choice.
    """
    if not answer.isalnum():
        return False
    shown = as_number(answer[:_LONGEST_ID]).text
    return not (shown.isdecimal() and len(shown) in _LENGTHS_OF_CARDS)


def _patterns_of(path: Path) -> Sequence[OwnPattern]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPluginSetting(f"patterns_file: {path} cannot be read: {type(error).__name__}.") from None
    try:
        return read_patterns(text)
    except BadPluginSetting as error:
        raise BadPluginSetting(f"patterns_file: {path}: {error}") from None
