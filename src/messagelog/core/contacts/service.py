"""Finds the contacts of a number, and creates a contact once, however often a form is sent."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from messagelog.connectors import AuthExpired, ConnectorError, Contact, OutcomeUnknown
from messagelog.connectors.errors import SignInRenewed
from messagelog.core.contacts.phone_numbers import format_variants, normalize_number
from messagelog.core.rate_limits.deadline import call_with_timeout
from messagelog.messages import CREATE_NEW_CONTACT
from messagelog.storage import transactions
from messagelog.storage.encryption.sealer import SealBroken
from messagelog.storage.records.contacts import NewContactKey, NewContactState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from messagelog.connectors import Connector, NewContact, Session
    from messagelog.storage import Sealer, Store
    from messagelog.storage.records.contacts import NewContactClaim

_HELD_SECONDS: Final = 60.0
"""How long a form that is sent again is answered with the contact that was created."""

_FORBIDDEN: Final = 403
_SHORTEST_POLL: Final = 0.05
_LONGEST_POLL: Final = 0.5

_CONTACTS = msgspec.json.Decoder(list[Contact])
_CONTACT = msgspec.json.Decoder(Contact)


@dataclass(frozen=True, slots=True)
class _Creation:
    """One request to create a contact. Its time is over `until`, by the event loop's clock."""

    connector: Connector
    session: Session
    new: NewContact
    key: NewContactKey
    owner: str
    until: float

    @property
    def seconds_left(self) -> float:
        return self.until - asyncio.get_running_loop().time()


