"""The plugin `redaction`: takes card numbers, social-security numbers and what the operator names out of all texts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from messagelog.messages import change_texts
from messagelog.plugins.cards import mask_cards
from messagelog.plugins.contract import BadPluginSetting, Plugin, Refused
from messagelog.plugins.own_patterns import read_patterns
from messagelog.plugins.social_security import mask_social_security

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from messagelog.messages import LogRequest
    from messagelog.plugins.contract import RequestContext
    from messagelog.plugins.own_patterns import OwnPattern

_LENGTHS_OF_CARDS: Final = range(14, 17)

LONGEST_TEXT: Final = 50_000
"""Characters of one text, which is looked through without a pause: a tenth of a second, where all of them are digits.
No message is a hundredth of it."""

AT_ONCE: Final = 10_000
"""Characters after which the event loop has its turn. Nearly every request has fewer, and never waits."""

_TOO_LONG: Final = (
    f"Nothing was logged: a text has more than {LONGEST_TEXT:,} characters, too many to redact."
)


class TooSlow(Exception):
    """A request took longer than redaction may: so many finds, or so many texts."""


class Redaction(Plugin):
    """Masks what must not get into a CRM. The answer depends on the text alone.

    A text is masked without a pause, so its length is limited; between texts the event loop has its turn (`pause`),
    and time is watched. `rules` are what masks every text, before the operator's patterns do.
    """

    name: ClassVar[str] = "redaction"
    required: ClassVar[bool] = True
    seconds: ClassVar[float] = 2.0

    def __init__(
        self,
        settings: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
        rules: Sequence[Callable[[str], str]] = (mask_social_security, mask_cards),
    ) -> None:
        super().__init__({key: value for key, value in settings.items() if key != "patterns_file"})
        path = settings.get("patterns_file", "")
        self._patterns: Sequence[OwnPattern] = _patterns_of(Path(path)) if path else ()
        self._clock = clock
        self._pause = pause
        self._rules = rules

    async def on_request(
        self,
        context: RequestContext,  # noqa: ARG002 - whoever writes, a card's number is one
        request: LogRequest,
    ) -> LogRequest:
        """The request with all its texts masked. Raises `TooSlow`, and `Refused` for a text that is too long."""
        end = self._clock() + self.seconds

        def check_time() -> None:
            if self._clock() > end:
                raise TooSlow

        masked: dict[str, str] = {}
        since_pause = 0
        for text in _texts_of(request):
            check_time()
            if since_pause + len(text) > AT_ONCE:
                await self._pause()
                since_pause = 0
            since_pause += len(text)
            masked[text] = self._masked(text, check_time)
        return change_texts(request, masked.__getitem__, lambda text: text if _is_id(text) else masked[text])

    def _masked(self, text: str, check_time: Callable[[], None]) -> str:
        for rule in self._rules:
            text = rule(text)
        for pattern in self._patterns:
            text = pattern.mask(text, check_time)
        return text


def _texts_of(request: LogRequest) -> Sequence[str]:
    """The texts that are to be masked, each once. Raises `Refused` when one is too long."""
    found: dict[str, None] = {}

    def look(text: str) -> str:
        if len(text) > LONGEST_TEXT:
            raise Refused(_TOO_LONG)
        found[text] = None
        return text

    change_texts(request, look, lambda text: text if _is_id(text) else look(text))
    return tuple(found)


def _is_id(answer: str) -> bool:
    """Whether an answer of the form is more likely what stands for a choice in the CRM than what somebody typed.

    Ids of CRMs are digits alone as well, some with as many as a rare card: to change one would be to lose the choice.
    """
    return answer.isalnum() and not (answer.isdecimal() and len(answer) in _LENGTHS_OF_CARDS)


def _patterns_of(path: Path) -> Sequence[OwnPattern]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPluginSetting(f"patterns_file: {path} cannot be read: {type(error).__name__}.") from None
    try:
        return read_patterns(text)
    except BadPluginSetting as error:
        raise BadPluginSetting(f"patterns_file: {path}: {error}") from None
