"""`messagelog serve` refuses missing and unsafe settings: in sentences, without a traceback or a secret."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING, ClassVar

import pytest

from messagelog.connectors import ClientAuth, Connector, OAuth
from messagelog.connectors.loading import BadConnector, load_connector
from messagelog.core.users.oauth import OAuthClient
from messagelog.settings import (
    BadSettings,
    Settings,
    names,
    oauth_clients,
    plugins,
    read_settings,
    validate_for_serving,
)
from messagelog.storage.database import migrate
from support.cli_process import COMMAND, CommandResult, command

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
GOOD = {
    "MESSAGELOG_DATABASE_URL": "sqlite:////nowhere/at-all.sqlite",
    "MESSAGELOG_SECRET_KEY": SECRET,
    "MESSAGELOG_PUBLIC_URL": "https://log.example.com",
    "MESSAGELOG_CONNECTORS": "demo",
    "MESSAGELOG_DEMO_CRM_URL": "http://127.0.0.1:8788/demo-crm/api",
}


def serve(**changes: str) -> CommandResult:
    """Run `messagelog serve` with good settings and these changes; empty ones are left out."""
    settings = {**GOOD, **{f"MESSAGELOG_{name}": value for name, value in changes.items()}}
    return command("serve", env={name: value for name, value in settings.items() if value})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "PLUGINS",
            "redaction,other",
            "MESSAGELOG_PLUGINS: no plugin other is installed; there are: redaction.",
        ),
        ("REQUIRED_PLUGINS", "redaction", "MESSAGELOG_REQUIRED_PLUGINS names redaction, which "),
        ("CONTACT_SECONDS", "-1", "MESSAGELOG_CONTACT_SECONDS must be a number of seconds, or 0."),
        ("CONTACT_SECONDS", "nan", "MESSAGELOG_CONTACT_SECONDS must be a number of seconds, or 0."),
        ("LANGUAGE", "English!", "MESSAGELOG_LANGUAGE must be a language, such as en or pt-BR."),
        (
            "COUNTRY",
            "usa",
            "MESSAGELOG_COUNTRY must be a country of ISO 3166 in two capital letters, such as US.",
        ),
        ("TIMEZONE", "Mars", "MESSAGELOG_TIMEZONE must be an IANA time zone, such as Europe/Berlin."),
        ("DATABASE_URL", "", "MESSAGELOG_DATABASE_URL is missing: "),
        (
            "DATABASE_URL",
            "mysql://root:hidden@host/db",
            "MESSAGELOG_DATABASE_URL must begin with sqlite:/// or ",
        ),
        ("DATABASE_URL", "sqlite:///", "MESSAGELOG_DATABASE_URL must name a file: "),
        ("DATABASE_URL", "sqlite:///:memory:", "MESSAGELOG_DATABASE_URL must name a file: "),
        (
            "DATABASE_URL",
            "sqlite:////nowhere/hidden",
            "The database does not exist yet: run `messagelog migrate`.",
        ),
        ("SECRET_KEY", "", "MESSAGELOG_SECRET_KEY is missing: "),
        ("SECRET_KEY", "hidden", "MESSAGELOG_SECRET_KEY is unsafe: it needs at least 32 random characters"),
        ("SECRET_KEY", "hiddenhidden" * 5, "MESSAGELOG_SECRET_KEY is unsafe: "),
        ("PUBLIC_URL", "", "MESSAGELOG_PUBLIC_URL is missing: "),
        (
            "PUBLIC_URL",
            "http://log.example.com",
            "MESSAGELOG_PUBLIC_URL is unsafe: tokens would travel in the clear.",
        ),
        ("PUBLIC_URL", "ftp://log.example.com", "MESSAGELOG_PUBLIC_URL must be an https:// URL."),
        ("PUBLIC_URL", "log.example.com", "MESSAGELOG_PUBLIC_URL must be an https:// URL."),
        ("PUBLIC_URL", "https://[::1", "MESSAGELOG_PUBLIC_URL must be an https:// URL."),
        ("PUBLIC_URL", "https://host:port", "MESSAGELOG_PUBLIC_URL must be an https:// URL."),
        (
            "PUBLIC_URL",
            "https://user:hidden@host",
            "MESSAGELOG_PUBLIC_URL must hold no user, query or fragment: ",
        ),
        ("CONNECTORS", "", "MESSAGELOG_CONNECTORS is missing: "),
        ("CONNECTORS", " , ", "MESSAGELOG_CONNECTORS is missing: "),
        (
            "CONNECTORS",
            "pipedrive",
            "MESSAGELOG_CONNECTORS: pipedrive is neither a built-in connector nor package.",
        ),
        (
            "CONNECTORS",
            "no.such.module:X",
            "MESSAGELOG_CONNECTORS: no.such.module:X cannot be loaded: No module named",
        ),
        ("CONNECTORS", "json:NoSuchClass", "MESSAGELOG_CONNECTORS: json:NoSuchClass cannot be loaded: "),
        (
            "CONNECTORS",
            "json:JSONDecoder",
            "MESSAGELOG_CONNECTORS: json:JSONDecoder is not a Connector with a name.",
        ),
        ("CONNECTORS", "json:loads", "MESSAGELOG_CONNECTORS: json:loads cannot be made: TypeError at "),
        ("CONNECTORS", "demo,demo", "MESSAGELOG_CONNECTORS names two connectors called demo."),
        ("DEMO_CRM_URL", "", "MESSAGELOG_DEMO_CRM_URL is missing: "),
        ("DEMO_CRM_URL", "127.0.0.1:8788", "MESSAGELOG_DEMO_CRM_URL must be an http:// or https:// URL: "),
        (
            "PRIVATE_HOSTS",
            "https://crm.test",
            "MESSAGELOG_PRIVATE_HOSTS: https://crm.test is neither a host name",
        ),
        ("PRIVATE_HOSTS", "0.0.0.0/0", "MESSAGELOG_PRIVATE_HOSTS: 0.0.0.0/0 would be every host there is."),
        (
            "CORS_ORIGINS",
            "https://client.test/",
            "MESSAGELOG_CORS_ORIGINS must be origins as browsers send them",
        ),
        ("CORS_ORIGINS", ",", "MESSAGELOG_CORS_ORIGINS must be origins"),
        ("TRUSTED_PROXIES", "*", "MESSAGELOG_TRUSTED_PROXIES must be addresses or networks"),
        ("TRUSTED_PROXIES", "0.0.0.0/0", "MESSAGELOG_TRUSTED_PROXIES must be addresses or networks"),
        ("REQUESTS_PER_MINUTE", "-1", "MESSAGELOG_REQUESTS_PER_MINUTE must be a number, or 0 for no limit."),
        ("GUESSES_PER_MINUTE", "-1", "MESSAGELOG_GUESSES_PER_MINUTE must be a number, or 0 for no limit."),
        (
            "DATABASE_URL",
            "postgresql://u:hidden@db.test/db?sslmode=require",
            "MESSAGELOG_DATABASE_URL is unsafe: with sslmode=require the server that gets the password is not verified",
        ),
        ("PORT", "hidden", "MESSAGELOG_PORT: expected a whole number."),
        ("PORT", "70000", "MESSAGELOG_PORT must be a number from 0 to 65535."),
        ("BODY_LIMIT", "0", "MESSAGELOG_BODY_LIMIT must be a number of bytes above zero."),
        ("ANSWER_SECONDS", "0", "MESSAGELOG_ANSWER_SECONDS must be a number of seconds above zero."),
        ("CALL_SECONDS", "nan", "MESSAGELOG_CALL_SECONDS must be a number of seconds above zero."),
        ("SWEEP_SECONDS", "-1", "MESSAGELOG_SWEEP_SECONDS must be a number of seconds above zero."),
        ("LEASE_SECONDS", "20", "MESSAGELOG_LEASE_SECONDS is too short: "),
        ("OAUTH_REDIRECT_URI", "redirect.html", "MESSAGELOG_OAUTH_REDIRECT_URI must be an https:// URL."),
        (
            "OAUTH_REDIRECT_URI",
            "http://a.test/",
            "MESSAGELOG_OAUTH_REDIRECT_URI is unsafe: codes would travel",
        ),
        (
            "OAUTH_REDIRECT_URI",
            "https://a.test/?hidden",
            "MESSAGELOG_OAUTH_REDIRECT_URI must hold neither a query",
        ),
        ("OAUTH_BARE_STATE", "hidden", "MESSAGELOG_OAUTH_BARE_STATE: expected true or false."),
        ("SWEEP_SECONDS", "1,5", "MESSAGELOG_SWEEP_SECONDS: expected a number."),
    ],
)
def test_a_setting_that_is_missing_or_unsafe(name: str, value: str, sentence: str) -> None:
    done = serve(**{name: value})
    assert done.code == 2
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith(sentence)
    assert "hidden" not in line
    assert SECRET not in line


def test_all_that_is_wrong_is_said_at_once() -> None:
    done = command("serve")
    assert done.code == 2
    assert [line.split()[0] for line in done.err.splitlines()] == [
        "MESSAGELOG_DATABASE_URL",
        "MESSAGELOG_SECRET_KEY",
        "MESSAGELOG_PUBLIC_URL",
        "MESSAGELOG_CONNECTORS",
    ]


def test_a_process_that_refuses_ends_with_2_and_prints_no_traceback() -> None:
    ended = subprocess.run([COMMAND, "serve"], env={}, capture_output=True, check=False, text=True)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("MESSAGELOG_DATABASE_URL is missing: ")
    assert "Traceback" not in ended.stderr


class Quoting(Connector):
    """A connector whose error quotes its configuration."""

    name: ClassVar[str] = "quoting"

    def __init__(self) -> None:
        raise ValueError("hidden")


def test_a_connector_that_cannot_be_made_is_not_quoted() -> None:
    with pytest.raises(BadConnector) as refused:
        load_connector(f"{__name__}:Quoting")
    sentence = str(refused.value)
    assert "ValueError at " in sentence
    assert "hidden" not in sentence


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8787",
        "http://127.0.0.1",
        "http://[::1]:8787/",
        "https://host/path",
        "https://[fe80::1]",
    ],
)
def test_public_urls_that_are_safe(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**GOOD, "MESSAGELOG_PUBLIC_URL": url}.items():
        monkeypatch.setenv(name, value)
    assert list(validate_for_serving(read_settings())) == ["demo"]


class Granting(Connector):
    """A CRM whose users sign in with OAuth."""

    name: ClassVar[str] = "ticket-crm.eu"
    base_url = "https://crm.test/api"
    oauth = OAuth(authorization_url="https://crm.test/authorize", token_url="https://crm.test/token")


class GrantingInPublic(Granting):
    """The same, for a client without a secret."""

    name: ClassVar[str] = "public"
    oauth = OAuth(
        authorization_url="https://crm.test/authorize",
        token_url="https://crm.test/token",
        client_auth=ClientAuth.NONE,
    )


class Alike(Granting):
    """A connector whose name is another one's in a setting's name."""

    name: ClassVar[str] = "ticket_crm-eu"


def test_oauth_clients_are_read_by_the_names_of_their_connectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESSAGELOG_OAUTH_TICKET_CRM_EU_CLIENT_ID", "client-1")
    monkeypatch.setenv("MESSAGELOG_OAUTH_TICKET_CRM_EU_CLIENT_SECRET", "hidden")
    monkeypatch.setenv("MESSAGELOG_OAUTH_PUBLIC_CLIENT_ID", "client-2")
    clients = oauth_clients({each.name: each for each in (Granting(), GrantingInPublic())})
    assert clients == {"ticket-crm.eu": OAuthClient("client-1", "hidden"), "public": OAuthClient("client-2")}
    assert "hidden" not in repr(clients)


def test_an_oauth_client_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**GOOD, "MESSAGELOG_CONNECTORS": f"{__name__}:Granting"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as refused:
        validate_for_serving(read_settings())
    assert refused.value.sentences == (
        "MESSAGELOG_OAUTH_TICKET_CRM_EU_CLIENT_ID is missing: the users of ticket-crm.eu sign in with OAuth.",
        "MESSAGELOG_OAUTH_TICKET_CRM_EU_CLIENT_SECRET is missing: the users of ticket-crm.eu sign in with OAuth.",
    )


class Nowhere(Connector):
    """A connector that names no host of its CRM, and asks it with a client of its own."""

    name: ClassVar[str] = "nowhere"


class Checking(Nowhere):
    """The same, with its own check of hosts."""

    name: ClassVar[str] = "checking"
    checks_host = True


class Asking(Nowhere):
    """A connector whose users name their CRM's host."""

    name: ClassVar[str] = "asking"

    def base_url_for(self, hostname: str) -> str:
        return f"https://{hostname}/api"


