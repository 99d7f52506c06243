"""What a host's name is, and when two are the same.

Connectors put a name into URLs, so anything more than a name could change whom they speak to; hosts tell tenants apart.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import yarl

_LONGEST: Final = 253
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}


def is_hostname(text: str) -> bool:
    """Return whether a text is a host name or an IPv4 address, as in URLs: no port, no path, no user."""
    return len(text) <= _LONGEST and _NAME.fullmatch(text) is not None


def normal_hostname(text: str) -> str | None:
    """Return a host name in the one spelling that is compared; None if it is anything more.

    Upper case, a dot at the end and letters that are not ASCII (IDNA) make no other name.
    """
    name = text
    if not text.isascii():
        try:
            name = yarl.URL.build(scheme="https", host=text).raw_host or ""
        except ValueError:
            return None
    name = name.lower().removesuffix(".")
    return name if is_hostname(name) else None


def host_of(url: str) -> str:
    """Return a URL's scheme, host and port as one text, such as `https://crm.example.com` or `http://10.0.0.1:8069`.

    It is the same for every spelling of the URL; the scheme's usual port is left out. Raises `ValueError` unless it is
    an http:// or https:// URL with a host.
    """
    parts = yarl.URL(url)
    host = (parts.raw_host or "").lower().removesuffix(".")
    if parts.scheme not in _PORTS or not (is_hostname(host) or _is_ipv6(host)):
        raise ValueError("expected an http:// or https:// URL with a host")
    shown = f"[{host}]" if ":" in host else host
    port = "" if parts.port == _PORTS[parts.scheme] else f":{parts.port}"
    return f"{parts.scheme}://{shown}{port}"


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6  # noqa: PLR2004 - the version that is asked for
    except ValueError:
        return False
