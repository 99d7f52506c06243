"""Files of settings, names that belong to no setting, and `messagelog config check`, which reports all problems."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from messagelog.__main__ import _serve_options
from messagelog.environment import load_env_file, unknown_names
from messagelog.settings import BadSettings, read_settings, validate_for_serving
from messagelog.storage.database import migrate
from support.cli_process import command, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
GOOD = {
    "MESSAGELOG_DATABASE_URL": "sqlite:////nowhere/at-all.sqlite",
    "MESSAGELOG_SECRET_KEY": SECRET,
    "MESSAGELOG_PUBLIC_URL": "https://log.example.com",
    "MESSAGELOG_CONNECTORS": "demo",
    "MESSAGELOG_DEMO_CRM_URL": "http://127.0.0.1:8788/demo-crm/api",
}


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Provide an environment without settings, and restore it after the test."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("MESSAGELOG_")]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


def write_settings(folder: Path, text: str) -> Path:
    file = folder / "settings.env"
    file.write_text(text, "utf-8")
    return file


def lines(settings: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


# ------------------------------------------------------------------------------------------------ files


def test_what_a_file_may_hold(tmp_path: Path) -> None:
    text = """\
# A comment, and an empty line

TEST_PLAIN=p@ss/w:rd#1 # a comment behind a blank
export TEST_EXPORTED = yes
TEST_QUOTED='a # b $HOME'
TEST_DOUBLE="two\\nlines"
TEST_EMPTY=
TEST_URL=postgresql://u:${PASSWORD}@host/db?x=y
"""
    expected = {
        "TEST_PLAIN": "p@ss/w:rd#1",
        "TEST_EXPORTED": "yes",
        "TEST_QUOTED": "a # b $HOME",
        "TEST_DOUBLE": "two\nlines",
        "TEST_EMPTY": "",
        "TEST_URL": "postgresql://u:${PASSWORD}@host/db?x=y",
    }
    load_env_file(write_settings(tmp_path, text))
    assert {name: os.environ.get(name) for name in expected} == expected


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    os.environ["TEST_A"] = "environment"
    load_env_file(write_settings(tmp_path, "TEST_A=file"))
    assert os.environ["TEST_A"] == "environment"


def test_lines_that_say_nothing_are_named(tmp_path: Path) -> None:
    file = write_settings(tmp_path, "TEST_A=1\nMESSAGELOG_SECRET_KEY\n\nTEST_B='open\nhidden 1\n")
    with pytest.raises(BadSettings) as refused:
        load_env_file(file)
    assert refused.value.sentences[0] == f"The settings file {file}, line 2: expected NAME=value."
    assert len(refused.value.sentences) > 1
    assert not any("hidden" in sentence for sentence in refused.value.sentences)
    assert "TEST_A" not in os.environ, "nothing of it is used"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"TEST_A=\xff", "is not UTF-8 text"),
        (b"TEST_A=a\0b", "line 1: expected NAME=value"),
        (None, "cannot be read: No such"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, told: str) -> None:
    file = tmp_path / "settings.env"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadSettings, match=told):
        load_env_file(file)
    done = command("--env-file", str(file), "logs")
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_every_command_reads_the_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    file = str(write_settings(tmp_path, lines({**GOOD, "MESSAGELOG_DATABASE_URL": url})))
    assert command("--env-file", file, "migrate").code == 0
    for arguments in (("logs",), ("keys", "list"), ("manifest",), ("config", "check", "--database")):
        done = command("--env-file", file, *arguments)
        assert (done.code, done.err) == (0, ""), arguments
        done = command(*arguments, env={"MESSAGELOG_ENV_FILE": file})
        assert (done.code, done.err) == (0, ""), arguments
        assert command(*arguments).code == 2


async def test_a_server_reads_its_file_and_its_port(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    migrate(url)
    settings = {
        **GOOD,
        "MESSAGELOG_DATABASE_URL": url,
        "MESSAGELOG_PORT": "70000",
        "MESSAGELOG_BODY_LIMT": SECRET,
    }
    file = write_settings(tmp_path, lines(settings))
    refused = await asyncio.to_thread(command, "serve", "--env-file", str(file))
    assert refused.err == "MESSAGELOG_PORT must be a number from 0 to 65535.\n"
    file.write_text(lines({**settings, "MESSAGELOG_PORT": "1"}), "utf-8")
    env = {"PYTHONPROFILEIMPORTTIME": "1"}
    with running(tmp_path, "serve", "--port", "0", f"--env-file={file}", env=env) as server:
        (text,) = (await server.wait_for_output("messagelog serves demo at 127.0.0.1:")).splitlines()
        assert not text.endswith((":1", ":0"))
        await server.end(signal.SIGTERM)
    said = server.err.read_text()
    assert "messagelog.environment" in said
    assert "messagelog.cli" not in said, "it keeps no command line in its memory"
    (told,) = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert (told["event"], told["name"]) == ("unknown_setting", "MESSAGELOG_BODY_LIMT")
    assert told["meant"] == "MESSAGELOG_BODY_LIMIT"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["serve"], {}),
        (["serve", "--port", "8000"], {"--port": "8000"}),
        (["serve", "--env-file=a=b", "--port=0"], {"--env-file": "a=b", "--port": "0"}),
        (["serve", "--port"], None),
        (["serve", "--port", "http"], None),
        (["serve", "--port", "65536"], None),
        (["serve", "--help"], None),
        (["serve", "now"], None),
        (["--env-file", "x", "serve"], None),
        (["logs"], None),
        ([], None),
    ],
)
def test_what_is_plainly_a_server(arguments: list[str], options: dict[str, str] | None) -> None:
    assert _serve_options(arguments) == options


def test_options_of_serve_that_are_none() -> None:
    for arguments in (("--port", "http"), ("--port",), ("--prt", "1")):
        assert command("serve", *arguments).code == 2


# ------------------------------------------------------------------------------------- names, and the check


def check(*arguments: str, **changes: str) -> list[str]:
    """Return the output of `messagelog config check` with good settings and these changes; empty ones are left out."""
    settings = {**GOOD, **changes}
    done = command(
        "config", "check", *arguments, env={name: value for name, value in settings.items() if value}
    )
    assert done.code == (2 if done.err else 0)
    assert SECRET not in done.out + done.err
    return (done.out + done.err).splitlines()


def test_good_settings() -> None:
    assert check() == ["The settings are good. --database asks it as well."]


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = check(
        MESSAGELOG_DATABASE_URL="",
        MESSAGELOG_PORT="http",
        MESSAGELOG_TIMEZONE="Mars",
        MESSAGELOG_PUBLIC_URL="http://log.example.com",
        MESSAGELOG_PLUGINS="other",
        MESSAGELOG_CONNECTORS="demo,no_such_module:Crm",
        MESSAGELOG_LANGAUGE="en",
    )
    marks = [
        "MESSAGELOG_PORT: expected a whole number.",
        "MESSAGELOG_DATABASE_URL is missing",
        "MESSAGELOG_PUBLIC_URL is unsafe",
        "MESSAGELOG_CONNECTORS: no_such_module:Crm cannot be loaded",
        "MESSAGELOG_PLUGINS: no plugin other is installed",
        "MESSAGELOG_TIMEZONE must be an IANA time zone",
        "MESSAGELOG_LANGAUGE is not a setting: did you mean MESSAGELOG_LANGUAGE?",
    ]
    assert len(said) == len(marks)
    for sentence, mark in zip(said, marks, strict=True):
        assert sentence.startswith(mark)


def test_a_server_says_all_at_once_too() -> None:
    done = command("serve", env={**GOOD, "MESSAGELOG_PORT": "http", "MESSAGELOG_TIMEZONE": "Mars"})
    assert [line.split()[0] for line in done.err.splitlines()] == ["MESSAGELOG_PORT:", "MESSAGELOG_TIMEZONE"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MESSAGELOG_DATABASE", "is not a setting: did you mean MESSAGELOG_DATABASE_URL?"),
        ("messagelog_tet_days", "is not a setting: did you mean MESSAGELOG_TEXT_DAYS?"),
        ("MESSAGELOG_XYZ", "is not a setting."),
        (
            "MESSAGELOG_PLUGIN_REDACTION_PATTERNS_FILE",
            "is a setting of no plugin that MESSAGELOG_PLUGINS names.",
        ),
        ("MESSAGELOG_OAUTH_DEMO_CLIENT_ID", "is not a setting."),
        ("MESSAGELOG_OAUTH_REDIRECT_URL", "is not a setting: did you mean MESSAGELOG_OAUTH_REDIRECT_URI?"),
    ],
)
def test_names_that_are_no_settings(name: str, told: str) -> None:
    assert check(**{name: SECRET}) == [f"{name} {told}"]


CONNECTOR = """
from messagelog.connectors import Connector, OAuth


