"""What a route's decorator says of the route: what it reads, what it answers, and with which errors it refuses.

The description of the API is built from this alone (`document.py`), so each route is described in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    Handler = Callable[[Request], Awaitable[Response]]

Schema = dict[str, Any]
Shape = type | Schema | tuple[type | Schema, ...]
"""A type of ours, a JSON schema where there is no type, or several of these: then it is any one of them."""

REF: Final = "#/components/schemas/{name}"

TEXT: Final[Schema] = {"type": "string"}
OBJECT: Final[Schema] = {"type": "object"}
NOTICE: Final[Schema] = {
    "type": "object",
    "properties": {"returnMessage": {"$ref": REF.format(name="ReturnMessage")}},
    "required": ["returnMessage"],
}


class Access(Enum):
    """Who may use a route: anyone, a user with a session token, or an operator with a bearer's token."""

    PUBLIC = auto()
    USER = auto()
    OPERATOR = auto()


@dataclass(frozen=True, slots=True)
class Content:
    """A body or an answer, with an example."""

    shape: Shape
    example: Any
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the query. `longest` is in characters."""

    name: str
    description: str
    example: str
    required: bool = False
    longest: int | None = None


class RouteOptions(TypedDict, total=False):
    """What a decorator may say; each is explained at `Operation`."""

    access: Access
    query: tuple[Parameter, ...]
    body: Content
    answer: Content
    errors: tuple[int, ...]
    plain_errors: bool
    redirects: bool
    ends_session: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """A route with its handler, and what its decorator says of it. The handler's docstring is the description.

    `answer` is None if the route only refuses or redirects. `errors` are the statuses of refusals besides those that
    follow from the rest (500 and 503 always; 400, 408 and 413 with a body, for instance). A refusal is a text, or a
    notice for the newest client; with `plain_errors`, and for operators, it is a text only. `redirects` says that a
    good answer is a 302. Answers to a user may bring a new session token, unless the route `ends_session`.
    """

    method: str
    path: str
    handler: Handler
    access: Access = Access.PUBLIC
    query: tuple[Parameter, ...] = ()
    body: Content | None = None
    answer: Content | None = None
    errors: tuple[int, ...] = ()
    plain_errors: bool = False
    redirects: bool = False
    ends_session: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def notice_example(message: str, type_: str = "success", ttl: int = 1000) -> dict[str, Any]:
    """Return an example of a `returnMessage`; `ttl` is in milliseconds."""
    return {"message": message, "messageType": type_, "ttl": ttl}
