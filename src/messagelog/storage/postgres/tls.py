"""TLS to PostgreSQL: a server on another machine has to prove that it is the one that the URL names.

By default libpq encrypts only if the server offers that, and checks no certificate. Anyone on the way could read the
password and the journal.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

VERIFIED: Final = "verify-full"
"""The one `sslmode` that checks the certificate and whose it is."""

_SYSTEM: Final = "system"
_PLACES: Final = ("host", "hostaddr", "service")

_USER: Final = re.compile(r"[a-z]+://(?:[^@/]*@)?")

# Where systems keep the roots that they trust, if Python's own OpenSSL does not know: Debian and Alpine; Fedora; SUSE;
# BSD and macOS. psycopg's wheel brings an OpenSSL that looks at none of these.
_ROOTS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def with_tls(url: str) -> str:
    """Return a PostgreSQL URL that says how its server is checked: by name, unless the URL says something else.

    The URL of a server on this machine, at loopback or a socket, stays as it is.
    """
    said = conninfo_to_dict(url)
    if _is_local(said):
        return url
    more = {}
    if "sslmode" not in said:
        more["sslmode"] = VERIFIED
    if said.get("sslrootcert", _SYSTEM) == _SYSTEM:
        more["sslrootcert"] = _system_roots()
    if "gssencmode" not in said:
        more["gssencmode"] = "disable"  # it would come before TLS, and is not asked whose it is
    return _with_query(url, more)


def weak_mode(url: str) -> str | None:
    """Return the `sslmode` of a URL, if it does not check the server and the server is not on this machine."""
    try:
        said = conninfo_to_dict(url)
    except ProgrammingError:  # it cannot be read: opening it raises the error
        return None
    mode = str(said.get("sslmode", VERIFIED))
    return None if mode == VERIFIED or _is_local(said) else mode


def _is_local(said: Mapping[str, Any]) -> bool:
    """Return whether all hosts that are named are this machine. A service file is not read."""
    found = {name: str(said.get(name) or os.environ.get(f"PG{name.upper()}", "")) for name in _PLACES}
    if found["service"] and not (found["host"] or found["hostaddr"]):
        return False
    hosts = [each for name in ("host", "hostaddr") for each in found[name].split(",")]
    return all(map(_is_local_host, hosts))


def _is_local_host(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _system_roots() -> str:
    """Return the file of the roots that this system trusts; if there is none, libpq has to look for it."""
    known = (ssl.get_default_verify_paths().cafile, *_ROOTS)
    return next((path for path in known if path and Path(path).is_file()), _SYSTEM)


def _with_query(url: str, more: Mapping[str, str]) -> str:
    """Return the URL with these parameters in place of its own of the same names."""
    # As libpq reads it: a password, before the first `@`, may hold a question mark.
    user = _USER.match(url)
    end = user.end() if user else 0
    place, _, query = url[end:].partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0] not in more]
    said = [f"{name}={quote(value, safe='')}" for name, value in more.items()]
    return f"{url[:end]}{place}?{'&'.join(kept + said)}"
