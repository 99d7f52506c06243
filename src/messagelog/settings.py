"""The settings of a server: `MESSAGELOG_*` in the environment. Each problem is one sentence."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from messagelog.connectors import ClientAuth, Connector
from messagelog.connectors.loading import BadConnector, load_connector
from messagelog.connectors.outbound import NamedHosts
from messagelog.core import Times
from messagelog.core.admin.retention import RetentionPolicy
from messagelog.core.contacts.phone_numbers import is_country
from messagelog.core.intake.plugin_loading import BadPlugins, find_installed_plugins, load_plugins
from messagelog.core.users.oauth import OAuthClient
from messagelog.core.users.settings import Locale, is_language, is_zone
from messagelog.core.users.tenants import has_many_hosts
from messagelog.errors import MessagelogError
from messagelog.server.asgi.cors import is_origin
from messagelog.server.context import ANY_ORIGIN, REDIRECT_URI
from messagelog.server.manifest_validation import manifest_problems
from messagelog.storage.urls import weak_mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.plugins import Plugin

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9]")
_SECRET_CHARACTERS: Final = 32
_SECRET_DISTINCT: Final = 10
_EXPECTED: Final = {int: "a whole number", float: "a number", bool: "true or false"}
_FLAGS: Final = {
    **dict.fromkeys(("true", "1", "yes", "y", "on", "t"), True),
    **dict.fromkeys(("false", "0", "no", "n", "off", "f"), False),
}
_NO_FRACTION: Final = re.compile(r"\.0+\Z")
_HIGHEST_PORT: Final = 65_535
_MOST_DAYS: Final = 36_500


class BadSettings(MessagelogError):
    """The settings do not let a server start; each argument is a sentence that says why."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence for each problem."""
        return tuple(str(argument) for argument in self.args)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of `messagelog serve`; each name in upper case after `MESSAGELOG_`.

    Times are in seconds. `connectors` are names of built-in connectors or `package.module:Class`, with commas. Client
    ids and secrets of OAuth have names with the connector's in them: see `oauth_clients`.
    """

    database_url: str = ""
    secret_key: str = ""
    old_secret_keys: str = ""
    public_url: str = ""
    connectors: str = ""
    host: str = "127.0.0.1"
    port: int = 8787
    body_limit: int = 10_000_000
    answer_seconds: float = 12.0
    call_seconds: float = 20.0
    lease_seconds: float = 45.0
    sweep_seconds: float = 1.0
    drain_seconds: float = 25.0
    contact_seconds: float = 300.0
    text_days: float = 30.0
    row_days: float = 0.0
    language: str = "en"
    timezone: str = "UTC"
    country: str = ""
    media_hosts: str = ""
    private_hosts: str = ""
    cors_origins: str = ANY_ORIGIN
    requests_per_minute: int = 0
    guesses_per_minute: int = 0
    trusted_proxies: str = ""
    database_insecure: bool = False
    demo_crm_url: str = ""
    oauth_redirect_uri: str = REDIRECT_URI
    oauth_bare_state: bool = False
    refused_logs_as_text: bool = False
    access_log: bool = False
    metrics_token: str = ""
    plugins: str = ""
    required_plugins: str = ""

    def __repr__(self) -> str:
        """Show no value: some are secrets, and one may be in the wrong place."""
        return "Settings(…)"

    @property
    def old_secrets(self) -> tuple[str, ...]:
        """The former secret keys."""
        keys = self.old_secret_keys.split(",")
        return tuple(secret.strip() for secret in keys if secret.strip())

    @property
    def times(self) -> Times:
        """The times as the runtime takes them."""
        return Times(
            answer=self.answer_seconds,
            call=self.call_seconds,
            lease=self.lease_seconds,
            sweep=self.sweep_seconds,
            drain=self.drain_seconds,
        )

    @property
    def retention(self) -> RetentionPolicy:
        """How long texts of messages that are not logged, and rows of finished ones, are kept."""
        return RetentionPolicy(text_days=self.text_days, row_days=self.row_days)

    @property
    def reached_hosts(self) -> frozenset[str]:
        """The private hosts that may be reached: those that are named, and the demo's CRM."""
        demo = _split_url(self.demo_crm_url)
        return names(self.private_hosts) | ({demo.hostname} if demo and demo.hostname else frozenset())

    @property
    def locale(self) -> Locale:
        """The language, the zone and the country of users without any of their own."""
        return Locale(self.language, self.timezone, self.country)


