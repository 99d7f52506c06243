"""The plugin `redaction`: takes card numbers, social-security numbers and what the operator names out of all texts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from messagelog.messages import change_texts
from messagelog.plugins.cards import mask_cards
from messagelog.plugins.contract import BadPluginSetting, Plugin
from messagelog.plugins.own_patterns import read_patterns
from messagelog.plugins.social_security import mask_social_security

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from messagelog.messages import LogRequest
    from messagelog.plugins.contract import RequestContext
    from messagelog.plugins.own_patterns import OwnPattern

_LENGTHS_OF_CARDS: Final = range(14, 17)


class TooSlow(Exception):
    """A request took longer than redaction may: so many finds, or such a text."""


class Redaction(Plugin):
    """Masks what must not get into a CRM. The answer depends on the text alone.

    It is done without a pause, so that it watches its own time: nothing else runs meanwhile.
    """

    name: ClassVar[str] = "redaction"
    required: ClassVar[bool] = True
    seconds: ClassVar[float] = 2.0

    def __init__(self, settings: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__({key: value for key, value in settings.items() if key != "patterns_file"})
        path = settings.get("patterns_file", "")
        self._patterns: Sequence[OwnPattern] = _patterns_of(Path(path)) if path else ()
        self._clock = clock

    async def on_request(
        self,
        context: RequestContext,  # noqa: ARG002 - whoever writes, a card's number is one
        request: LogRequest,
    ) -> LogRequest:
        """The request with all its texts masked. Raises `TooSlow`."""
        end = self._clock() + self.seconds

        def check_time() -> None:
            if self._clock() > end:
                raise TooSlow

        def masked(text: str) -> str:
            check_time()
            return self._masked(text, check_time)

        return change_texts(request, masked, lambda text: text if _is_id(text) else masked(text))

    def _masked(self, text: str, check_time: Callable[[], None]) -> str:
        text = mask_cards(mask_social_security(text))
        for pattern in self._patterns:
            text = pattern.mask(text, check_time)
        return text


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
