"""`/operators/tenants…`: lists tenants with their hosts, and moves a tenant's CRM to another host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.core.operators.accounts import Role
from messagelog.core.users.tenants import HostTaken, TenantMove, TenantPage, Tenants, TenantUnknown
from messagelog.messages import BadRequest
from messagelog.server.openapi.operations import Access, Content
from messagelog.server.openapi.schemas import MoveTenantForm, TenantsForm
from messagelog.server.requests import HttpRefusal, context_of, read_form
from messagelog.server.routes.operators import authenticate_operator, private_response
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

router = Router()


@router.post(
    "/operators/tenants",
    access=Access.OPERATOR,
    body=Content(TenantsForm, {"platform": "ticket-crm"}),
    answer=Content(
        TenantPage,
        {
            "tenants": [
                {
                    "tenant": "acme@crm.example.com",
                    "platform": "ticket-crm",
                    "host": "https://crm.example.com",
                    "crmTenant": "acme",
                    "createdAt": 1_783_998_001_000,
                }
            ],
            "next": None,
        },
    ),
)
async def tenants(request: Request) -> Response:
    """List tenants with their hosts, in the order of the tenants' names, page by page."""
    await authenticate_operator(request)
    form = await read_form(request, TenantsForm)
    directory = Tenants(context_of(request).store)
    return private_response(
        await directory.page(form.tenant, form.platform, after=form.after, limit=form.limit)
    )


@router.post(
    "/operators/tenants/move",
    access=Access.OPERATOR,
    body=Content(
        MoveTenantForm,
        {"tenant": "acme@crm.example.com", "platform": "ticket-crm", "hostname": "crm.example.org"},
    ),
    answer=Content(
        TenantMove,
        {"before": ["https://crm.example.com"], "host": "https://crm.example.org", "users": 12},
    ),
    errors=(404, 409),
)
async def move(request: Request) -> Response:
    """Move a tenant's CRM to another host, and to no other. Logged messages are not logged again.

    The credentials of the tenant's users, and waiting messages, go to that host from then on.
    """
    operator = await authenticate_operator(request, Role.ADMINISTER)
    form = await read_form(request, MoveTenantForm)
    context = context_of(request)
    connector = context.config.connectors.get(form.platform)
    if connector is None:
        raise BadRequest("platform", "this server has no connector for it")
    try:
        moved = await Tenants(context.store).move(operator, connector, form.tenant, form.hostname)
    except TenantUnknown:
        raise HttpRefusal(404, "There is no such tenant.") from None
    except HostTaken as error:
        raise HttpRefusal(409, f"This is the host of another tenant: {error}.") from None
    return private_response(moved)
