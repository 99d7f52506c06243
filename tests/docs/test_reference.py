"""The lists of the documentation are those of the code: settings, states, reasons, errors, routes, events."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
from itertools import product
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import messagelog
from docs.pages import DOCS, ROOT, code, table
from messagelog import connectors
from messagelog.connectors import (
    ClientAuth,
    Connector,
    ConnectorError,
    MessageLog,
    NotFound,
    OAuth,
    OutcomeUnknown,
)
from messagelog.core.delivery.backoff import STEPS
from messagelog.core.delivery.capabilities import Capabilities
from messagelog.core.delivery.outcomes import FailureReason, on_error
from messagelog.server import create_app
from messagelog.server.context import ServerConfig
from messagelog.settings import BadSettings, Settings, validate_for_serving
from messagelog.storage import LogKey, LogRow, LogState, MessageRow, RowState
from messagelog.storage.records.journal import LogKind
from support.crash_campaign import AppendOnlyReadBack
from support.memory_crm import Appending, Crm, Plain, ReadingBack, Upserting

if TYPE_CHECKING:
    from pathlib import Path

STATES = DOCS / "reference" / "states.md"
HTTP = DOCS / "reference" / "http.md"
SERVER = DOCS / "how-to" / "run-a-server.md"
CONNECTOR = DOCS / "how-to" / "write-a-connector.md"
OAUTH = DOCS / "how-to" / "sign-in-with-oauth.md"


def first_words(page: Path, heading: str) -> list[str]:
    """Return the first word in code of each row of a table."""
    return [code(row[0])[0] for row in table(page, heading)]


# ---------------------------------------------------------------------------------------------- settings


def test_all_settings_are_listed_with_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = msgspec.structs.fields(Settings)
    for field in fields:
        monkeypatch.delenv(f"MESSAGELOG_{field.name.upper()}", raising=False)
    with pytest.raises(BadSettings) as refused:
        validate_for_serving(Settings())
    missing = {
        match[1] for match in re.finditer(r"(MESSAGELOG_\w+) is missing", " ".join(refused.value.sentences))
    }
    expected = {}
    for field in fields:
        setting = f"MESSAGELOG_{field.name.upper()}"
        default = f"`{field.default}`" if str(field.default) else "none"
        expected[setting] = "required" if setting in missing else default
    assert {code(row[0])[0]: row[1] for row in table(SERVER, "Settings")} == expected


def test_all_log_events_are_listed() -> None:
    events = set()
    for path in (ROOT / "src").rglob("*.py"):
        events |= set(re.findall(r"_log\.(?:error|warning|info)\(\s*\"(\w+)\"", path.read_text("utf-8")))
    assert set(first_words(SERVER, "Watch it")) == events


# ------------------------------------------------------------------------------------------------ states


def test_all_states_and_reasons_are_listed() -> None:
    assert first_words(STATES, "States of a message") == list(RowState)
    assert first_words(STATES, "States of a conversation log") == list(LogState)
    assert first_words(STATES, "Kinds of a conversation log") == list(LogKind)
    assert first_words(STATES, "Reasons") == list(FailureReason)


def test_states_name_only_states_as_what_comes_next() -> None:
    for row in table(STATES, "States of a message"):
        assert set(code(row[3])) <= set(RowState)


# ---------------------------------------------------------------------------------------------- contract


def test_all_questions_of_the_contract_are_listed() -> None:
    methods = [
        name for name, _ in inspect.getmembers(Connector, inspect.isfunction) if not name.startswith("_")
    ]
    questions = set(first_words(CONNECTOR, "The questions"))
    assert questions == set(methods) - {"can"}


def test_all_declarations_of_the_contract_are_listed() -> None:
    assert first_words(CONNECTOR, "The declarations") == list(Connector.__annotations__)
    for row in table(CONNECTOR, "The declarations"):
        name = code(row[0])[0]
        if row[1] and name != "message_kinds":
            default = getattr(Connector, name)
            shown = repr(default).replace("'", '"')
            if isinstance(default, enum.Enum):
                shown = f"{type(default).__name__}.{default.name}"
            assert code(row[1]) == [shown]


def test_all_fields_of_oauth_are_listed() -> None:
    rows = table(OAUTH, "What there is to declare")
    assert [code(row[0])[0] for row in rows] == [field.name for field in dataclasses.fields(OAuth)]
    for row, field in zip(rows, dataclasses.fields(OAuth), strict=True):
        if row[1]:
            shown = (
                f"ClientAuth.{field.default.name}"
                if isinstance(field.default, ClientAuth)
                else repr(field.default)
            )
            assert code(row[1]) == [shown.replace("'", '"')]


def test_all_that_a_log_holds_is_listed() -> None:
    given = set(inspect.signature(MessageLog).parameters) - {
        "text_settings",
        "participants",
        "key",
        "journal",
        "change",
    }
    made = {name for name in vars(MessageLog) if not name.startswith("_")}
    shown = {re.sub(r"^log\.|\(.*", "", name) for name in first_words(CONNECTOR, "What a log holds")}
    assert shown == given | made


# ------------------------------------------------------------------------------------------------ errors

PEOPLE = {"creator": "u-1", "colleague": "u-2"}


def outcomes(error: ConnectorError, call: str) -> set[str]:
    """Return the outcomes of a row of such a call, for all capabilities and numbers of attempts."""
    found = set()
    capabilities = [
        Capabilities.of(made(Crm()))
        for made in (Plain, Upserting, ReadingBack, Appending, AppendOnlyReadBack)
    ]
    for each, user, tries in product(capabilities, PEOPLE.values(), (0, len(STEPS))):
        log = LogRow(
            LogKey("acme", "memory", "conv/1"),
            conversation_id="conv",
            contact_id="c-1",
            contact_type="contact",
            contact_name="Maya Patel",
            text_settings="",
            third_party_log_id="a-1" if call == "update" else None,
            created_by=PEOPLE["creator"] if call == "update" else None,
            call=call,
            call_user=user,
            attempt_count=tries,
        )
        row = MessageRow("1", "conv", "conv/1", None, user, RowState.CALLING, None, 1, 0, None, 0, 0, b"")
        settled = on_error(log, [row], error, each, may_recreate=True, jitter=0.5)
        found |= {str(change.state) for change in settled.changes}
    return found


def test_all_errors_are_listed_with_what_they_lead_to() -> None:
    types: dict[str, Any] = {
        name: value
        for name, value in vars(connectors).items()
        if inspect.isclass(value) and issubclass(value, ConnectorError) and value is not ConnectorError
    }
    rows = {row[0].strip("`"): row for row in table(CONNECTOR, "Errors")}
    assert rows.keys() == types.keys() | {"anything else"}
    for name, row in rows.items():
        error = types.get(name, OutcomeUnknown)("HTTP 400")
        assert set(code(row[1])) == outcomes(error, "create"), name
        assert set(code(row[2])) == outcomes(error, "update"), name


def test_special_cases_of_errors_are_as_told() -> None:
    assert outcomes(NotFound(gone=True), "update") == {RowState.PLANNED}
    assert outcomes(NotFound(gone=False), "update") == {RowState.FAILED}


# ------------------------------------------------------------------------------------------------ routes


def test_all_routes_are_listed() -> None:
    config = ServerConfig(database_url="", secret_key="", connectors={}, public_url="")
    app = create_app(config)
    routes = {
        f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods
    }
    assert set(first_words(HTTP, "HTTP")) == routes
    paths = {getattr(route, "path", "") for route in app.routes}
    assert {"/openapi.json", "/docs"} <= paths


def test_the_changelog_knows_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{messagelog.__version__}]" in changelog