class TicketCrm(Connector):
    name = "ticket-crm"
    base_url = "https://crm.test/api"
    oauth = OAuth(authorization_url="https://crm.test/authorize", token_url="https://crm.test/token")
"""


def test_settings_of_connectors_and_plugins_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checked_ticket_crm.py").write_text(CONNECTOR)
    monkeypatch.syspath_prepend(tmp_path)
    os.environ.update(GOOD)
    os.environ["MESSAGELOG_CONNECTORS"] = "checked_ticket_crm:TicketCrm"
    os.environ["MESSAGELOG_OAUTH_TICKET_CRM_CLIENT_ID"] = "client"
    os.environ["MESSAGELOG_OAUTH_TICKET_CRM_CLIENT_SECRET"] = "hidden"
    os.environ["MESSAGELOG_PLUGINS"] = "redaction"
    read = read_settings()
    connectors = validate_for_serving(read)
    os.environ["MESSAGELOG_PLUGIN_REDACTION_LABEL"] = "which the plugin itself may refuse"
    os.environ["MESSAGELOG_ENV_FILE"] = "settings.env"
    assert unknown_names(read, connectors) == []
    os.environ["MESSAGELOG_OAUTH_TICKETCRM_CLIENT_ID"] = "hidden"
    (unknown,) = unknown_names(read, connectors)
    assert str(unknown) == (
        "MESSAGELOG_OAUTH_TICKETCRM_CLIENT_ID is not a setting:"
        " did you mean MESSAGELOG_OAUTH_TICKET_CRM_CLIENT_ID?"
    )
    assert unknown_names(read, {}) == [], "of a connector that cannot be loaded it is not known which it has"


def test_the_database_is_asked_where_that_is_wanted(tmp_path: Path) -> None:
    assert check("--database") == ["The database does not exist yet: run `messagelog migrate`."]
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    migrate(url)
    assert check("--database", MESSAGELOG_DATABASE_URL=url) == ["The settings let a server start."]
    other = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
    (locked, remedy) = check("--database", MESSAGELOG_DATABASE_URL=url, MESSAGELOG_SECRET_KEY=other)
    assert locked.startswith("The database was used with another secret key (key id ")
    assert remedy.startswith("Add that secret to MESSAGELOG_OLD_SECRET_KEYS")