def test_a_connector_has_to_say_where_its_crm_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    named = ",".join(f"{__name__}:{each}" for each in ("Checking", "Asking"))
    monkeypatch.setenv("MESSAGELOG_CONNECTORS", named)
    assert set(validate_for_serving(read_settings())) == {"checking", "asking"}
    monkeypatch.setenv("MESSAGELOG_CONNECTORS", f"{named},{__name__}:Nowhere")
    with pytest.raises(BadSettings) as refused:
        validate_for_serving(read_settings())
    (sentence,) = refused.value.sentences
    assert sentence.startswith("The connector nowhere names no host of its CRM: it needs base_url")


def test_two_connectors_whose_oauth_clients_would_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESSAGELOG_OAUTH_TICKET_CRM_EU_CLIENT_ID", "client-1")
    monkeypatch.setenv("MESSAGELOG_OAUTH_TICKET_CRM_EU_CLIENT_SECRET", "hidden")
    with pytest.raises(BadSettings, match="cannot have OAuth clients apart"):
        oauth_clients({each.name: each for each in (Granting(), Alike())})


@pytest.mark.parametrize("name", ["serve", "migrate", "logs"])
def test_a_database_that_nobody_checks_has_to_be_asked_for(name: str) -> None:
    env = {
        **GOOD,
        "MESSAGELOG_DATABASE_URL": "postgresql://u:hidden@192.0.2.1:9/db?sslmode=disable&hostaddr=127.0.0.1",
    }
    refused = command(name, env=env)
    assert refused.code == 2
    assert refused.err.startswith("MESSAGELOG_DATABASE_URL is unsafe: with sslmode=disable ")
    done = command(name, env={**env, "MESSAGELOG_DATABASE_INSECURE": "true"})
    assert done.err.startswith("The database cannot be used (08001: ")
    assert "hidden" not in refused.err + done.err


