"""`/operators/tenants…`: which tenants there are, which hosts are theirs, and a CRM that has moved to another host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.core.operators import Role
from messagelog.core.tenants import HostTaken, Tenants, TenantUnknown
from messagelog.messages import BadRequest
from messagelog.server.http import Refused, assembly_of, read_form
from messagelog.server.operators import operator_of, private
from messagelog.server.routes import Router
from messagelog.server.shapes import MoveTenantForm, TenantsForm

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

router = Router()


@router.post("/operators/tenants")
async def tenants(request: Request) -> Response:
    """Lists tenants with their hosts, in the order of the tenants' names, page by page."""
    await operator_of(request)
    form = await read_form(request, TenantsForm)
    kept = Tenants(assembly_of(request).store)
    return private(await kept.page(form.tenant, form.platform, after=form.after, limit=form.limit))


@router.post("/operators/tenants/move")
async def move(request: Request) -> Response:
    """Says that a tenant's CRM is at another host now, and at no other: nothing is logged again for it.

    The credentials of the tenant's users, and what waits, go to that host from then on.
    """
    operator = await operator_of(request, Role.ADMINISTER)
    form = await read_form(request, MoveTenantForm)
    assembly = assembly_of(request)
    connector = assembly.parts.connectors.get(form.platform)
    if connector is None:
        raise BadRequest("platform", "this server has no connector for it")
    try:
        moved = await Tenants(assembly.store).move(operator, connector, form.tenant, form.hostname)
    except TenantUnknown:
        raise Refused(404, "There is no such tenant.") from None
    except HostTaken as error:
        raise Refused(409, f"This is the host of another tenant: {error}.") from None
    return private(moved)
