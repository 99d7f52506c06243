"""How a connector declares that its users sign in with OAuth 2: a value on the class, and nothing else to write."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OURS: Final = frozenset(
    {
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
    }
)


class ClientAuth(enum.StrEnum):
    """How we authenticate at the CRM's token endpoint; the names are those of its metadata (RFC 8414)."""

    BASIC = "client_secret_basic"  # in the Authorization header
    POST = "client_secret_post"  # in the form
    NONE = "none"  # a public client has no secret: its id in the form


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """A CRM's authorization server, for the authorization-code grant (RFC 6749, with PKCE as in RFC 7636).

    `scopes` are joined by blanks; a CRM that wants commas gets them in one scope. `revocation_url` (RFC 7009) is
    asked when a user signs out. `authorization_params` are added to the authorization URL, such as Google's
    `access_type: offline`. `refresh_ahead` is how many seconds before its end an access token is replaced. Client id
    and secret are the operator's, from the server's settings. Raises `ValueError` for URLs that are not safe.
    """

    authorization_url: str
    token_url: str
    revocation_url: str = ""
    scopes: tuple[str, ...] = ()
    pkce: bool = True
    client_auth: ClientAuth = ClientAuth.BASIC
    authorization_params: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    refresh_ahead: float = 120.0

    def __post_init__(self) -> None:
        for name in ("authorization_url", "token_url"):
            _check_url(name, getattr(self, name))
        if self.revocation_url:
            _check_url("revocation_url", self.revocation_url)
        taken = {name for name, _ in parse_qsl(urlsplit(self.authorization_url).query)}
        taken.update(self.authorization_params)
        if clash := sorted(taken & _OURS):
            raise ValueError(f"authorization_params: {clash[0]} is set by the server")
        if self.refresh_ahead < 0:
            raise ValueError("refresh_ahead must be zero or more seconds")


def _check_url(name: str, url: str) -> None:
    """Check a URL that gets codes, tokens and the client's secret: over HTTPS, or to this machine."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise ValueError(f"{name} must be an https:// URL")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError(f"{name} must be an https:// URL: secrets would travel in the clear")
    if parts.fragment or parts.username is not None:
        raise ValueError(f"{name} must hold neither a fragment nor a user")
