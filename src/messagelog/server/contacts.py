"""`GET /contact` and `POST /contact`: matching a number, and making a contact for an unknown one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from messagelog.connectors import ConnectorError, NewContact, OutcomeUnknown
from messagelog.core.answer import ReturnMessage
from messagelog.core.plan import CREATE_NEW_CONTACT
from messagelog.messages import BadRequest
from messagelog.server.http import (
    Refused,
    asked,
    assembly_of,
    json_response,
    query_values,
    read_form,
    signed_in,
)
from messagelog.server.manifest import additional_fields, contact_types

if TYPE_CHECKING:
    from messagelog.connectors import Connector, Contact

router = APIRouter()

_LONGEST_NUMBER: Final = 64


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
    number = _number(query_values(request).get("phoneNumber", ""))
    connector = assembly.runtime.connector(user.platform)
    offer = [_new_contact_row(connector)] if connector.can("create_contact") else []
    try:
        session = await assembly.users.session(connector, user.tenant, user.id)
        found = await asked(request, connector, connector.find_contact(session, number))
    except ConnectorError as error:
        # A look-up changes nothing, so a lost answer is no more than that.
        why = "The CRM did not answer." if isinstance(error, OutcomeUnknown) else error.meaning
        notice = _warning(f"Contacts could not be looked up. {why}")
        return json_response({"successful": False, "returnMessage": notice, "contact": offer})
    noun = "contact" if len(found) == 1 else "contacts"
    notice = ReturnMessage(message=f"Found {len(found)} {noun}", message_type="success", ttl=3000)
    rows = [_row(connector, contact) for contact in found]
    return json_response({"successful": True, "returnMessage": notice, "contact": rows + offer})


@router.post("/contact", response_class=Response)
async def create_contact(request: Request) -> Response:
    """Makes a contact in the CRM.

    A failure is a 4xx or 5xx text: the client reads `contact` of any other answer, and shows a text.
    """
    user = await signed_in(request)
    contact = _new_contact(await read_form(request, _NewContactForm))
    assembly = assembly_of(request)
    connector = assembly.runtime.connector(user.platform)
    crm = connector.display_name or connector.name
    if not connector.can("create_contact"):
        raise Refused(400, f"Contacts cannot be created in {crm} from here.")
    try:
        session = await assembly.users.session(connector, user.tenant, user.id)
        made = await asked(request, connector, connector.create_contact(session, contact))
    except OutcomeUnknown as error:
        raise Refused(
            502, f"{crm} gave no clear answer. Look for the contact there before you try again."
        ) from error
    except ConnectorError as error:
        raise Refused(502, f"The contact was not created in {crm}. {error.meaning}") from error
    notice = ReturnMessage(message="Contact created", message_type="success", ttl=2000)
    row: dict[str, Any] = {"id": made.id, "name": made.name, "type": made.type}
    if made.additional_info is not None:
        row["additionalInfo"] = made.additional_info
    return json_response({"successful": True, "returnMessage": notice, "contact": row})


def _number(text: str) -> str:
    """The phone number of a query. The client does not encode its plus, which then reads as a blank."""
    number = text.strip()
    if text.startswith(" ") and number[:1].isdigit():
        number = f"+{number}"
    if not number or len(number) > _LONGEST_NUMBER:
        raise BadRequest("phoneNumber", "expected a phone number")
    return number


def _new_contact(form: _NewContactForm) -> NewContact:
    name, number = form.new_contact_name.strip(), form.phone_number.strip()
    if not number:
        raise BadRequest("phoneNumber", "is empty")
    if not name:
        raise BadRequest("newContactName", "is empty")
    return NewContact(
        name=name,
        phone_number=number,
        type=form.new_contact_type or "",
        additional_submission=form.additional_submission,
    )


def _warning(message: str) -> ReturnMessage:
    return ReturnMessage(message=message, message_type="warning", ttl=5000)


def _row(connector: Connector, contact: Contact) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": contact.id,
        "name": contact.name,
        "type": contact.type,
        "phone": contact.phone_number,
        "additionalInfo": _additional_info(connector, contact.additional_info or {}),
    }
    if contact.created_at is not None:
        row["createdDate"] = contact.created_at
    return row


def _new_contact_row(connector: Connector) -> dict[str, Any]:
    return {
        "id": CREATE_NEW_CONTACT,
        "name": "Create new contact...",
        "isNewContact": True,
        "defaultContactType": contact_types(connector)[0]["value"],
        "additionalInfo": _additional_info(connector, {}),
    }


def _additional_info(connector: Connector, known: dict[str, Any]) -> dict[str, Any]:
    """A contact's values for the manifest's fields, with what the client's form cannot do without.

    It shows a selection and a checkbox only where the contact has a value for it, takes a selection's options from
    there alone, and stumbles over a selection of this contact that is empty.
    """
    info = dict(known)
    for field in additional_fields(connector):
        const: str = field["const"]
        kind = field.get("type")
        if field.get("contactDependent"):
            if kind == "selection" and info.get(const) == []:
                del info[const]
        elif kind == "selection":
            info.setdefault(const, field.get("options", []))
        elif kind == "checkbox":
            info.setdefault(const, field.get("defaultValue", False))
    return info
