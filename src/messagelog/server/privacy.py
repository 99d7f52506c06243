"""`/operators/erase/…` and `/operators/export`: what the law lets people ask for, done by an administrator.

Whom it is about stands in the body and never in the URL: proxies log URLs, and an id of a CRM may hold anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from messagelog.core.erasing import Eraser
from messagelog.core.exporting import export_contact
from messagelog.core.operators import Role
from messagelog.server.http import context_of, read_form
from messagelog.server.operators import authenticate_operator, private_response
from messagelog.server.routes import Router
from messagelog.server.shapes import EraseTenantForm, EraseUserForm, ExportForm
from messagelog.storage.sealing import SealBroken

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

router = Router()

_SEALED: Final = "The contacts of this number are sealed with another secret key."


@router.post("/operators/erase/user")
async def erase_user(request: Request) -> Response:
    """Erases a user of a connector: credentials, session, settings, and what waits for her.

    Where `underWay` is not 0, a call in her name has to end first, which takes a minute at most: ask again then.
    """
    operator = await authenticate_operator(request, Role.ADMINISTER)
    form = await read_form(request, EraseUserForm)
    assembly = context_of(request)
    eraser = Eraser(assembly.store, assembly.sealer)
    return private_response(await eraser.user(operator, form.tenant, form.platform, form.id))


@router.post("/operators/erase/tenant")
async def erase_tenant(request: Request) -> Response:
    """Erases a tenant, at one platform or at all: every row of every table that is theirs."""
    operator = await authenticate_operator(request, Role.ADMINISTER)
    form = await read_form(request, EraseTenantForm)
    assembly = context_of(request)
    eraser = Eraser(assembly.store, assembly.sealer)
    return private_response(await eraser.tenant(operator, form.tenant, form.platform))


@router.post("/operators/export")
async def export(request: Request) -> Response:
    """Everything that is held about a contact, by her id in the CRM or by a phone number, waiting text included."""
    operator = await authenticate_operator(request, Role.ADMINISTER, Role.TEXT)
    form = await read_form(request, ExportForm)
    assembly = context_of(request)
    try:
        found = await export_contact(
            assembly.store,
            assembly.sealer,
            operator,
            form.tenant,
            form.platform,
            contact_id=form.id,
            phone_number=form.phone,
        )
    except SealBroken:
        raise HTTPException(409, _SEALED) from None
    return private_response(found)
