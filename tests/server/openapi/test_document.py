"""The OpenAPI description says what the server does. Every answer in these tests is held to it, by `LiveServer.ask`."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from messagelog.core.operators.accounts import Role
from messagelog.server import create_app
from messagelog.server.context import ServerConfig
from messagelog.server.openapi.operations import Access
from support.live_server import PAYLOADS, SQLITE_ONLY, payload
from support.openapi_validation import ROUTES, OpenApiDescription

if TYPE_CHECKING:
    from support.live_server import LiveServer

CAPTURED = json.loads((Path(__file__).parents[1] / "captured" / "journey.json").read_bytes())["requests"]


def not_our_error(_context: Any, response: Any, _case: Any) -> None:
    """A 502 is the CRM's: it refused a contact."""
    assert response.status_code not in {500, 503}, "what nobody expected"


CHECKS: list[Any] = [
    not_our_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
"""Left out: that a schema's good data is taken (a number without a contact is good data too), and that a missing token
is a 401 (the client expects 400)."""

EXAMPLES, MANY = 15, 60
"""For each route, good and odd ones each; and for the one that everything is about."""


@pytest.fixture(scope="module")
def description() -> OpenApiDescription:
    return OpenApiDescription(
        create_app(ServerConfig(database_url="", secret_key="", connectors={}, public_url=""))
    )


def test_every_route_is_described_and_nothing_else(description: OpenApiDescription) -> None:
    found = {
        f"{method.upper()} {path}"
        for path, methods in description.whole["paths"].items()
        for method in methods
    }
    assert found == ROUTES.keys()
    for path, methods in description.whole["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], f"{method} {path}"


def test_names_that_generated_clients_use_stay(description: OpenApiDescription) -> None:
    """They are derived from functions and types, which may be renamed; the published names are kept."""
    schemas = description.whole["components"]["schemas"]
    assert {"Outcome", "Ended", "Answer", "ReturnMessage"} <= schemas.keys()
    assert {name: schema["title"] for name, schema in schemas.items()} == {name: name for name in schemas}
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(description.whole)))
    assert references <= schemas.keys()
    paths = description.whole["paths"]
    assert paths["/messageLog"]["post"]["operationId"] == "log_messages_messageLog_post"
    assert paths["/messageLog"]["post"]["summary"] == "Log Messages"
    operation_ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(operation_ids) == len(set(operation_ids)) == len(ROUTES)


def test_every_example_is_what_its_schema_says(description: OpenApiDescription) -> None:
    examples = description.examples()
    for _, schema, example in examples:
        description.check_example(schema, example)
    shown = {whose for whose, _, _ in examples}
    assert shown == {route for route, each in ROUTES.items() if each.answer or each.body}


def test_an_answer_that_is_not_described_is_noticed(description: OpenApiDescription) -> None:
    good = {"successful": True, "logs": [], "returnMessage": None}
    description.check_answer("GET", "/callLog", 200, "application/json", good)
    for status, kind, body in (
        (201, "application/json", good),
        (200, "text/plain", good),
        (200, "application/json", {**good, "logs": None}),
    ):
        with pytest.raises(AssertionError):
            description.check_answer("GET", "/callLog", status, kind, body)


@pytest.mark.parametrize("name", sorted(path.stem for path in PAYLOADS.glob("*.json")))
def test_every_captured_message_is_described(description: OpenApiDescription, name: str) -> None:
    description.check_body("POST", "/messageLog", payload(name))


def test_every_other_captured_body_is_described(description: OpenApiDescription) -> None:
    bodies = [captured for captured in CAPTURED if "body" in captured]
    assert len(bodies) == 4
    for captured in bodies:
        path = captured["url"].removeprefix("{serverUrl}").partition("?")[0]
        description.check_body(captured["method"], path, captured["body"])


# --------------------------------------------------------------------------------------------- odd requests


@SQLITE_ONLY
@pytest.mark.parametrize("route", sorted(ROUTES))
async def test_nothing_that_the_description_allows_or_forbids_breaks_a_route(
    here: LiveServer, route: str
) -> None:
    """Schemathesis invents requests; for the routes that want one, with the token of a user."""
    method, _, path = route.partition(" ")
    schema = schemathesis.openapi.from_dict(here.description.whole)
    schema.config.update(base_url=here.url)
    operation = schema[path][method]
    token = await here.token()
    headers = {"authorization": f"Bearer {token}"} if ROUTES[route].access is Access.USER else {}
    if ROUTES[route].access is Access.OPERATOR:
        headers = await here.operator("grace", *Role)
    modes = [GenerationMode.POSITIVE]
    if ROUTES[route].query or ROUTES[route].body:  # otherwise there is nothing that could be wrong
        modes.append(GenerationMode.NEGATIVE)
    count = MANY if route == "POST /messageLog" else EXAMPLES
    await asyncio.to_thread(_try, operation, headers, modes, count)


def _try(operation: Any, headers: dict[str, str], modes: list[GenerationMode], count: int) -> None:
    for mode in modes:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=count,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            response = case.call(headers=headers)
            case.validate_response(response, checks=CHECKS)

        check()
