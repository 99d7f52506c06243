"""Puts the parts together: database, sealing, connectors, runtime. One assembly is one process's server."""

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
"""Where App Connect's client waits for the user to come back from the CRM; its newer versions know no other place."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a server is made of.

    `old_secret_keys` are those of before `secret_key`, which still open what they sealed and signed.
    `private_hosts` are the hosts, addresses and networks that calls may reach although they are not public, or in the
    clear. `requests_per_minute` are each user's, `guesses_per_minute` each address's with a wrong token or login; 0 is
    without end. `contact_seconds` is how long contacts that were found are kept, `kept` how long all the rest is;
    `locale` is the operator's language and zone for users who say nothing else. `oauth_clients` are who we are at
    the CRMs' authorization servers, by connector; those send the user back to `redirect_uri`. `bare_state` allows
    the client's own, unsigned state. `refused_logs_as_text` answers a log that was refused with a text that clients
    before the newest show. `access_log` writes a line for each answer. `plugins` see each request, in this order;
    without the work of the `required_plugins` nothing is logged. With a `metrics_token` nobody reads the metrics
    without it. In tests, `clock` (epoch milliseconds) stands in for the database's own
    clock, and `now` (epoch seconds) for this process's, by which tokens and credentials end; `luck` is where in its
    time each retry lies, from 0 up to 1. `passwords` makes and checks the hashes of operators' passwords; the
    tests' are cheap.
    """

    database_url: str = field(repr=False)  # its password is in it
    secret_key: str = field(repr=False)
    connectors: Mapping[str, Connector]
    public_url: str
    times: Times = field(default_factory=Times)
    body_limit: int = 10_000_000
    media_hosts: frozenset[str] = frozenset()
    private_hosts: frozenset[str] = frozenset()
    cors_origins: frozenset[str] = frozenset({ANY_ORIGIN})
    requests_per_minute: int = 0
    guesses_per_minute: int = 0
    contact_seconds: float = 300.0
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    locale: Locale = field(default_factory=Locale)
    clock: Callable[[], int] | None = None
    now: Callable[[], float] = time.time
    jitter: Callable[[], float] = random.random
    oauth_clients: Mapping[str, OAuthClient] = field(default_factory=dict)
    redirect_uri: str = REDIRECT_URI
    bare_state: bool = False
    refused_logs_as_text: bool = False
    access_log: bool = False
    metrics_token: str = field(default="", repr=False)
    passwords: Callable[[], Passwords] = Passwords
    old_secret_keys: tuple[str, ...] = field(default=(), repr=False)
    plugins: Sequence[Plugin] = ()
    required_plugins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AppContext:
    """The parts of a running server. `account_key` is what RingCentral's ids are hashed with."""

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
