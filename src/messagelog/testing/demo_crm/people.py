"""The invented people of the demo CRM: its users, and their first contacts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class User:
    """A user of the API, who has a key and sees the rows of one tenant."""

    id: str
    name: str
    tenant: str
    timezone: str = "America/Los_Angeles"
    timezone_offset: str = "-08:00"


@dataclass(frozen=True, slots=True)
class ContactSeed:
    """A contact that a tenant has from the start; `phone` is empty when there is none.

    `fields` holds its custom fields: `billable`, and `matter`, a list of `{const, title}` options, if any.
    """

    name: str
    phone: str
    type: Literal["contact", "lead"] = "contact"
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of the CRM. Its first contacts get the ids `c-1`, `c-2`, ... in the order given."""

    id: str
    name: str
    contacts: tuple[ContactSeed, ...]


def _matters(**titles: str) -> list[dict[str, str]]:
    return [{"const": const.replace("_", "-"), "title": title} for const, title in titles.items()]


_CONTACTS = (
    ContactSeed(
        "Maya Patel",
        "+14155550142",
        fields={"matter": _matters(m_1="Renewal 2026", m_2="Onboarding"), "billable": True},
    ),
    ContactSeed(
        "Omar Reyes", "+14155550177", fields={"matter": _matters(m_3="Lease review"), "billable": False}
    ),
    # One number, two people: what a connector finds for it is ambiguous.
    ContactSeed("Nina Castillo", "+14155550123", fields={"billable": False}),
    ContactSeed("Castillo Bakery", "+14155550123", fields={"billable": True}),
    ContactSeed("Tom Becker", "", fields={"billable": False}),
    ContactSeed("Priya Nair", "+14155550164", type="lead", fields={"billable": False}),
    ContactSeed("Lena Förster", "+493023125042", fields={"billable": True}),
)

# Both tenants have the same people under the same ids: a look-up without the tenant would show.
TENANTS: Mapping[str, Tenant] = MappingProxyType(
    {
        "acme": Tenant("acme", "Acme Legal", _CONTACTS),
        "otto": Tenant("otto", "Otto & Partners", _CONTACTS),
    }
)

API_KEYS: Mapping[str, User] = MappingProxyType(
    {
        "demo-ada": User("u-ada", "Ada Lovell", "acme"),
        "demo-grace": User("u-grace", "Grace Harper", "acme"),
        "demo-otto": User("u-otto", "Otto Lindqvist", "otto"),
    }
)
