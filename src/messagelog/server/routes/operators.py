"""`/operators/…`: operators sign in; all other routes of theirs use `authenticate_operator`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from messagelog.core.operators.passwords import TooBusy
from messagelog.server.openapi.operations import Access, Content
from messagelog.server.openapi.schemas import Me, OperatorToken, SessionsEnded, SignInForm
from messagelog.server.requests import (
    HttpRefusal,
    address_of,
    bearer_of,
    context_of,
    json_response,
    read_form,
)
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from messagelog.core.operators.accounts import Operator, Role

router = Router()

PREFIX: Final = "/operators"
"""The prefix of all routes of operators. They have no CORS headers, so pages of other origins cannot read them."""

_SIGN_IN: Final = "Please sign in as an operator."
_WRONG: Final = "The name or the password is wrong."
_PATIENCE: Final = "Too many attempts. Please try again later."
_BUSY: Final = "Too many people sign in at this moment. Please try again."
_FOREIGN: Final = "Operators sign in on pages of this server only."


async def authenticate_operator(request: Request, *roles: Role) -> Operator:
    """Return the operator of the bearer's token. Raises `HTTPException` without one, `RoleMissing` without a role.

    No body is read before this. A token in the query is ignored, because proxies log URLs.
    """
    operator = await context_of(request).operators.find(bearer_of(request) or "")
    if operator is None:
        raise HTTPException(401, _SIGN_IN, {"WWW-Authenticate": "Bearer"})
    for role in roles:
        operator.needs(role)
    return operator


def private_response(value: Any, status: int = 200) -> Response:
    """Return an answer for an operator, which no cache may store."""
    answer = json_response(value, status)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.post(
    "/operators/session",
    body=Content(SignInForm, {"name": "grace", "password": "correct horse battery"}),
    answer=Content(
        OperatorToken, {"token": "kXw0", "expiresAt": 1_784_041_200_000, "roles": ["act", "text"]}
    ),
    errors=(401, 403, 429),
    plain_errors=True,
)
async def sign_in(request: Request) -> Response:
    """Begin a session: the token is valid for at most twelve hours, and for one hour without use.

    An unknown name and a wrong password get the same answer, after the same time. After many failures the next attempt
    has to wait.
    """
    if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise HttpRefusal(403, _FOREIGN)
    form = await read_form(request, SignInForm)
    context = context_of(request)
    address = address_of(request)
    if wait := context.throttle.begin(form.name, address):
        raise HTTPException(429, _PATIENCE, {"Retry-After": str(wait)})
    try:
        session = await context.operators.sign_in(form.name, form.password)
    except TooBusy:
        raise HTTPException(503, _BUSY, {"Retry-After": "1"}) from None
    if session is None:
        raise HTTPException(401, _WRONG, {"WWW-Authenticate": "Bearer"})
    context.throttle.forgive(form.name, address)
    roles = [*map(str, sorted(session.operator.roles))]
    return private_response(OperatorToken(token=session.token, expires_at=session.expires_at, roles=roles))


@router.delete("/operators/session", access=Access.OPERATOR, answer=Content(SessionsEnded, {"ended": 1}))
async def sign_out(request: Request) -> Response:
    """End the session of this token, at once."""
    await authenticate_operator(request)
    await context_of(request).operators.sign_out(bearer_of(request) or "")
    return private_response(SessionsEnded(ended=1))


@router.delete("/operators/sessions", access=Access.OPERATOR, answer=Content(SessionsEnded, {"ended": 2}))
async def end_sessions(request: Request) -> Response:
    """End all sessions of the operator, in every browser and every process, at once."""
    operator = await authenticate_operator(request)
    return private_response(
        SessionsEnded(ended=await context_of(request).operators.end_sessions(operator, operator.name))
    )


@router.get("/operators/me", access=Access.OPERATOR, answer=Content(Me, {"name": "grace", "roles": ["text"]}))
async def me(request: Request) -> Response:
    """Return the operator's name and present roles."""
    operator = await authenticate_operator(request)
    return private_response(Me(name=operator.name, roles=[*map(str, sorted(operator.roles))]))
