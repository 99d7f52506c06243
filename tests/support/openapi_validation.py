"""Holds answers to the OpenAPI description: every answer that a test is given is one that is described."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from messagelog.server import create_app
from messagelog.server.context import ServerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.server.routing import DescribedApp

ROUTES = {
    str(operation): operation
    for operation in create_app(
        ServerConfig(database_url="", secret_key="", connectors={}, public_url="")
    ).operations
}
"""Every route of the server, by method and path."""

RENEWED_TOKEN_HEADER = "x-refreshed-jwt-token"
NEVER_DESCRIBED = {404, 405}
"""What any path may answer to a request that it does not know."""


@cache
def validator(schema_of: str) -> Any:
    """A validator for a schema of the description, given as JSON."""
    return jsonschema_rs.validator_for(schema_of)


class OpenApiDescription:
    """The description of an application."""

    def __init__(self, app: DescribedApp) -> None:
        self.whole: dict[str, Any] = app.openapi()

    def check_answer(
        self, method: str, path: str, status: int, content_type: str, body: Any, *, renewed: bool = False
    ) -> None:
        """Whether a route may answer this, perhaps with a `renewed` token; routes that are not ours are left alone."""
        if f"{method} {path}" not in ROUTES or status in NEVER_DESCRIBED - self._statuses(method, path):
            return
        assert status in self._statuses(method, path), (
            f"{method} {path} answers {status}, which nobody was told"
        )
        answer = self._operation(method, path)["responses"][str(status)]
        assert not renewed or RENEWED_TOKEN_HEADER in answer.get("headers", {}), (
            f"{method} {path} brings a token with {status}"
        )
        content = answer.get("content")
        if content is None:
            assert not body, f"{method} {path} answers {status} with a body"
            return
        assert content_type in content, f"{method} {path} answers {content_type}"
        self._check(content[content_type]["schema"], body, f"the answer of {method} {path}")

    def check_body(self, method: str, path: str, body: Any) -> None:
        """Whether a route takes this body."""
        schema = self._operation(method, path)["requestBody"]["content"]["application/json"]["schema"]
        self._check(schema, body, f"the body of {method} {path}")

    def examples(self) -> list[tuple[str, Mapping[str, Any], Any]]:
        """Every example: whose it is, its schema, and itself."""
        found = []
        for path, methods in self.whole["paths"].items():
            for method, operation in methods.items():
                contents = [answer.get("content", {}) for answer in operation["responses"].values()]
                contents += [operation["requestBody"]["content"]] if "requestBody" in operation else []
                found += [
                    (f"{method.upper()} {path}", each["schema"], each["example"])
                    for content in contents
                    for each in content.values()
                    if "example" in each
                ]
        return found

    def check_example(self, schema: Mapping[str, Any], example: Any) -> None:
        """Check that an example matches its schema."""
        self._check(schema, example, "the example")

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        operation: dict[str, Any] = self.whole["paths"][path][method.lower()]
        return operation

    def _statuses(self, method: str, path: str) -> set[int]:
        return {int(status) for status in self._operation(method, path)["responses"]}

    def _check(self, schema: Mapping[str, Any], value: Any, what: str) -> None:
        whole = {**schema, "components": self.whole["components"]}
        problems = [
            f"{what}: {error.instance_path}: {error.message}"
            for error in validator(json.dumps(whole)).iter_errors(value)
        ]
        assert problems == []
