"""What a connector may declare of its CRM's authorization server, and what its users then have as credentials."""

from __future__ import annotations

from typing import Any

import pytest

from messagelog.connectors import Connector, Credentials, OAuth

GOOD: dict[str, Any] = {
    "authorization_url": "https://crm.test/authorize?tenant=1",
    "token_url": "https://crm.test/token",
}


def test_two_urls_are_enough() -> None:
    oauth = OAuth(**GOOD)
    assert (oauth.pkce, oauth.scopes, oauth.client_auth, oauth.revocation_url) == (
        True,
        (),
        "client_secret_basic",
        "",
    )


@pytest.mark.parametrize(
    "url", ["http://localhost:1/x", "http://127.0.0.1/x", "http://[::1]:8/x", "https://crm.test"]
)
def test_urls_that_are_safe(url: str) -> None:
    assert OAuth(authorization_url=url, token_url=url, revocation_url=url).token_url == url


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"token_url": "http://crm.test/token"}, "token_url must be an https:// URL: secrets"),
        ({"token_url": ""}, "token_url must be an https:// URL"),
        ({"authorization_url": "crm.test/authorize"}, "authorization_url must be an https:// URL"),
        ({"authorization_url": "ftp://crm.test/"}, "authorization_url must be an https:// URL"),
        ({"revocation_url": "http://crm.test/"}, "revocation_url must be an https:// URL"),
        ({"token_url": "https://crm.test/#x"}, "token_url must hold neither a fragment nor a user"),
        ({"token_url": "https://u:p@crm.test/"}, "token_url must hold neither a fragment nor a user"),
        ({"authorization_url": "https://crm.test/?state=1"}, "state is set by the server"),
        ({"authorization_params": {"redirect_uri": "https://x"}}, "redirect_uri is set by the server"),
        ({"refresh_ahead": -1}, "refresh_ahead must be zero or more seconds"),
    ],
)
def test_what_is_not_safe_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        OAuth(**{**GOOD, **changes})


def test_the_access_token_is_the_bearer() -> None:
    shown = Connector().auth_headers(Credentials(access_token="token", refresh_token="refresh"))
    assert shown == {"Authorization": "Bearer token"}
    assert Connector().auth_headers(Credentials(api_key="key")) == {"Authorization": "Bearer key"}


def test_credentials_show_nothing_when_they_are_printed() -> None:
    printed = repr(Credentials(api_key="k1", access_token="a1", refresh_token="r1", fields={"f": "f1"}))
    assert not [secret for secret in ("k1", "a1", "r1", "f1") if secret in printed]