def read_settings() -> Settings:
    """Return the settings of the environment; `BadSettings` when a value has the wrong type."""
    settings, problems = readable_settings()
    if problems:
        raise BadSettings(*problems)
    return settings


def readable_settings() -> tuple[Settings, list[str]]:
    """Return the settings of the environment that have the right type, and a sentence for each other one."""
    given = {name.upper(): value for name, value in os.environ.items()}
    values: dict[str, Any] = {}
    problems = []
    for field in msgspec.structs.fields(Settings):
        name = f"MESSAGELOG_{field.name.upper()}"
        if name not in given:
            continue
        try:
            values[field.name] = _convert(given[name], field.type)
        except ValueError:
            # The value is not quoted: it may be a secret in the wrong place.
            problems.append(f"{name}: expected {_EXPECTED[field.type]}.")
    return Settings(**values), problems


def _convert(text: str, type_: type) -> str | int | float | bool:
    """Return a text as a value of this type, in any spelling that Python reads; `ValueError` when it is not one."""
    if type_ is str:
        return text
    text = text.strip()
    if type_ is not bool:
        return int(_NO_FRACTION.sub("", text)) if type_ is int else float(text)
    if (flag := _FLAGS.get(text.lower())) is None:
        raise ValueError
    return flag


def validate_for_database(settings: Settings) -> str:
    """Return the database URL; `BadSettings` when there is none, or of an unknown kind."""
    problems = _database_problems(settings)
    if problems:
        raise BadSettings(*problems)
    return settings.database_url


def validate_for_keys(settings: Settings) -> str:
    """Return the database URL, with safe secret keys beside it; `BadSettings` with every problem otherwise."""
    problems = [*_database_problems(settings), *_secret_problems(settings)]
    if problems:
        raise BadSettings(*problems)
    return settings.database_url


def validate_for_serving(settings: Settings) -> dict[str, Connector]:
    """Return the connectors if the settings are complete and safe; `BadSettings` with every problem otherwise."""
    connectors, problems = examine_for_serving(settings)
    if problems:
        raise BadSettings(*problems)
    return connectors


def examine_for_serving(settings: Settings) -> tuple[dict[str, Connector], list[str]]:
    """Return the loaded connectors by name, and a sentence for each problem that keeps a server from starting."""
    connectors, connector_problems = _connectors(settings)
    try:
        oauth_clients(connectors)
    except BadSettings as error:
        connector_problems += error.sentences
    try:
        plugins(settings)
    except BadSettings as error:
        connector_problems += error.sentences
    of_manifest = [
        *_url_problems(settings.public_url),
        *_redirect_problems(settings.oauth_redirect_uri),
        *connector_problems,
    ]
    problems = [
        *_database_problems(settings),
        *_secret_problems(settings),
        *of_manifest,
        *_number_problems(settings),
        *_edge_problems(settings),
        *_locale_problems(settings),
    ]
    if not of_manifest:
        problems += [f"The manifest: {each}" for each in _manifest_problems(settings, connectors)]
    return connectors, problems


def validate_for_moving(settings: Settings) -> tuple[str, dict[str, Connector]]:
    """Return the database URL and the connectors, which know which host a user's `hostname` stands for."""
    connectors, connector_problems = _connectors(settings)
    problems = [*_database_problems(settings), *connector_problems]
    if problems:
        raise BadSettings(*problems)
    return settings.database_url, connectors


def validate_for_manifest(settings: Settings) -> dict[str, Connector]:
    """Return the connectors if a manifest can be made of the settings; `BadSettings` with every problem otherwise."""
    connectors, connector_problems = _connectors(settings)
    problems = [
        *_url_problems(settings.public_url),
        *_redirect_problems(settings.oauth_redirect_uri),
        *connector_problems,
    ]
    problems = problems or _manifest_problems(settings, connectors)
    if problems:
        raise BadSettings(*problems)
    return connectors


def oauth_clients(connectors: Mapping[str, Connector]) -> dict[str, OAuthClient]:
    """Return our OAuth clients for these connectors, from the environment; `BadSettings` when one is missing.

    For a connector `ticket-crm`: `MESSAGELOG_OAUTH_TICKET_CRM_CLIENT_ID` and `…_CLIENT_SECRET`.
    """
    clients: dict[str, OAuthClient] = {}
    owners: dict[str, str] = {}
    problems: list[str] = []
    for name, connector in connectors.items():
        if connector.oauth is None:
            continue
        prefix = oauth_prefix(name)
        if (other := owners.setdefault(prefix, name)) != name:
            problems.append(f"The connectors {other} and {name} cannot have OAuth clients apart: rename one.")
        client_id, secret = os.environ.get(f"{prefix}ID", ""), os.environ.get(f"{prefix}SECRET", "")
        if not client_id:
            problems.append(f"{prefix}ID is missing: the users of {name} sign in with OAuth.")
        if not secret and connector.oauth.client_auth is not ClientAuth.NONE:
            problems.append(f"{prefix}SECRET is missing: the users of {name} sign in with OAuth.")
        clients[name] = OAuthClient(client_id, secret)
    if problems:
        raise BadSettings(*problems)
    return clients


