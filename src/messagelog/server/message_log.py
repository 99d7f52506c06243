"""`POST /messageLog`: the one route that everything is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.messages import glance, parse_log_request
from messagelog.server.http import assembly_of, json_response, read_body, signed_in
from messagelog.server.refusals import refused_log_response
from messagelog.server.routes import Router

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

router = Router()


@router.post("/messageLog")
async def log_messages(request: Request) -> Response:
    """Logs the messages of a conversation into the CRM.

    Answers `{successful, logIds, returnMessage}`: `logIds` are the ids that were unlogged when the request arrived
    and are logged, or kept to be logged, now. Refused with a 4xx that names the field when the body is wrong, and
    towards the newest client with a 422 when nothing of it was kept.
    """
    user = await signed_in(request)
    assembly = assembly_of(request)
    runtime, body = assembly.runtime, await read_body(request, assembly.parts.body_limit)
    seen = glance(body)
    if seen is not None and (answer := await runtime.already_logged(user, seen)) is not None:
        return json_response(answer)
    answer = await runtime.submit(user, parse_log_request(body))
    return json_response(answer) if answer.successful else refused_log_response(request, answer)