def test_the_hosts_that_may_be_reached_are_those_that_are_named() -> None:
    assert Settings().reached_hosts == frozenset()
    named = Settings(private_hosts=" crm.test, 10.0.0.0/8", demo_crm_url="http://127.0.0.1:8788/demo-crm/api")
    assert named.reached_hosts == {"crm.test", "10.0.0.0/8", "127.0.0.1"}


@pytest.mark.parametrize(
    ("text", "value"),
    [(" 8000 ", 8000), ("8000.0", 8000), ("0", 0), ("8_000", 8000), ("+80", 80), ("0080", 80)],
)
def test_numbers_as_people_write_them(text: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("messagelog_port", text)
    assert read_settings().port == value


@pytest.mark.parametrize(
    ("text", "value"), [(".5", 0.5), ("5.", 5.0), ("+1", 1.0), ("1e1", 10.0), ("02", 2.0)]
)
def test_fractions_as_people_write_them(text: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESSAGELOG_SWEEP_SECONDS", text)
    assert read_settings().sweep_seconds == value


@pytest.mark.parametrize("name", ["PORT", "SWEEP_SECONDS", "DATABASE_INSECURE"])
def test_bytes_that_are_no_text_are_refused_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MESSAGELOG_{name}", os.fsdecode(b"1\xff"))
    with pytest.raises(BadSettings, match=f"MESSAGELOG_{name}: expected "):
        read_settings()


@pytest.mark.parametrize("text", ["true", "True", "1", "yes", "Y", "on", "t"])
def test_true_as_people_write_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESSAGELOG_OAUTH_BARE_STATE", text)
    assert read_settings().oauth_bare_state is True


@pytest.mark.parametrize("text", ["false", "FALSE", "0", "no", "n", "off", "f"])
def test_false_as_people_write_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESSAGELOG_DATABASE_INSECURE", text)
    assert read_settings().database_insecure is False


def test_no_secret_is_shown_with_the_settings() -> None:
    settings = Settings(secret_key=SECRET, database_url="postgresql://u:hidden@host/db")
    assert SECRET not in repr(settings)
    assert "hidden" not in repr(settings)


def test_names_in_a_text_with_commas() -> None:
    assert names(" a.test, b.test:8080,,") == frozenset({"a.test", "b.test:8080"})


# ------------------------------------------------------------------------------------------ databases


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hidden@127.0.0.1:9/db",
        "postgresql://u:hid:den@h@127.0.0.1:x/db",
        "postgres://:hidden@/?",
    ],
)
@pytest.mark.parametrize("name", ["serve", "migrate", "logs"])
def test_a_database_that_does_not_answer(name: str, url: str) -> None:
    done = command(name, env={**GOOD, "MESSAGELOG_DATABASE_URL": url})
    assert done.code == 2
    assert done.err.startswith("The database cannot be used (")
    assert "hid" not in done.err


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are notes, and no database at all" * 50)
    done = serve(DATABASE_URL=f"sqlite:///{file}")
    assert done.code == 2
    assert done.err == (
        "The database cannot be used (SQLITE_NOTADB: file is not a database). It is damaged: restore a backup.\n"
    )


