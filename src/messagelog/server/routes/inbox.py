"""`/operators/inbox…`: conversation logs that failed, are parked or wait, and operators' decisions about them.

Ids are in the body, never in the URL, as everywhere under `/operators`: proxies log URLs, and an id may contain
anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.core.admin.inbox import DecisionRefused, Inbox, NotThere, check_cause
from messagelog.core.admin.inbox_models import Decided, InboxDetails, InboxExport, InboxPage, RetriedBatch
from messagelog.core.operators.accounts import Role
from messagelog.server.openapi.operations import Access, Content
from messagelog.server.openapi.schemas import (
    CausesAnswer,
    CausesForm,
    DoneForm,
    EntryForm,
    ExportInboxForm,
    InboxForm,
    LinkForm,
    RetryForm,
    RetrySomeForm,
)
from messagelog.server.requests import HttpRefusal, context_of, read_form
from messagelog.server.routes.operators import authenticate_operator, private_response
from messagelog.server.routing import Router
from messagelog.storage.records.inbox import InboxFilter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from starlette.requests import Request
    from starlette.responses import Response

    from messagelog.server.openapi.schemas import LogForm
    from messagelog.storage import LogKey

router = Router()

_NOT_THERE: Final = "There is no such conversation log."

_KEY: Final = {"tenant": "acme", "platform": "demo", "conversationLogId": "8031152018338945839/7/13/2026"}
_ENTRY: Final = {
    **_KEY,
    "kind": "conversation",
    "groupContactId": None,
    "contactId": "c-1",
    "contactName": "Maya Patel",
    "thirdPartyLogId": None,
    "state": "failed",
    "cause": "rejected",
    "reason": "rejected: The CRM refused it. (HTTP 422)",
    "states": {"failed": 2},
    "withoutText": 0,
    "users": ["u-ada"],
    "attempts": 1,
    "tries": 0,
    "dueAt": None,
    "since": 1_783_998_000_000,
    "changedAt": 1_783_998_001_000,
    "fence": 1,
}
_DETAILS: Final = {
    "entry": _ENTRY,
    "rows": [
        {
            "id": "6424569001",
            "state": "failed",
            "reason": "rejected: The CRM refused it. (HTTP 422)",
            "userId": "u-ada",
            "sentAt": 1_783_998_000_000,
            "updatedAt": 1_783_998_001_000,
            "hasText": True,
            "text": None,
        }
    ],
    "attempts": [
        {
            "at": 1_783_998_001_000,
            "call": "create",
            "error": "Rejected",
            "status": 422,
            "reason": "rejected",
            "body": None,
        }
    ],
}
_CAUSE: Final = {
    "tenant": "acme",
    "platform": "demo",
    "state": "failed",
    "cause": "rejected",
    "messages": 2,
    "logs": 1,
    "firstAt": 1_783_998_001_000,
    "lastAt": 1_783_998_001_000,
}
_NONE: Final = {
    "conversationLogId": _KEY["conversationLogId"],
    "planned": 0,
    "logged": 0,
    "withoutText": 0,
}
_NOT_DECIDED: Final = (404, 409)


async def inbox_of(request: Request, *roles: Role) -> Inbox:
    """Return the inbox as the operator of this request sees it."""
    operator = await authenticate_operator(request, *roles)
    context = context_of(request)
    return Inbox(context.store, operator, context.sealer)


@router.post(
    "/operators/inbox",
    access=Access.OPERATOR,
    body=Content(InboxForm, {"state": "failed", "limit": 50}),
    answer=Content(InboxPage, {"entries": [_ENTRY], "next": None}),
)
async def entries(request: Request) -> Response:
    """List conversation logs that failed, are parked or wait, the last changed first, page by page."""
    inbox = await inbox_of(request)
    form = await read_form(request, InboxForm)
    return private_response(await inbox.entries(_to_filter(form), after=form.after, limit=form.limit))


@router.post(
    "/operators/inbox/causes",
    access=Access.OPERATOR,
    body=Content(CausesForm, {"tenant": "acme"}),
    answer=Content(CausesAnswer, {"causes": [_CAUSE]}),
)
async def causes(request: Request) -> Response:
    """Count messages that failed, are parked or wait, by tenant, platform, state and cause."""
    inbox = await inbox_of(request)
    form = await read_form(request, CausesForm)
    return private_response(CausesAnswer(causes=await inbox.causes(form.tenant, since=form.since)))


@router.post(
    "/operators/inbox/entry",
    access=Access.OPERATOR,
    body=Content(EntryForm, _KEY),
    answer=Content(InboxDetails, _DETAILS),
    errors=_NOT_DECIDED,
)
async def entry(request: Request) -> Response:
    """Show a conversation log with its messages that are not logged, and its failed calls.

    `text`, which needs the role `text`, also shows the texts of messages and of the CRM's answers, as far as they are
    kept. Each look at text is recorded.
    """
    inbox = await inbox_of(request)
    form = await read_form(request, EntryForm)
    return await _answer(inbox, form, lambda key: inbox.entry(key, text=form.text))


@router.post(
    "/operators/inbox/export",
    access=Access.OPERATOR,
    body=Content(ExportInboxForm, {"state": "parked", "text": False}),
    answer=Content(InboxExport, {"logs": [_DETAILS], "next": None}),
)
async def export(request: Request) -> Response:
    """Export all data of logs that failed, are parked or wait, page by page; `text` as for an entry."""
    inbox = await inbox_of(request)
    form = await read_form(request, ExportInboxForm)
    page = inbox.export_some(_to_filter(form), after=form.after, limit=form.limit, text=form.text)
    return private_response(await page)


@router.post(
    "/operators/inbox/retry",
    access=Access.OPERATOR,
    body=Content(RetryForm, {**_KEY, "fence": 1}),
    answer=Content(Decided, {**_NONE, "planned": 2}),
    errors=_NOT_DECIDED,
)
async def retry(request: Request) -> Response:
    """Retry the failed messages of a conversation log, and its waiting ones now. A parked log needs `notInCrm`."""
    inbox = await inbox_of(request, Role.ACT)
    form = await read_form(request, RetryForm)
    return await _answer(
        inbox, form, lambda key: inbox.retry(key, not_in_crm=form.not_in_crm, fence=form.fence)
    )


@router.post(
    "/operators/inbox/retry-some",
    access=Access.OPERATOR,
    body=Content(RetrySomeForm, {"cause": "unavailable"}),
    answer=Content(RetriedBatch, {"done": 1, "planned": 2, "withoutText": 0, "refused": 0, "next": None}),
)
async def retry_some(request: Request) -> Response:
    """Retry a page of logs that failed, are parked or wait. Repeat with `next` until there is none."""
    inbox = await inbox_of(request, Role.ACT)
    form = await read_form(request, RetrySomeForm)
    return private_response(
        await inbox.retry_some(
            _to_filter(form), after=form.after, limit=form.limit, not_in_crm=form.not_in_crm
        )
    )


@router.post(
    "/operators/inbox/link",
    access=Access.OPERATOR,
    body=Content(LinkForm, {**_KEY, "contactId": "c-2", "contactName": "Omar Reyes"}),
    answer=Content(Decided, _NONE),
    errors=_NOT_DECIDED,
)
async def link(request: Request) -> Response:
    """Link a conversation log to another contact, if nothing of it is in the CRM. Nothing is sent."""
    inbox = await inbox_of(request, Role.ACT)
    form = await read_form(request, LinkForm)
    contact = (form.contact_id, form.contact_name, form.contact_type)
    return await _answer(inbox, form, lambda key: inbox.link(key, *contact, fence=form.fence))


@router.post(
    "/operators/inbox/done",
    access=Access.OPERATOR,
    body=Content(DoneForm, {**_KEY, "thirdPartyLogId": "a-1"}),
    answer=Content(Decided, {**_NONE, "logged": 1, "planned": 1}),
    errors=_NOT_DECIDED,
)
async def done(request: Request) -> Response:
    """Mark a log as done: it is in the CRM, in this activity. Without one, the next message makes a new activity."""
    inbox = await inbox_of(request, Role.ACT)
    form = await read_form(request, DoneForm)
    return await _answer(
        inbox,
        form,
        lambda key: inbox.mark_done(
            key, form.third_party_log_id, everything=form.everything, fence=form.fence
        ),
    )


async def _answer(inbox: Inbox, form: LogForm, work: Callable[[LogKey], Awaitable[Any]]) -> Response:
    """Do the work on the conversation log that a form names, and return the answer."""
    which = (form.conversation_log_id, form.kind, form.group_contact_id)
    try:
        return private_response(await work(await inbox.find(form.tenant, form.platform, *which)))
    except NotThere:
        raise HttpRefusal(404, _NOT_THERE) from None
    except DecisionRefused as refusal:
        raise HttpRefusal(409, str(refusal)) from None


def _to_filter(form: InboxForm) -> InboxFilter:
    return InboxFilter(form.tenant, form.platform, form.state, check_cause(form.cause))
