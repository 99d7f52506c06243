"""Resolves the contact of a request: the chosen one, or one that the client is creating at this moment."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from cachetools import TTLCache

from messagelog.compose.clean import clean_line
from messagelog.connectors import ConnectorError, Contact
from messagelog.core.contacts.phone_numbers import LONGEST_NUMBER
from messagelog.core.errors import NoContact
from messagelog.messages import CREATE_NEW_CONTACT, BadRequest
from messagelog.messages.fields import identifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from messagelog.connectors import Connector, NewContact, Session
    from messagelog.messages import LogRequest

_PAUSE_SECONDS: Final = 1.0
_REMEMBERED_SECONDS: Final = 60.0
_REMEMBERED_NUMBERS: Final = 10_000

LONGEST_NAME: Final = 255
"""Characters of a contact's name, and of its type."""

_log = structlog.get_logger(__name__)


class ChosenContact(msgspec.Struct, frozen=True):
    """The contact that a conversation is to be logged for."""

    id: str
    name: str
    type: str


class RecentContacts:
    """Remembers the contacts of a number for a minute: each message of a group asks for the same numbers.

    A contact that the client is creating is always looked up at the CRM, and never here.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._known: TTLCache[tuple[str, str, str], list[Contact]] = TTLCache(
            _REMEMBERED_NUMBERS, _REMEMBERED_SECONDS, timer=clock
        )

    async def find(self, connector: Connector, session: Session, number: str) -> list[Contact]:
        """Return the contacts with the number, as the CRM said within the last minute. Raise its errors."""
        place = (connector.name, session.tenant, number)
        contacts = self._known.get(place)
        if contacts is None:
            contacts = self._known[place] = await connector.find_contact(session, number)
        return contacts


def clean_contact(new: NewContact) -> NewContact:
    """Return a new contact with a name as `compose` writes it: in one line, without invisible characters.

    Raises `BadRequest`, in the client's spelling, for a name, number or type that cannot be one.
    """
    name, number = clean_line(new.name, len(new.name)), new.phone_number.strip()
    if not number:
        raise BadRequest("phoneNumber", "is empty")
    if len(number) > LONGEST_NUMBER or not number.isprintable():
        raise BadRequest("phoneNumber", f"expected at most {LONGEST_NUMBER} printable characters")
    if not name:
        raise BadRequest("newContactName", "is empty")
    if len(name) > LONGEST_NAME:
        raise BadRequest("newContactName", f"longer than {LONGEST_NAME} characters")
    if len(new.type) > LONGEST_NAME or not new.type.isprintable():
        raise BadRequest("newContactType", f"expected at most {LONGEST_NAME} printable characters")
    return msgspec.structs.replace(new, name=name, phone_number=number)


def contact_from_request(request: LogRequest) -> ChosenContact | None:
    """Return the contact that the request names; None if the client is still creating it."""
    if request.contact_id == CREATE_NEW_CONTACT:
        return None
    return ChosenContact(
        request.contact_id, _clean(request.contact_name), _clean(request.contact_type) or "contact"
    )


def existing_contact(id_: str, name: str, type_: str) -> ChosenContact:
    """Return a contact that an operator names by its id in the CRM. The id is checked as in requests.

    Raises `BadRequest`, in the spelling of requests, for an id, name or type that no contact of a CRM has.
    """
    try:
        identifier(id_, "contactId")
    except ValueError as error:
        field, _, problem = str(error).partition(": ")
        raise BadRequest(field, problem) from None
    if id_ == CREATE_NEW_CONTACT:
        raise BadRequest(
            "contactId", f"{CREATE_NEW_CONTACT} is the client's word for a contact that is not there yet"
        )
    named = {"contactName": clean_line(name, len(name)), "contactType": clean_line(type_, len(type_))}
    for field, text in named.items():
        if len(text) > LONGEST_NAME:
            raise BadRequest(field, f"longer than {LONGEST_NAME} characters")
    return ChosenContact(id_, named["contactName"], named["contactType"] or "contact")


async def resolve_contact(
    connector: Connector,
    session: Session,
    request: LogRequest,
    *,
    seconds_left: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> ChosenContact:
    """Return the one contact that has the number now; ask again while the client may still be creating it.

    Raises `NoContact` if there is none in time, or more than one.
    """
    numbers = [party.phone_number for party in request.info.correspondents if party.phone_number]
    if not numbers:
        raise NoContact(
            "The new contact has no phone number, so it cannot be found. Choose the contact and log again."
        )
    while True:
        matches = await _find_matches(connector, session, numbers, seconds_left())
        named = [match for match in matches if match.name == request.contact_name] if len(numbers) > 1 else []
        if len(named) == 1:
            matches = named
        if len(matches) == 1:
            return ChosenContact(matches[0].id, _clean(matches[0].name), _clean(matches[0].type) or "contact")
        where = numbers[0] if len(numbers) == 1 else "the numbers of this conversation"
        if matches:
            raise NoContact(f"{len(matches)} contacts have {where}. Choose one of them and log again.")
        if seconds_left() <= _PAUSE_SECONDS:
            raise NoContact(f"There is no contact for {where} yet. Create the contact, then log again.")
        await sleep(_PAUSE_SECONDS)


async def _find_matches(
    connector: Connector, session: Session, numbers: list[str], seconds: float
) -> list[Contact]:
    """Return the contacts that have one of the numbers, each once; none if the CRM does not answer in time."""
    found: dict[str, Contact] = {}
    try:
        async with asyncio.timeout(seconds):
            for number in dict.fromkeys(numbers):
                for match in await connector.find_contact(session, number):
                    found.setdefault(match.id, match)
    except TimeoutError:
        return []
    except ConnectorError as error:
        _log.warning(
            "contacts_not_found", platform=connector.name, error=type(error).__name__, status=error.status
        )
        raise NoContact(f"The contact could not be looked up: {error.meaning}") from error
    return [contact for contact in found.values() if contact.id != CREATE_NEW_CONTACT]


def _clean(text: str | None) -> str:
    """Return a name without characters that a database cannot keep."""
    return (text or "").replace("\0", "\N{REPLACEMENT CHARACTER}")
