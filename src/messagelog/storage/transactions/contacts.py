"""Contacts that were found, and contacts that are being made. The caller seals what is kept of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.records.contacts import FoundContacts, NewContactClaim, NewContactState
from messagelog.storage.transactions.clock import is_held
from messagelog.storage.transactions.commands import Batch, Execute, Query

if TYPE_CHECKING:
    from messagelog.storage.records.contacts import NewContactKey
    from messagelog.storage.transactions.commands import Params, Transaction

_DAY_MS = 24 * 3600 * 1000
_LONGEST_HOLD_MS = 3600 * 1000


def find_contacts(tenant: str, platform: str, number: str) -> Transaction[FoundContacts]:
    """Return what was kept for a number, whatever its age, which is negative if a clock was wrong."""
    ((contacts, found_at, now),) = yield Query("find_contacts", _number_key(tenant, platform, number))
    return FoundContacts(
        bytes(contacts) if contacts else None, 0 if found_at is None else now - found_at, now
    )


def keep_contacts(
    tenant: str, platform: str, number: str, contacts: bytes, *, asked_at: int, age_ms: int
) -> Transaction[None]:
    """Keep what the CRM answered when asked at `asked_at`. Drop all that is older than `age_ms`, of every tenant."""
    found = {**_number_key(tenant, platform, number), "contacts": contacts, "asked_at": asked_at}
    yield Batch(Execute("drop_old_contacts", [{"age_ms": age_ms}]), Execute("save_contacts", [found]))


def drop_contacts(tenant: str, platform: str, number: str, *, asked_at: int) -> Transaction[None]:
    """Drop what was found for a number before the CRM, asked at `asked_at`, said that no contact has it."""
    yield Execute("drop_contacts", [{**_number_key(tenant, platform, number), "asked_at": asked_at}])


def forget_contacts(tenant: str, platform: str, number: str) -> Transaction[None]:
    """Forget what was found for a number, and what requests to the CRM that are under way will find."""
    yield Execute("forget_contacts", [{**_number_key(tenant, platform, number), "contacts": b""}])


def claim_new_contact(key: NewContactKey, owner: str, lease_ms: int) -> Transaction[NewContactClaim]:
    """Claim the making of a contact. `owner` names this attempt; of several at once, one gets the claim.

    An earlier attempt that did not end in time may have made the contact: then the claim says so, and the CRM has to
    be asked first.
    """
    mine: Params = {**_key(key), "owner": owner, "lease_ms": lease_ms}
    (locked,) = yield Batch(
        Execute("drop_old_new_contacts", [{"age_ms": _DAY_MS}]),
        Execute("insert_new_contact", [mine]),
        Query("lock_new_contact", _key(key)),
    )
    if not locked:  # it was forgotten between the two, being too old, or of an erased tenant
        return (yield from claim_new_contact(key, owner, lease_ms))
    state, holder, until, contact, now = locked[0]
    if holder == owner:
        return NewContactClaim(mine=True)
    if is_held(until, now, lease_ms + _LONGEST_HOLD_MS):
        made = NewContactState(state) is NewContactState.MADE
        return NewContactClaim(contact=bytes(contact) if made else None)
    yield Execute("take_new_contact", [mine])
    return NewContactClaim(mine=True, ask_first=True)


def save_new_contact(
    key: NewContactKey, owner: str, state: NewContactState, hold_ms: int, contact: bytes | None = None
) -> Transaction[None]:
    """Record the outcome of an attempt: others who ask within `hold_ms` get it, or have to wait."""
    yield Execute(
        "settle_new_contact",
        [{**_key(key), "owner": owner, "state": state, "hold_ms": hold_ms, "contact": contact}],
    )


def drop_new_contact(key: NewContactKey, owner: str) -> Transaction[None]:
    """Forget an attempt that made nothing."""
    yield Execute("drop_new_contact", [{**_key(key), "owner": owner}])


def _number_key(tenant: str, platform: str, number: str) -> Params:
    return {"tenant": tenant, "platform": platform, "number": number}


def _key(key: NewContactKey) -> Params:
    return {"tenant": key.tenant, "platform": key.platform, "key": key.key}
