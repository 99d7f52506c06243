"""The OpenAPI document: built from what the routes' decorators say, and from the types that read and write the bodies.

A server loads this module when the document is first requested.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

import messagelog
from messagelog.server.openapi.operations import NOTICE, REF, TEXT, Access

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from messagelog.server.openapi.operations import Content, Operation, Parameter, Schema, Shape

_PUBLISHED_NAMES: Final = {"NoticeAnswer": "Outcome", "SessionsEnded": "Ended"}
"""Names of schemas that generated clients may use, where our type has another name by now."""

_REFUSED: Final = "Refused: a text for the user, which names the field."
_MEANINGS: Final = {
    200: "The answer.",
    302: "A redirect to the CRM.",
    400: _REFUSED,
    401: "The session has ended: the user has logged out, or the CRM has revoked their grant.",
    403: "There are no administrators here; or the token of the metrics is missing.",
    404: "Not done by this server; the client shows nothing.",
    408: "The body took too long to arrive.",
    409: "It may not be done; the text says why.",
    413: "The body is too large.",
    422: "The CRM or a plugin has refused it; the text says why. Nothing was kept.",
    429: "Too many requests of the user, or wrong sign-ins of the address. `Retry-After` has the seconds to wait.",
    500: "An error in the server. Messages that were accepted earlier are kept.",
    502: "The CRM did not create the contact, or gave no clear answer.",
    503: "The server is shutting down, or a required plugin failed. Nothing of the request was kept.",
}
_MEANINGS_TO_OPERATORS: Final = {
    **_MEANINGS,
    401: "The token is missing or not valid, or name and password are wrong.",
    403: "The operator lacks a role that this route needs; or the request came from a page of another origin.",
}
_ALWAYS: Final = {500, 503}
_OF_BODIES: Final = {400, 408, 413}

_SESSION_ENDED: Final[Schema] = {
    "type": "object",
    "properties": {
        "successful": {"type": "boolean", "const": False},
        "errorCode": {"type": "string", "const": "CRM_SESSION_REVOKED"},
        **NOTICE["properties"],
    },
    "required": ["successful", "errorCode", "returnMessage"],
}
_LOCATION: Final[Schema] = {"Location": {"required": True, "schema": TEXT}}
_RENEWED: Final[Schema] = {
    "x-refreshed-jwt-token": {
        "description": "A new token, in place of one that ends within a week.",
        "schema": TEXT,
    }
}
_SECURITY: Final[dict[Access, list[Schema]]] = {
    Access.PUBLIC: [],
    Access.USER: [{"bearer": []}, {"jwtToken": []}],
    Access.OPERATOR: [{"operator": []}],
}


def build_document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of these routes, as JSON has it."""
    operations = list(operations)
    paths: dict[str, Schema] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    types = dict.fromkeys(type_ for operation in operations for type_ in _types(operation))
    _, schemas = msgspec.json.schema_components(types, ref_template=REF)
    for name, published in _PUBLISHED_NAMES.items():
        if name in schemas:
            schemas[published] = {**schemas.pop(name), "title": published}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "messagelog",
            "summary": messagelog.__doc__,
            "version": messagelog.__version__,
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "jwtToken": {"type": "apiKey", "in": "query", "name": "jwtToken"},
                "operator": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _describe(operation: Operation) -> Schema:
    name, method = operation.handler.__name__, operation.method.lower()
    described: Schema = {
        "summary": name.replace("_", " ").title(),
        "description": inspect.getdoc(operation.handler),
        "operationId": re.sub(r"\W", "_", f"{name}{operation.path}_{method}"),
        "responses": _responses(operation),
        "security": _SECURITY[operation.access],
    }
    if operation.query:
        described["parameters"] = [_parameter(each) for each in operation.query]
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _responses(operation: Operation) -> Schema:
    """Return the answers of a route by their status, good ones and refusals."""
    of_user, of_operator = operation.access is Access.USER, operation.access is Access.OPERATOR
    statuses = {*operation.errors, *_ALWAYS}
    statuses |= _OF_BODIES if operation.body is not None else set()
    statuses |= {400} if operation.query else set()
    statuses |= {400, 429} if of_user else set()
    statuses |= {401, 403} if of_operator else set()
    refusal = TEXT if of_operator or operation.plain_errors else {"anyOf": [TEXT, NOTICE]}
    meanings = _MEANINGS_TO_OPERATORS if operation.path.startswith("/operators") else _MEANINGS
    responses: dict[int, Schema] = {
        status: {
            "description": meanings[status],
            "content": {"application/json": {"schema": refusal}},
        }
        for status in statuses
    }
    if operation.answer is not None:
        responses[200] = {"description": meanings[200], "content": _content(operation.answer)}
    if operation.redirects:
        responses[302] = {"description": meanings[302], "headers": _LOCATION}
    if of_user and not operation.ends_session:
        # An unforeseen error is answered outside of the routes, where nothing is known of the request.
        for status in responses.keys() - {500}:
            responses[status]["headers"] = _RENEWED
    if of_user:
        responses[401] = {
            "description": meanings[401],
            "content": {"application/json": {"schema": _SESSION_ENDED}},
        }
    return {str(status): responses[status] for status in sorted(responses)}


def _parameter(parameter: Parameter) -> Schema:
    schema: Schema = {**TEXT}
    if parameter.required:
        schema["minLength"] = 1
    if parameter.longest is not None:
        schema["maxLength"] = parameter.longest
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "required": parameter.required,
        "schema": schema,
        "example": parameter.example,
    }


def _content(content: Content) -> Schema:
    return {content.media_type: {"schema": _schema(content.shape), "example": content.example}}


def _schema(shape: Shape) -> Schema:
    if isinstance(shape, tuple):
        return {"anyOf": [_schema(each) for each in shape]}
    if isinstance(shape, dict):
        return shape
    return {"$ref": REF.format(name=_PUBLISHED_NAMES.get(shape.__name__, shape.__name__))}


def _types(operation: Operation) -> Iterator[type]:
    """Yield the types whose schemas a route refers to."""
    for content in (operation.body, operation.answer):
        shape = () if content is None else content.shape
        for each in shape if isinstance(shape, tuple) else (shape,):
            if isinstance(each, type):
                yield each
