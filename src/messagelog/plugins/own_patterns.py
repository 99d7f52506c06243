"""The operator's own patterns: read from a file, and matched in linear time.

RE2 matches in a time that grows with the text alone, whatever the pattern is. It has no lookaround and no
backreferences; Python's own `re` has both, and can be kept busy for years by thirty characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import re2

from messagelog.plugins.contract import BadPluginSetting
from messagelog.plugins.visible import as_read, as_written, overwrite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

_LINE: Final = re.compile(r"(?P<name>[A-Za-z][\w -]{0,39}?)\s*=\s*(?P<regex>.+)", re.ASCII)
_LARGEST: Final = 8 << 20


class OwnPattern(NamedTuple):
    """A pattern; its matches are replaced by its name, in brackets."""

    name: str
    regex: Any


class _Find(NamedTuple):
    start: int
    end: int
    name: str


def mask_patterns(
    text: str, patterns: Sequence[OwnPattern], check_time: Callable[[], None], *, in_line: bool = False
) -> str:
    """Return the text with all matches replaced; of overlapping ones, the name of the first is used.

    They are tried on the visible text, and on the same in plain characters: full-width digits as ASCII, a line below a
    letter left out. `check_time` is called between any two matches, and may raise. `in_line`: the text is shown in one
    line.
    """
    written, read = as_written(text, in_line=in_line), as_read(text, in_line=in_line)
    finds: list[_Find] = []
    for seen in (written,) if written.text == read.text else (written, read):
        for pattern in patterns:
            check_time()
            for match in pattern.regex.finditer(seen.text):
                check_time()
                if match.end() > match.start():
                    finds.append(_Find(*seen.place(match.start(), match.end()), pattern.name))
    return overwrite(text, [((each.start, each.end), f"[{each.name}]") for each in _merge(finds)])


def _merge(finds: Iterable[_Find]) -> list[_Find]:
    joined: list[_Find] = []
    for find in sorted(finds, key=lambda each: (each.start, -each.end)):
        if joined and find.start < joined[-1].end:
            joined[-1] = joined[-1]._replace(end=max(joined[-1].end, find.end))
        else:
            joined.append(find)
    return joined


def read_patterns(text: str) -> Sequence[OwnPattern]:
    """Return the patterns of a file: `name = regular expression` on each line; lines that begin with `#` are comments.

    Raises `BadPluginSetting` with the line.
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
        patterns[match["name"]] = OwnPattern(match["name"], _compile(match["regex"], number))
    return tuple(patterns.values())


def _compile(regex: str, number: int) -> Any:
    options = re2.Options()
    options.log_errors = False  # our own errors report them
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