def test_a_database_without_our_schema_is_told_how_to_get_it(tmp_path: Path) -> None:
    file = tmp_path / "empty.sqlite"
    file.touch()
    env = {**GOOD, "MESSAGELOG_DATABASE_URL": f"sqlite:///{file}"}
    refused = command("serve", env=env)
    assert (refused.code, refused.err) == (
        2,
        "The database has no schema yet: run `messagelog migrate`.\n",
    )
    for _ in range(2):
        done = command("migrate", env=env)
        assert (done.code, done.out) == (0, "The database is up to date.\n")
    assert command("logs", env=env).code == 0


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'messagelog.sqlite'}"
    migrate(url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = serve(DATABASE_URL=url, PORT=port)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"Cannot listen at 127.0.0.1:{port}: Address already in use.")
        for name in ("demo", "demo-crm"):
            done = command(name, "--port", port, "--data", str(tmp_path / "new"))
            assert done.code == 2
            assert "--port" in done.err


@pytest.mark.parametrize("host", ["no.such.host.invalid", "1.2.3.4", "a..b"])
def test_a_host_that_is_not_ours(host: str, tmp_path: Path) -> None:
    done = command("demo", "--host", host, "--port", "0", "--data", str(tmp_path))
    assert done.code == 2
    assert done.err.startswith(f"Cannot listen at {host}:0: ")


@pytest.mark.parametrize("name", ["demo", "demo-crm"])
def test_a_folder_that_cannot_be_made(name: str, tmp_path: Path) -> None:
    file = tmp_path / "a-file"
    file.touch()
    done = command(name, "--port", "0", "--data", str(file / "data"))
    assert done.code == 2
    assert (
        done.err
        == f"The folder {file / 'data'} cannot be made: Not a directory. Choose another one with --data.\n"
    )


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_a_port_that_is_none(port: str) -> None:
    assert command("demo", "--port", port).code == 2


def test_plugins_are_made_with_their_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MESSAGELOG_PLUGINS", " redaction ,")
    assert [each.name for each in plugins(read_settings())] == ["redaction"]
    path = tmp_path / "patterns"
    path.write_text("account = (", "utf-8")
    monkeypatch.setenv("MESSAGELOG_PLUGIN_REDACTION_PATTERNS_FILE", str(path))
    with pytest.raises(
        BadSettings, match=r"^The plugin redaction: patterns_file: .*: line 1: not a regular "
    ):
        plugins(read_settings())
    monkeypatch.setenv("MESSAGELOG_PLUGINS", "")
    assert plugins(read_settings()) == ()
