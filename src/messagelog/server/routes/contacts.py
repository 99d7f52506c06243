"""`GET /contact`, `GET /custom/contact/search` and `POST /contact`: find contacts by number or name, or create one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import UNSET

from messagelog.connectors import ConnectorError, NewContact, OutcomeUnknown
from messagelog.core.contacts.phone_numbers import LONGEST_NUMBER, MOST_FORMATS
from messagelog.core.contacts.resolve import LONGEST_NAME, clean_contact
from messagelog.core.intake.answer import ReturnMessage, warning, with_warnings
from messagelog.core.intake.plugins import LEFT_BY_PLUGINS, FilteredContact
from messagelog.messages import CREATE_NEW_CONTACT, BadRequest
from messagelog.plugins import RequestContext
from messagelog.server.openapi.operations import Access, Content, Parameter, notice_example
from messagelog.server.openapi.schemas import ContactRow, ContactsAnswer, NewContactAnswer, NewContactForm
from messagelog.server.requests import (
    HttpRefusal,
    authenticate,
    call_with_timeout,
    context_of,
    json_response,
    query_values,
    read_form,
    session_of,
)
from messagelog.server.routes.contact_fields import contact_field_values
from messagelog.server.routes.manifest import contact_types
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from msgspec import UnsetType
    from starlette.requests import Request
    from starlette.responses import Response

    from messagelog.connectors import Connector, Contact
    from messagelog.server.context import AppContext

router = Router()

_log = structlog.get_logger(__name__)

_NUMBER: Final = "+14155550142"
_CONTACT: Final = {
    "id": "c-1",
    "name": "Maya Patel",
    "type": "contact",
    "phone": _NUMBER,
    "additionalInfo": {"matter": [{"const": "m-1", "title": "Renewal 2026"}]},
    "createdDate": "2026-01-01T00:00:00Z",
}
_OFFER: Final = {
    "id": CREATE_NEW_CONTACT,
    "name": "Create new contact...",
    "isNewContact": True,
    "defaultContactType": "contact",
    "additionalInfo": {},
}


@router.get(
    "/contact",
    access=Access.USER,
    query=(
        Parameter(
            "phoneNumber", "The number; its plus need not be encoded.", _NUMBER, required=True, longest=64
        ),
        Parameter("overridingFormat", "Formats of the CRM, with commas.", "(***) ***-****"),
        Parameter("isExtension", "Whether it is an extension. Not used.", "false"),
        Parameter("isForceRefreshAccountData", "true asks the CRM again.", "false"),
    ),
    answer=Content(
        ContactsAnswer,
        {
            "successful": True,
            "returnMessage": notice_example("Found 1 contact", ttl=3000),
            "contact": [_CONTACT, _OFFER],
        },
    ),
)
async def find_contact(request: Request) -> Response:
    """Find the contacts of a phone number, and offer a new contact if the CRM can create one.

    `contact` is always an array, since the client's log form needs one. Contacts that were found within the last
    minutes are not looked up again, unless `isForceRefreshAccountData` is `true`.
    """
    user = await authenticate(request)
    context = context_of(request)
    query = query_values(request)
    number, formats = _number(query.get("phoneNumber", "")), _formats(query.get("overridingFormat", ""))
    connector = context.runtime.connector(user.platform)
    offer = [_new_contact_row(connector)] if connector.can("create_contact") else []
    try:
        session = await session_of(request, connector, user)
        found = await context.contacts.find(
            connector,
            session,
            number,
            formats=formats,
            fresh=query.get("isForceRefreshAccountData") == "true",
            seconds=context.config.times.answer,
        )
    except ConnectorError as error:
        return json_response(_lookup_failure_answer(context, connector, error, offer))
    context.metrics.count_look_up(connector.name)
    notice = _not_found_notice(connector, number)
    if found:
        message = "Found 1 contact" if len(found) == 1 else f"Found {len(found)} contacts"
        notice = ReturnMessage(message=message, message_type="success", ttl=3000)
    rows = [_contact_row(connector, contact) for contact in found]
    return json_response(ContactsAnswer(successful=True, return_message=notice, contact=rows + offer))


@router.get(
    "/custom/contact/search",
    access=Access.USER,
    query=(Parameter("name", "A part of a name.", "maya", required=True, longest=255),),
    answer=Content(ContactsAnswer, {"successful": True, "returnMessage": None, "contact": [_CONTACT]}),
)
async def find_contact_with_name(request: Request) -> Response:
    """Find contacts by a part of their name. Without any there is a `returnMessage`, which the client shows."""
    user = await authenticate(request)
    context = context_of(request)
    name = query_values(request).get("name", "").strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise BadRequest("name", f"expected 1 to {LONGEST_NAME} printable characters")
    connector = context.runtime.connector(user.platform)
    if not connector.can("find_contact_with_name"):
        message = f"{connector.display_name or connector.name} cannot be searched by name from here."
        return json_response(ContactsAnswer(successful=False, return_message=warning(message), contact=[]))
    try:
        session = await session_of(request, connector, user)
        found = await call_with_timeout(request, connector, connector.find_contact_with_name(session, name))
    except ConnectorError as error:
        return json_response(_lookup_failure_answer(context, connector, error, []))
    context.metrics.count_look_up(connector.name)
    rows = [_contact_row(connector, contact) for contact in found if contact.id != CREATE_NEW_CONTACT]
    notice = None if rows else warning("No contact has a name like this.")
    return json_response(ContactsAnswer(successful=True, return_message=notice, contact=rows))


@router.post(
    "/contact",
    access=Access.USER,
    body=Content(
        NewContactForm,
        {
            "phoneNumber": "+14155550188",
            "newContactName": "Nina New",
            "newContactType": "contact",
            "additionalSubmission": {"topic": ""},
        },
    ),
    answer=Content(
        NewContactAnswer,
        {
            "successful": True,
            "returnMessage": notice_example("Contact created", ttl=2000),
            "contact": {"id": "c-5", "name": "Nina New", "type": "contact"},
        },
    ),
    errors=(422, 502),
)
async def create_contact(request: Request) -> Response:
    """Create a contact in the CRM, once, even if the same form arrives several times or at several processes.

    A failure is a 4xx or 5xx with a text, which the client shows: of any other answer it reads `contact`.
    """
    user = await authenticate(request)
    contact = _new_contact(await read_form(request, NewContactForm))
    context = context_of(request)
    connector = context.runtime.connector(user.platform)
    crm = connector.display_name or connector.name
    if not connector.can("create_contact"):
        raise HttpRefusal(400, f"Contacts cannot be created in {crm} from here.")
    clock, seconds = asyncio.get_running_loop().time, context.config.times.answer
    until = clock() + seconds
    filtered = FilteredContact(contact)
    if context.plugins is not None:
        request_context = RequestContext(user.tenant, user.platform, crm, user.id)
        filtered = await context.plugins.apply_to_contact(
            request_context, contact, until - LEFT_BY_PLUGINS * seconds
        )
    left = until - clock()
    try:
        session = await session_of(request, connector, user)
        created = await context.contacts.make(connector, session, filtered.contact, seconds=left)
    except OutcomeUnknown as error:
        raise HttpRefusal(
            502, f"{crm} gave no clear answer. Look for the contact there before you try again."
        ) from error
    except ConnectorError as error:
        raise HttpRefusal(502, f"The contact was not created in {crm}. {error.meaning}") from error
    notice = with_warnings(
        ReturnMessage(message="Contact created", message_type="success", ttl=2000), filtered.warnings
    )
    info = UNSET if created.additional_info is None else created.additional_info
    row = ContactRow(id=created.id, name=created.name, type=created.type, additional_info=info)
    return json_response(NewContactAnswer(successful=True, return_message=notice, contact=row))


def _number(text: str) -> str:
    """Return the phone number of a query. The client does not encode its plus, which then reads as a blank."""
    number = text.strip()
    if text.startswith(" ") and number[:1].isdigit():
        number = f"+{number}"
    if not number or len(number) > LONGEST_NUMBER or not number.isprintable():
        raise BadRequest("phoneNumber", "expected a phone number")
    return number


def _formats(text: str) -> list[str]:
    """Return the formats in which the CRM may have the number: in the query `(***) ***-****`, with commas."""
    formats = [format_.strip() for format_ in text.split(",") if format_.strip()]
    if len(formats) > MOST_FORMATS:
        raise BadRequest("overridingFormat", f"expected at most {MOST_FORMATS} formats")
    if not all(len(format_) <= LONGEST_NUMBER and format_.isprintable() for format_ in formats):
        raise BadRequest(
            "overridingFormat", f"expected formats of at most {LONGEST_NUMBER} printable characters"
        )
    return formats


def _new_contact(form: NewContactForm) -> NewContact:
    return clean_contact(
        NewContact(
            name=form.new_contact_name,
            phone_number=form.phone_number,
            type=form.new_contact_type or "",
            additional_submission=form.additional_submission,
        )
    )


def _lookup_failure_answer(
    context: AppContext, connector: Connector, error: ConnectorError, offer: list[ContactRow]
) -> ContactsAnswer:
    context.metrics.count_look_up(connector.name, error)
    _log.warning(
        "contacts_not_found", platform=connector.name, error=type(error).__name__, status=error.status
    )
    # A look-up changes nothing in the CRM, so a lost answer is harmless.
    why = "The CRM did not answer." if isinstance(error, OutcomeUnknown) else error.meaning
    notice = warning(f"Contacts could not be looked up. {why}")
    return ContactsAnswer(successful=False, return_message=notice, contact=offer)


def _not_found_notice(connector: Connector, number: str) -> ReturnMessage:
    """Return the notice of the reference: a warning, whose details name the number."""
    crm = connector.display_name or connector.name
    text = f"A contact with the phone number {number} could not be found in your {crm} account."
    return ReturnMessage(
        message="Contact not found",
        message_type="warning",
        ttl=5000,
        details=[{"title": "Details", "items": [{"id": "1", "type": "text", "text": text}]}],
    )


def _contact_row(connector: Connector, contact: Contact) -> ContactRow:
    return ContactRow(
        id=contact.id,
        name=contact.name,
        type=contact.type,
        phone=contact.phone_number,
        created_date=_or_unset(contact.created_at),
        most_recent_activity_date=_or_unset(contact.most_recent_activity_at),
        title=_or_unset(contact.title),
        company=_or_unset(contact.company),
        email=_or_unset(contact.email),
        additional_info=contact_field_values(connector, contact.additional_info or {}),
    )


def _or_unset(value: str | None) -> str | UnsetType:
    return UNSET if value is None else value


def _new_contact_row(connector: Connector) -> ContactRow:
    types = [each["value"] for each in contact_types(connector)]
    return ContactRow(
        id=CREATE_NEW_CONTACT,
        name="Create new contact...",
        is_new_contact=True,
        default_contact_type=types[0],
        additional_info=contact_field_values(connector, {}, types=types),
    )
