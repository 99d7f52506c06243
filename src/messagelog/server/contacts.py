"""`GET /contact` and `POST /contact`: matching a number, and making a contact for an unknown one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Request, Response

from messagelog.connectors import ConnectorError, NewContact
from messagelog.core.answer import ReturnMessage
from messagelog.core.plan import CREATE_NEW_CONTACT
from messagelog.server.http import (
    Refused,
    assembly_of,
    decoded,
    json_response,
    query_values,
    read_body,
    signed_in,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import TypeVar

    from messagelog.connectors import Connector, Contact

    T = TypeVar("T")

router = APIRouter()

_LONGEST_NUMBER = 64


class _NewContactForm(msgspec.Struct, rename="camel"):
    """The body of `POST /contact`."""

    phone_number: str
    new_contact_name: str
    new_contact_type: str | None = None
    additional_submission: dict[str, Any] | None = None


@router.get("/contact", response_class=Response)
async def find_contact(request: Request) -> Response:
    """The contacts that have a number, and the row that offers a new one where the CRM can make it.

    `contact` is an array whatever happens: the client's log form needs one.
    """
    user = await signed_in(request)
    assembly = assembly_of(request)
    number = query_values(request).get("phoneNumber", "").strip()
    if not number or len(number) > _LONGEST_NUMBER:
        raise Refused(400, "phoneNumber: expected a phone number")
    connector = assembly.runtime.connector(user.platform)
    offer = [_new_contact_row(connector)] if connector.can("create_contact") else []
    try:
        session = await assembly.users.session(connector, user.tenant, user.id)
        found = await _in_time(request, connector.find_contact(session, number))
    except ConnectorError as error:
        notice = ReturnMessage(message=f"Contacts could not be looked up. {error.meaning}", message_type="warning", ttl=5000)  # fmt: skip
        return json_response({"successful": False, "returnMessage": notice, "contact": offer})
    noun = "contact" if len(found) == 1 else "contacts"
    notice = ReturnMessage(message=f"Found {len(found)} {noun}", message_type="success", ttl=3000)
    rows = [_row(contact) for contact in found]
    return json_response({"successful": True, "returnMessage": notice, "contact": rows + offer})


@router.post("/contact", response_class=Response)
async def create_contact(request: Request) -> Response:
    """Makes a contact in the CRM.

    A failure is a 4xx or 5xx text: the client reads `contact` of any other answer, and shows a text.
    """
    user = await signed_in(request)
    form = decoded(await read_body(request), _NewContactForm)
    assembly = assembly_of(request)
    connector = assembly.runtime.connector(user.platform)
    crm = connector.display_name or connector.name
    if not connector.can("create_contact"):
        raise Refused(400, f"Contacts cannot be created in {crm} from here.")
    if not form.phone_number.strip() or not form.new_contact_name.strip():
        field = "phoneNumber" if not form.phone_number.strip() else "newContactName"
        raise Refused(400, f"{field}: is empty")
    contact = NewContact(
        name=form.new_contact_name.strip(),
        phone_number=form.phone_number.strip(),
        type=form.new_contact_type or "",
        additional_submission=form.additional_submission,
    )
    try:
        session = await assembly.users.session(connector, user.tenant, user.id)
        made = await _in_time(request, connector.create_contact(session, contact))
    except ConnectorError as error:
        raise Refused(502, f"The contact was not created in {crm}. {error.meaning}") from error
    notice = ReturnMessage(message="Contact created", message_type="success", ttl=2000)
    row: dict[str, Any] = {"id": made.id, "name": made.name, "type": made.type}
    if made.additional_info is not None:
        row["additionalInfo"] = made.additional_info
    return json_response({"successful": True, "returnMessage": notice, "contact": row})


async def _in_time(request: Request, call: Awaitable[T]) -> T:
    """A call within the time that the client waits for an answer."""
    try:
        async with asyncio.timeout(assembly_of(request).parts.times.answer):
            return await call
    except TimeoutError as error:
        raise ConnectorError("no answer in time") from error


def _row(contact: Contact) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": contact.id,
        "name": contact.name,
        "type": contact.type,
        "phone": contact.phone_number,
        "additionalInfo": contact.additional_info or {},
    }
    if contact.created_at is not None:
        row["createdDate"] = contact.created_at
    return row


def _new_contact_row(connector: Connector) -> dict[str, Any]:
    types = connector.manifest.get("contactTypes") or [{"value": "contact"}]
    return {
        "id": CREATE_NEW_CONTACT,
        "name": "Create new contact...",
        "isNewContact": True,
        "defaultContactType": types[0]["value"],
        "additionalInfo": {},
    }
