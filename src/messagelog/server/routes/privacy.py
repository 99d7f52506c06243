"""`/operators/erase/…` and `/operators/export`: an administrator erases or exports the data of people who ask for it.

Ids are in the body, never in the URL: proxies log URLs, and an id of a CRM may contain anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from messagelog.core.admin.erasure import Erased, Eraser
from messagelog.core.admin.export import Export, export_contact
from messagelog.core.operators.accounts import Role
from messagelog.server.openapi.operations import Access, Content
from messagelog.server.openapi.schemas import EraseTenantForm, EraseUserForm, ExportForm
from messagelog.server.requests import context_of, read_form
from messagelog.server.routes.operators import authenticate_operator, private_response
from messagelog.server.routing import Router
from messagelog.storage.encryption.sealer import SealBroken

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

router = Router()

_SEALED: Final = "The contacts of this number are sealed with another secret key."

_NOTHING: Final = dict.fromkeys(
    ("users", "settings", "contacts", "messages", "kept", "parked", "underWay"), 0
)


@router.post(
    "/operators/erase/user",
    access=Access.OPERATOR,
    body=Content(EraseUserForm, {"tenant": "acme", "platform": "demo", "id": "u-ada"}),
    answer=Content(Erased, {**_NOTHING, "users": 1, "settings": 2, "messages": 1, "kept": 40}),
)
async def erase_user(request: Request) -> Response:
    """Erase a user of a connector: credentials, session, settings, and messages that are not yet in the CRM.

    If `underWay` is not 0, a call for the user has to end first, which takes at most a minute: repeat the request then.
    """
    operator = await authenticate_operator(request, Role.ADMINISTER)
    form = await read_form(request, EraseUserForm)
    context = context_of(request)
    eraser = Eraser(context.store, context.sealer)
    return private_response(await eraser.user(operator, form.tenant, form.platform, form.id))


@router.post(
    "/operators/erase/tenant",
    access=Access.OPERATOR,
    body=Content(EraseTenantForm, {"tenant": "acme"}),
    answer=Content(Erased, {**_NOTHING, "users": 12, "contacts": 30, "messages": 4_000}),
)
async def erase_tenant(request: Request) -> Response:
    """Erase a tenant, at one platform or at all: every row of every table that belongs to them."""
    operator = await authenticate_operator(request, Role.ADMINISTER)
    form = await read_form(request, EraseTenantForm)
    context = context_of(request)
    eraser = Eraser(context.store, context.sealer)
    return private_response(await eraser.tenant(operator, form.tenant, form.platform))


@router.post(
    "/operators/export",
    access=Access.OPERATOR,
    body=Content(ExportForm, {"tenant": "acme", "platform": "demo", "id": "c-1"}),
    answer=Content(
        Export,
        {
            "tenant": "acme",
            "platform": "demo",
            "contacts": [
                {"id": "c-1", "name": "Maya Patel", "type": "contact", "phone_number": "+14155550142"}
            ],
            "conversationLogs": [],
        },
    ),
    errors=(409,),
)
async def export(request: Request) -> Response:
    """Export all data about a contact, by their id in the CRM or a phone number, with the text of waiting messages."""
    operator = await authenticate_operator(request, Role.ADMINISTER, Role.TEXT)
    form = await read_form(request, ExportForm)
    context = context_of(request)
    try:
        found = await export_contact(
            context.store,
            context.sealer,
            operator,
            form.tenant,
            form.platform,
            contact_id=form.id,
            phone_number=form.phone,
        )
    except SealBroken:
        raise HTTPException(409, _SEALED) from None
    return private_response(found)
