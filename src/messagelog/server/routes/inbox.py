"""`/operators/inbox…`: what failed, is parked or waits, and what an operator decides about it.

What is asked for stands in the body, never in the URL, as everywhere under `/operators`: an id may hold anything, and
proxies log URLs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.core.admin.inbox import DecisionRefused, Inbox, NotThere, check_cause
from messagelog.core.operators.accounts import Role
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

_NOT_THERE = "There is no such conversation log."


async def inbox_of(request: Request, *roles: Role) -> Inbox:
    """The inbox as the operator sees it who asks."""
    operator = await authenticate_operator(request, *roles)
    context = context_of(request)
    return Inbox(context.store, operator, context.sealer)


@router.post("/operators/inbox")
async def entries(request: Request) -> Response:
    """Lists conversation logs that failed, are parked or wait, the last changed first, page by page."""
    inbox = await inbox_of(request)
    form = await read_form(request, InboxForm)
    return private_response(await inbox.entries(_to_filter(form), after=form.after, limit=form.limit))


@router.post("/operators/inbox/causes")
async def causes(request: Request) -> Response:
    """Counts what failed, is parked or waits, by tenant, platform, state and cause."""
    inbox = await inbox_of(request)
    form = await read_form(request, CausesForm)
    return private_response(CausesAnswer(causes=await inbox.causes(form.tenant, since=form.since)))


@router.post("/operators/inbox/entry")
async def entry(request: Request) -> Response:
    """Shows a conversation log with its messages that are not logged, and the calls that came to nothing.

    With `text`, which needs the role `text`, it shows what is kept of messages and of the CRM's answers; each look is
    recorded.
    """
    inbox = await inbox_of(request)
    form = await read_form(request, EntryForm)
    return await _answer(inbox, form, lambda key: inbox.entry(key, text=form.text))


@router.post("/operators/inbox/export")
async def export(request: Request) -> Response:
    """Everything that is known of what failed, is parked or waits, page by page; with `text` as for an entry."""
    inbox = await inbox_of(request)
    form = await read_form(request, ExportInboxForm)
    page = inbox.export_some(_to_filter(form), after=form.after, limit=form.limit, text=form.text)
    return private_response(await page)


@router.post("/operators/inbox/retry")
async def retry(request: Request) -> Response:
    """Tries again what failed of a conversation log, and now what waits. A parked one needs `notInCrm`."""
    inbox = await inbox_of(request, Role.ACT)
    form = await read_form(request, RetryForm)
    return await _answer(
        inbox, form, lambda key: inbox.retry(key, not_in_crm=form.not_in_crm, fence=form.fence)
    )


@router.post("/operators/inbox/retry-some")
async def retry_some(request: Request) -> Response:
    """Tries again some of what failed, is parked or waits. Ask again with `next` until there is none."""
    inbox = await inbox_of(request, Role.ACT)
    form = await read_form(request, RetrySomeForm)
    return private_response(
        await inbox.retry_some(
            _to_filter(form), after=form.after, limit=form.limit, not_in_crm=form.not_in_crm
        )
    )


@router.post("/operators/inbox/link")
async def link(request: Request) -> Response:
    """Gives a conversation log to another contact, when nothing of it is in the CRM. Nothing is sent."""
    inbox = await inbox_of(request, Role.ACT)
    form = await read_form(request, LinkForm)
    contact = (form.contact_id, form.contact_name, form.contact_type)
    return await _answer(inbox, form, lambda key: inbox.link(key, *contact, fence=form.fence))


@router.post("/operators/inbox/done")
async def done(request: Request) -> Response:
    """Says that the CRM has it, in an activity if that is known. Without one, the next message makes a new one."""
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
    """What is said about the conversation log that a form names."""
    which = (form.conversation_log_id, form.kind, form.group_contact_id)
    try:
        return private_response(await work(await inbox.find(form.tenant, form.platform, *which)))
    except NotThere:
        raise HttpRefusal(404, _NOT_THERE) from None
    except DecisionRefused as refusal:
        raise HttpRefusal(409, str(refusal)) from None


def _to_filter(form: InboxForm) -> InboxFilter:
    return InboxFilter(form.tenant, form.platform, form.state, check_cause(form.cause))
