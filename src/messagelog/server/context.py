"""What a server is made of: its settings, and the parts of a running server. A process has one of each."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from messagelog.core import Runtime, Times, UserDirectory
from messagelog.core.admin.retention import RetentionPolicy
from messagelog.core.operators.passwords import Passwords
from messagelog.core.users.settings import Locale, UserSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from messagelog.connectors import Connector
    from messagelog.core.contacts.service import ContactService
    from messagelog.core.delivery.metrics import Metrics
    from messagelog.core.intake.plugins import Plugins
    from messagelog.core.operators.accounts import Operators
    from messagelog.core.users.oauth import OAuthClient
    from messagelog.plugins import Plugin
    from messagelog.server.auth.login_throttle import LoginThrottle
    from messagelog.server.auth.oauth_state import OAuthStates
    from messagelog.server.auth.rate_limit import TokenBuckets
    from messagelog.server.auth.session_tokens import SessionTokens
    from messagelog.storage import CheckedStore, Sealer

ANY_ORIGIN: Final = "*"
"""Any origin."""

REDIRECT_URI: Final = "https://ringcentral.github.io/ringcentral-embeddable/redirect.html"
"""The page on which App Connect's client waits for the user to return from the CRM; newer versions know no other."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The settings of a server, with connectors and plugins loaded."""

    database_url: str = field(repr=False)  # its password is in it
    secret_key: str = field(repr=False)
    """Seals and signs. Former keys are in `old_secret_keys`."""
    connectors: Mapping[str, Connector]
    public_url: str
    times: Times = field(default_factory=Times)
    body_limit: int = 10_000_000
    """Most bytes of the body of `POST /messageLog`."""
    media_hosts: frozenset[str] = frozenset()
    """Hosts that media may be downloaded from."""
    private_hosts: frozenset[str] = frozenset()
    """Hosts, addresses and networks that calls may reach although they are not public, or without TLS."""
    cors_origins: frozenset[str] = frozenset({ANY_ORIGIN})
    requests_per_minute: int = 0
    """Most requests of one user; 0 is no limit."""
    guesses_per_minute: int = 0
    """Most wrong tokens and logins from one address; 0 is no limit."""
    contact_seconds: float = 300.0
    """How long contacts that were found are kept."""
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    locale: Locale = field(default_factory=Locale)
    """Language and time zone of users who have no others."""
    clock: Callable[[], int] | None = None
    """Epoch milliseconds, in place of the database's own clock; for tests."""
    now: Callable[[], float] = time.time
    """Epoch seconds in this process, by which tokens and credentials end; tests set it."""
    jitter: Callable[[], float] = random.random
    """A random number in [0, 1) for the delay of a retry; tests set it."""
    oauth_clients: Mapping[str, OAuthClient] = field(default_factory=dict)
    """Our client ids and secrets at the CRMs' authorization servers, by connector."""
    redirect_uri: str = REDIRECT_URI
    """The page that authorization servers send the user back to."""
    bare_state: bool = False
    """Whether the client's own, unsigned OAuth state is accepted."""
    refused_logs_as_text: bool = False
    """Whether a refused log is answered with a text, which clients older than the newest show."""
    access_log: bool = False
    """Whether each answer is written as a log line."""
    metrics_token: str = field(default="", repr=False)
    """The token that `GET /metrics` needs; without one it is open."""
    passwords: Callable[[], Passwords] = Passwords
    """Hashes and verifies operators' passwords; tests use cheap hashes."""
    old_secret_keys: tuple[str, ...] = field(default=(), repr=False)
    """Keys that were in use before `secret_key`, and still open and verify what they sealed and signed."""
    plugins: Sequence[Plugin] = ()
    """They see each request, in this order."""
    required_plugins: frozenset[str] = frozenset()
    """Plugins that must succeed: if one fails, nothing of the request is logged."""


@dataclass(frozen=True, slots=True)
class AppContext:
    """The parts of a running server. RingCentral's ids are hashed with `account_key`."""

    config: ServerConfig
    store: CheckedStore
    runtime: Runtime
    users: UserDirectory
    tokens: SessionTokens
    states: OAuthStates
    contacts: ContactService
    plugins: Plugins | None
    settings: UserSettings
    metrics: Metrics
    requests: TokenBuckets
    guesses: TokenBuckets
    sealer: Sealer
    operators: Operators
    throttle: LoginThrottle
    account_key: bytes = field(repr=False)
