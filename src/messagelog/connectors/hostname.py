"""What a host's name is. Connectors put it into URLs, so that anything more would change whom they speak to."""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 253
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)


def is_hostname(text: str) -> bool:
    """Whether a text is the name of a host, or an IPv4 address, as URLs have it: no port, no path, no user."""
    return len(text) <= _LONGEST and _NAME.fullmatch(text) is not None
