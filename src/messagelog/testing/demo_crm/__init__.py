"""A CRM for tests of connectors: small, durable, and hostile when its switch says so.

`create_demo_crm(path)` makes an ASGI app with a REST API for contacts, activities and files. It commits
to the disk before it answers. A switch for each tenant (`/api/chaos`) makes it slow, makes it fail or lose answers,
or takes away features that other CRMs lack too. `serve_demo_crm(path)` serves it on a loopback port for a test.

Its users are data: `API_KEYS` (key -> user) and `TENANTS` (tenant -> its name and first contacts).
"""

from messagelog.testing.demo_crm.app import create_demo_crm
from messagelog.testing.demo_crm.people import API_KEYS, TENANTS, ContactSeed, Tenant, User
from messagelog.testing.demo_crm.serving import ApiReply, DemoCrmClient, DemoCrmServer, serve_demo_crm
from messagelog.testing.demo_crm.wire import ConnectionDroppedError

__all__ = [
    "API_KEYS",
    "TENANTS",
    "ApiReply",
    "ConnectionDroppedError",
    "ContactSeed",
    "DemoCrmClient",
    "DemoCrmServer",
    "Tenant",
    "User",
    "create_demo_crm",
    "serve_demo_crm",
]
