"""`POST /messageLog`: the one route that everything is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.messages import BadRequest, parse_log_request, peek
from messagelog.server.openapi.schemas import MatchAnswer, MatchedMessage, MatchForm
from messagelog.server.refusals import log_refusal_response
from messagelog.server.requests import authenticate, context_of, json_response, read_body, read_form
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

router = Router()

_MOST_MATCHED: Final = 100


@router.post("/messageLog")
async def log_messages(request: Request) -> Response:
    """Logs the messages of a conversation into the CRM.

    Answers `{successful, logIds, returnMessage}`: `logIds` are the ids that were unlogged when the request arrived
    and are logged, or kept to be logged, now. Refused with a 4xx that names the field when the body is wrong, and
    towards the newest client with a 422 when nothing of it was kept.
    """
    user = await authenticate(request)
    context = context_of(request)
    runtime, body = context.runtime, await read_body(request, context.config.body_limit)
    seen = peek(body)
    if seen is not None and (answer := await runtime.answer_if_logged(user, seen)) is not None:
        return json_response(answer)
    answer = await runtime.submit(user, parse_log_request(body))
    return json_response(answer) if answer.successful else log_refusal_response(request, answer)


@router.post("/messageLog/match")
async def match_messages(request: Request) -> Response:
    """Say which messages are logged, and in which records of the CRM.

    A colleague's log counts, as it does when messages are logged.
    """
    user = await authenticate(request)
    form = await read_form(request, MatchForm)
    ids = list(dict.fromkeys(str(id_) for id_ in form.message_ids))
    if len(ids) > _MOST_MATCHED:
        raise BadRequest("messageIds", f"expected at most {_MOST_MATCHED}")
    found = await context_of(request).runtime.match(user, ids)
    logs = [
        MatchedMessage(
            message_id=id_, matched=True, log_id=link.third_party_log_id, contact_id=link.contact_id
        )
        if (link := found.get(id_)) is not None
        else MatchedMessage(message_id=id_, matched=False)
        for id_ in ids
    ]
    records = {id_: found[id_].third_party_log_id for id_ in ids if id_ in found}
    return json_response(MatchAnswer(logs=logs, message_logs=records))