class ContactService:
    """The contacts of each tenant and platform, shared by all processes through the database.

    Contacts that were found are kept for `age` seconds (0: not at all). That no contact has a number is never kept,
    since the user is about to change it. `lease` outlasts any call that creates a contact.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        *,
        age: float,
        lease: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._age_ms = int(age * 1000)
        self._lease_ms = int(lease * 1000)
        self._sleep = sleep

    # ------------------------------------------------------------------------------------------- find

    async def find(
        self,
        connector: Connector,
        session: Session,
        number: str,
        *,
        formats: Sequence[str] = (),
        fresh: bool = False,
        seconds: float,
    ) -> list[Contact]:
        """Return the contacts that have a number, in any of the spellings. Raises the connector's errors.

        `fresh` asks the CRM even if it was asked a moment ago; `seconds` is the time for the answer.
        """
        place = (session.tenant, connector.name, normalize_number(number))
        numbers = format_variants(number, formats)
        if not place[2] or not self._age_ms:
            return await call_with_timeout(connector, _search(connector, session, numbers), seconds)
        kept = await self._store.read(lambda: transactions.find_contacts(*place))
        if kept.contacts is not None and 0 <= kept.age_ms < self._age_ms and not fresh:
            with suppress(SealBroken):  # sealed with a secret key that is gone: the CRM is asked again
                return _CONTACTS.decode(self._sealer.open(kept.contacts, "contacts", *place))
        found = await call_with_timeout(connector, _search(connector, session, numbers), seconds)
        await self._keep(place, found, asked_at=kept.now)
        return found

    async def _keep(self, place: tuple[str, str, str], found: list[Contact], *, asked_at: int) -> None:
        """Store the CRM's answer, unless a contact with this number was created since it was asked."""
        if not found:
            await self._store.write(lambda: transactions.drop_contacts(*place, asked_at=asked_at))
            return
        sealed = self._sealer.seal(msgspec.json.encode(found), "contacts", *place)
        age = self._age_ms
        await self._store.write(
            lambda: transactions.keep_contacts(*place, sealed, asked_at=asked_at, age_ms=age)
        )

    # ------------------------------------------------------------------------------------------- make

    async def make(
        self, connector: Connector, session: Session, new: NewContact, *, seconds: float
    ) -> Contact:
        """Create a contact, once for all requests for the same one at the same time. Raises the connector's errors.

        Requests are for the same contact if tenant, platform, number, name and type are equal. The later ones wait for
        the first one's outcome. After `OutcomeUnknown` there may be such a contact; the next request has the CRM
        searched for it first.
        """
        until = asyncio.get_running_loop().time() + seconds
        key = self._key(session.tenant, connector.name, new)
        attempt = _Creation(connector, session, new, key, uuid.uuid4().hex, until)
        claim = await self._claim(attempt)
        if claim.contact is not None:
            try:
                return _CONTACT.decode(self._sealer.open(claim.contact, "newContacts", *key))
            except SealBroken:
                raise OutcomeUnknown("the contact of a moment ago cannot be opened any more") from None
        if not claim.mine:
            raise OutcomeUnknown("another request is creating it")
        made = await self._find_existing(attempt) if claim.ask_first else None
        if made is None:
            try:
                made = await self._create(attempt)
            except SignInRenewed as error:
                # It may have been created with the old sign-in: the next attempt searches for it first.
                if connector.settle_seconds >= attempt.seconds_left:
                    raise OutcomeUnknown(error.detail, status=error.status) from error
                await self._sleep(connector.settle_seconds)
                return await self.make(connector, session, new, seconds=attempt.seconds_left)
        # The contacts that the number had until now are forgotten, before the new one is recorded.
        place = (key.tenant, key.platform, normalize_number(new.phone_number))
        await self._store.write(lambda: transactions.forget_contacts(*place))
        sealed = self._sealer.seal(msgspec.json.encode(made), "newContacts", *key)
        await self._release(attempt, NewContactState.MADE, _HELD_SECONDS, sealed)
        return made

    def _key(self, tenant: str, platform: str, new: NewContact) -> NewContactKey:
        """Return the same key for forms that only differ in blanks and upper or lower case; it tells no name."""
        text = "\0".join((normalize_number(new.phone_number), _comparable_name(new.name), new.type))
        hashed = hashlib.blake2b(text.encode(), key=self._sealer.entry_key, digest_size=16)
        return NewContactKey(tenant, platform, hashed.hexdigest())

    async def _claim(self, attempt: _Creation) -> NewContactClaim:
        """Claim the creation, or return what another request created; neither if the time is over."""
        key, owner = attempt.key, attempt.owner
        poll = _SHORTEST_POLL
        while True:
            claim = await self._store.write(
                lambda: transactions.claim_new_contact(key, owner, self._lease_ms)
            )
            left = attempt.seconds_left
            if claim.mine or claim.contact is not None or left <= 0:
                return claim
            await self._sleep(min(poll, left))
            poll = min(poll * 2, _LONGEST_POLL)

    async def _find_existing(self, attempt: _Creation) -> Contact | None:
        """Return the contact that an earlier attempt created, by its number, name and type."""
        new = attempt.new
        try:
            found = await call_with_timeout(
                attempt.connector,
                _search(attempt.connector, attempt.session, [new.phone_number]),
                attempt.seconds_left,
            )
        except ConnectorError:
            # Nothing was created now; the earlier attempt's outcome is still unknown.
            await self._release(attempt, NewContactState.UNKNOWN, 0.0)
            raise
        name = _comparable_name(new.name)
        same = (each for each in found if _comparable_name(each.name) == name and new.type in {"", each.type})
        return next(same, None)

    async def _create(self, attempt: _Creation) -> Contact:
        connector = attempt.connector
        try:
            made = await call_with_timeout(connector, _call_create_contact(attempt), attempt.seconds_left)
        except ConnectorError as error:
            # There may be a contact despite a refusal: a gateway may refuse what the CRM has done.
            refused = isinstance(error, AuthExpired) or error.status == _FORBIDDEN
            if isinstance(error, OutcomeUnknown) or (refused and error.wrote):
                await self._release(attempt, NewContactState.UNKNOWN, connector.settle_seconds)
            else:
                await self._store.write(lambda: transactions.drop_new_contact(attempt.key, attempt.owner))
            raise
        return made

    async def _release(
        self, attempt: _Creation, state: NewContactState, seconds: float, contact: bytes | None = None
    ) -> None:
        key, owner, hold_ms = attempt.key, attempt.owner, int(seconds * 1000)
        await self._store.write(lambda: transactions.save_new_contact(key, owner, state, hold_ms, contact))


async def _call_create_contact(attempt: _Creation) -> Contact:
    made = await attempt.connector.create_contact(attempt.session, attempt.new)
    if not isinstance(made, Contact):
        raise OutcomeUnknown(f"the connector {attempt.connector.name} returned no contact")
    return made


def _comparable_name(name: str) -> str:
    """Return a name without differences that do not tell two people apart."""
    return " ".join(name.split()).casefold()


async def _search(connector: Connector, session: Session, numbers: Sequence[str]) -> list[Contact]:
    """Return the contacts that have one of the numbers, each once. The client's word for a new one is no id."""
    found: dict[str, Contact] = {}
    for number in numbers:
        for contact in await connector.find_contact(session, number):
            found.setdefault(contact.id, contact)
    return [contact for contact in found.values() if contact.id != CREATE_NEW_CONTACT]
