"""The operator's own patterns: read from a file, and matched in a time that a text cannot stretch.

RE2 matches in a time that grows with the text alone, whatever the pattern is. It has no lookaround and no
backreferences; Python's own `re` has both, and can be kept busy for years by thirty characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import re2

from messagelog.plugins.contract import BadPluginSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_LINE: Final = re.compile(r"(?P<name>[A-Za-z][\w -]{0,39}?)\s*=\s*(?P<regex>.+)", re.ASCII)
_LARGEST: Final = 8 << 20


class OwnPattern(NamedTuple):
    """What it finds is replaced by its name, in brackets."""

    name: str
    regex: Any

    def mask(self, text: str, check_time: Callable[[], None]) -> str:
        """The text with all that it finds replaced; `check_time` is called between any two finds, and may raise."""

        def replacement(_match: object) -> str:
            check_time()
            return f"[{self.name}]"

        masked: str = self.regex.sub(replacement, text)
        return masked


def read_patterns(text: str) -> Sequence[OwnPattern]:
    """The patterns of a file: `name = regular expression` on each line; those with `#` in front are comments.

    Raises `BadPluginSetting`, which names the line.
    """
    patterns: dict[str, OwnPattern] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise BadPluginSetting(f"line {number}: expected `name = regular expression`.")
        if match["name"] in patterns:
            raise BadPluginSetting(f"line {number}: there is another pattern called {match['name']}.")
        patterns[match["name"]] = OwnPattern(match["name"], _compiled(match["regex"], number))
    return tuple(patterns.values())


def _compiled(regex: str, number: int) -> Any:
    options = re2.Options()
    options.log_errors = False  # they are ours to tell
    options.max_mem = _LARGEST
    try:
        compiled = re2.compile(regex, options)
    except re2.error as error:
        (told,) = error.args
        why = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        raise BadPluginSetting(f"line {number}: not a regular expression of RE2: {why}.") from None
    if compiled.search("") is not None:
        raise BadPluginSetting(f"line {number}: it matches where nothing is written.")
    return compiled
