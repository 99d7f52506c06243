"""`POST /messageLog`: logs messages. `POST /messageLog/match`: says which messages are logged.

The decorator of `log_messages` describes the route and registers it, but requests do not arrive through it: `app.py`
gives the function to `asgi/fast_path.py`, which calls it in front of the middleware and Starlette's routing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.core.intake.answer import Answer, SelectedAnswer
from messagelog.messages import BadRequest, LogRequest, parse_log_request, peek
from messagelog.server.openapi.operations import Access, Content, notice_example
from messagelog.server.openapi.schemas import MatchAnswer, MatchedMessage, MatchForm
from messagelog.server.refusals import log_refusal_response
from messagelog.server.requests import authenticate, context_of, json_response, read_body, read_form
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

router = Router()

_MOST_MATCHED: Final = 100

_LOG_REQUEST: Final = {
    "logInfo": {
        "conversationLogId": "8031152018338945839/7/13/2026",
        "conversationId": "8031152018338945839",
        "messages": [
            {
                "id": 6424569001,
                "type": "SMS",
                "direction": "Inbound",
                "creationTime": 1783998000000,
                "subject": "Can you send the renewal options?",
                "from": {"phoneNumber": "+14155550142", "name": "Maya Patel"},
                "to": [{"phoneNumber": "+14155550101", "name": "Jordan Lee"}],
                "attachments": [],
            }
        ],
        "self": {"phoneNumber": "+14155550101", "name": "Jordan Lee"},
        "correspondents": [{"phoneNumber": "+14155550142", "name": "Maya Patel"}],
    },
    "additionalSubmission": {"matter": "m-1"},
    "overridingFormat": [],
    "contactId": "c-1",
    "contactType": "contact",
    "contactName": "Maya Patel",
}


@router.post(
    "/messageLog",
    access=Access.USER,
    body=Content(LogRequest, _LOG_REQUEST),
    answer=Content(
        (Answer, SelectedAnswer),
        {"successful": True, "logIds": ["6424569001"], "returnMessage": notice_example("Message logged")},
    ),
    errors=(422,),
)
async def log_messages(request: Request) -> Response:
    """Log the messages of a conversation into the CRM.

    The answer is `{successful, logIds, returnMessage}`. `logIds` are the ids that were not logged when the request
    arrived, and are now logged or kept to be logged. A wrong body is refused with a 4xx that names the field. If
    nothing was kept, the newest client gets a 422.
    """
    user = await authenticate(request)
    context = context_of(request)
    runtime, body = context.runtime, await read_body(request, context.config.body_limit)
    ids = peek(body)
    if ids is not None and (answer := await runtime.answer_if_logged(user, ids)) is not None:
        return json_response(answer)
    answer = await runtime.submit(user, parse_log_request(body))
    return json_response(answer) if answer.successful else log_refusal_response(request, answer)


@router.post(
    "/messageLog/match",
    access=Access.USER,
    body=Content(
        MatchForm,
        {"conversationId": "8031152018338945839", "messageIds": ["6424569001", "6424569002"]},
    ),
    answer=Content(
        MatchAnswer,
        {
            "successful": True,
            "logs": [
                {"messageId": "6424569001", "matched": True, "logId": "a-1", "contactId": "c-1"},
                {"messageId": "6424569002", "matched": False},
            ],
            "messageLogs": {"6424569001": "a-1"},
        },
    ),
)
async def match_messages(request: Request) -> Response:
    """Return which messages are logged, and in which records of the CRM.

    A colleague's log counts too, as it does when messages are logged.
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