def oauth_prefix(connector: str) -> str:
    """Return the prefix of the settings of a connector's OAuth client."""
    return f"MESSAGELOG_OAUTH_{_NOT_IN_NAMES.sub('_', connector).upper()}_CLIENT_"


def plugins(settings: Settings) -> tuple[Plugin, ...]:
    """Return the named plugins, with their settings from the environment; `BadSettings` when one cannot be made."""
    wanted = [name.strip() for name in settings.plugins.split(",") if name.strip()]
    try:
        return load_plugins(wanted, names(settings.required_plugins), os.environ, find_installed_plugins())
    except BadPlugins as error:
        raise BadSettings(*error.args) from error


def _connectors(settings: Settings) -> tuple[dict[str, Connector], list[str]]:
    """Return the connectors by name, and the problems of the setting that names them."""
    connectors: dict[str, Connector] = {}
    problems: list[str] = []
    specs = [spec.strip() for spec in settings.connectors.split(",") if spec.strip()]
    if not specs:
        problems.append(
            "MESSAGELOG_CONNECTORS is missing: name at least one connector, such as package.module:Class."
        )
    for spec in specs:
        try:
            connector = load_connector(spec, demo_crm_url=settings.demo_crm_url)
        except BadConnector as error:
            problems.append(str(error))
        else:
            if connector.name in connectors:
                problems.append(f"MESSAGELOG_CONNECTORS names two connectors called {connector.name}.")
            if not (connector.base_url or has_many_hosts(connector) or connector.checks_host):
                problems.append(
                    f"The connector {connector.name} names no host of its CRM: it needs base_url or base_url_for, or"
                    " checks_host = True where it asks its CRM with a client of its own."
                )
            connectors[connector.name] = connector
    return connectors, problems


def _database_problems(settings: Settings) -> list[str]:
    url = settings.database_url
    if not url:
        return [
            "MESSAGELOG_DATABASE_URL is missing: set it to sqlite:///FILE or postgresql://USER@HOST/DATABASE."
        ]
    if not url.startswith(("sqlite:///", "postgresql://", "postgres://")):
        return ["MESSAGELOG_DATABASE_URL must begin with sqlite:/// or postgresql://."]
    if url in {"sqlite:///", "sqlite:///:memory:"}:
        return ["MESSAGELOG_DATABASE_URL must name a file: what is in memory is lost with the process."]
    if not settings.database_insecure and (mode := weak_mode(url)) is not None:
        unsafe = f"with sslmode={mode} the server that gets the password is not verified"
        remedy = "Leave sslmode out, or set MESSAGELOG_DATABASE_INSECURE=true where the network is trusted."
        return [f"MESSAGELOG_DATABASE_URL is unsafe: {unsafe}. {remedy}"]
    return []


def _secret_problems(settings: Settings) -> list[str]:
    secret, old = settings.secret_key, settings.old_secrets
    if not secret:
        return [
            "MESSAGELOG_SECRET_KEY is missing: set it to a random text, such as `openssl rand -hex 32` prints."
        ]
    unsafe = (
        f"it needs at least {_SECRET_CHARACTERS} random characters, such as `openssl rand -hex 32` prints."
    )
    problems = []
    if not _is_strong(secret):
        problems.append(f"MESSAGELOG_SECRET_KEY is unsafe: {unsafe}")
    if not all(map(_is_strong, old)):
        problems.append(
            f"MESSAGELOG_OLD_SECRET_KEYS holds a key that is unsafe: {unsafe} A key may hold no comma."
        )
    if secret in old:
        problems.append("MESSAGELOG_OLD_SECRET_KEYS holds MESSAGELOG_SECRET_KEY: name each key once.")
    elif len(set(old)) < len(old):
        problems.append("MESSAGELOG_OLD_SECRET_KEYS holds a key twice: name each key once.")
    return problems


def _is_strong(secret: str) -> bool:
    return len(secret) >= _SECRET_CHARACTERS and len(set(secret)) >= _SECRET_DISTINCT


