"""Return refusals in the form that the client shows.

Clients 1.6 and 1.7.0 send their token in the query, and show an error's text. The newest client sends its token as a
bearer, and shows the `returnMessage` of an object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import Request

from messagelog.core.intake.answer import EmptyAnswer, UncertainAnswer, warning
from messagelog.server.openapi.schemas import NoticeAnswer
from messagelog.server.requests import SIGN_IN, bearer_of, context_of, json_response

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

    from messagelog.core.intake.answer import Answer

_NOT_THE_CLIENTS: Final = ("/operators", "/metrics", "/readyz", "/healthz")
"""Prefixes of paths that the client does not use: a bearer's token there is an operator's or a supervisor's."""

_SIGNS_OUT: Final = "authorize CRM platform"
"""The client takes an error with these words for the end of its session."""


def takes_objects(scope: Scope) -> bool:
    """Return whether a request comes from the newest client, which shows the `returnMessage` of a refusal."""
    return bearer_of(Request(scope)) is not None and not scope["path"].startswith(_NOT_THE_CLIENTS)


def refusal_response(scope: Scope, status: int, text: str) -> Response:
    """Return a refusal with this text. Unless it is `SIGN_IN`, no client takes it for the end of its session."""
    if text != SIGN_IN:
        text = text.replace(_SIGNS_OUT, "authorize the CRM")
    if not takes_objects(scope):
        return json_response(text, status)
    return json_response(NoticeAnswer(successful=False, return_message=warning(text)), status)


def log_refusal_response(request: Request, answer: Answer) -> Response:
    """Return the answer to a log request if nothing of it was kept.

    The newest client shows it only with an error status. Older clients show nothing of it, unless the operator has it
    answered as a text; then the widget waits for its 15 seconds.
    """
    status = 503 if isinstance(answer, UncertainAnswer) else 422
    if isinstance(answer, EmptyAnswer):  # as the reference answers it
        return json_response(answer)
    if takes_objects(request.scope):
        return json_response(answer, status)
    if context_of(request).config.refused_logs_as_text:
        return refusal_response(request.scope, status, answer.return_message.message)
    return json_response(answer)