def _url_problems(url: str) -> list[str]:
    if not url:
        return [
            "MESSAGELOG_PUBLIC_URL is missing: set it to the URL at which the client reaches this server."
        ]
    parts = _split_url(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return ["MESSAGELOG_PUBLIC_URL must be an https:// URL."]
    if parts.username is not None or parts.query or parts.fragment:
        return ["MESSAGELOG_PUBLIC_URL must hold no user, query or fragment: it is shown to everybody."]
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        return [
            "MESSAGELOG_PUBLIC_URL is unsafe: tokens would travel in the clear. Use https://, or loopback."
        ]
    return []


def _redirect_problems(url: str) -> list[str]:
    parts = _split_url(url)
    if parts is None or not parts.hostname or parts.scheme not in {"http", "https"}:
        return ["MESSAGELOG_OAUTH_REDIRECT_URI must be an https:// URL."]
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        return ["MESSAGELOG_OAUTH_REDIRECT_URI is unsafe: codes would travel in the clear. Use https://."]
    if parts.query or parts.fragment:
        return ["MESSAGELOG_OAUTH_REDIRECT_URI must hold neither a query nor a fragment."]
    return []


def _split_url(url: str) -> SplitResult | None:
    """Return the parts of a URL; None when it is not one."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # urlsplit checks the port when it is read
    except ValueError:
        return None
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _manifest_problems(settings: Settings, connectors: Mapping[str, Connector]) -> list[str]:
    return manifest_problems(connectors, settings.public_url, settings.oauth_redirect_uri)


def _number_problems(settings: Settings) -> list[str]:
    problems = []
    for name in ("answer_seconds", "call_seconds", "lease_seconds", "sweep_seconds", "drain_seconds"):
        value = getattr(settings, name)
        if not math.isfinite(value) or value <= 0:
            problems.append(f"MESSAGELOG_{name.upper()} must be a number of seconds above zero.")
    if not problems:
        try:
            _ = settings.times
        except ValueError as error:
            problems.append(f"MESSAGELOG_LEASE_SECONDS is too short: {error}.")
    if not math.isfinite(settings.contact_seconds) or settings.contact_seconds < 0:
        problems.append("MESSAGELOG_CONTACT_SECONDS must be a number of seconds, or 0.")
    for name in ("text_days", "row_days"):
        days = getattr(settings, name)
        if not math.isfinite(days) or not 0 <= days <= _MOST_DAYS:
            problems.append(f"MESSAGELOG_{name.upper()} must be a number of days, or 0 for no limit.")
    problems += [
        f"MESSAGELOG_{name.upper()} must be a number, or 0 for no limit."
        for name in ("requests_per_minute", "guesses_per_minute")
        if getattr(settings, name) < 0
    ]
    if settings.body_limit <= 0:
        problems.append("MESSAGELOG_BODY_LIMIT must be a number of bytes above zero.")
    if not 0 <= settings.port <= _HIGHEST_PORT:
        problems.append(f"MESSAGELOG_PORT must be a number from 0 to {_HIGHEST_PORT}.")
    return problems


def _edge_problems(settings: Settings) -> list[str]:
    """Return the problems of the settings of origins, private hosts and proxies."""
    problems = []
    origins = names(settings.cors_origins)
    if not origins or not all(map(is_origin, origins)):
        problems.append(
            "MESSAGELOG_CORS_ORIGINS must be origins as browsers send them, such as chrome-extension://ID, or *."
        )
    try:
        NamedHosts(settings.reached_hosts)
    except ValueError as error:
        problems.append(f"MESSAGELOG_PRIVATE_HOSTS: {error}.")
    if not all(map(_is_network, names(settings.trusted_proxies))):
        problems.append("MESSAGELOG_TRUSTED_PROXIES must be addresses or networks, such as 127.0.0.1.")
    return problems


def _is_network(text: str) -> bool:
    try:
        return ipaddress.ip_network(text).prefixlen > 0
    except ValueError:
        return False


def _locale_problems(settings: Settings) -> list[str]:
    problems = []
    if not is_language(settings.language):
        problems.append("MESSAGELOG_LANGUAGE must be a language, such as en or pt-BR.")
    if not is_zone(settings.timezone):
        problems.append("MESSAGELOG_TIMEZONE must be an IANA time zone, such as Europe/Berlin.")
    if settings.country and not is_country(settings.country):
        problems.append(
            "MESSAGELOG_COUNTRY must be a country of ISO 3166 in two capital letters, such as US."
        )
    return problems


def names(text: str) -> frozenset[str]:
    """Return the comma-separated names in a text."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())
