"""Contacts that were found, and contacts that are being made. What is kept of them is sealed by the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from messagelog.storage.rows import FoundContacts, NewContactClaim, NewContactState
from messagelog.storage.scripts.asking import Do, Fetch, Together
from messagelog.storage.scripts.clock import is_held

if TYPE_CHECKING:
    from messagelog.storage.rows import NewContactKey
    from messagelog.storage.scripts.asking import Params, Script

_DAY_MS = 24 * 3600 * 1000
_LONGEST_HOLD_MS = 3600 * 1000


def find_contacts(tenant: str, platform: str, number: str) -> Script[FoundContacts]:
    """What was kept for a number, whatever its age: less than nothing, where a clock was wrong."""
    ((contacts, found_at, now),) = yield Fetch("find_contacts", _found(tenant, platform, number))
    return FoundContacts(
        bytes(contacts) if contacts else None, 0 if found_at is None else now - found_at, now
    )


def keep_contacts(
    tenant: str, platform: str, number: str, contacts: bytes, *, asked_at: int, age_ms: int
) -> Script[None]:
    """Keeps what the CRM was asked for at `asked_at`. Whatever is older than `age_ms`, of anybody, is dropped."""
    found = {**_found(tenant, platform, number), "contacts": contacts, "asked_at": asked_at}
    yield Together(Do("drop_old_contacts", [{"age_ms": age_ms}]), Do("save_contacts", [found]))


def drop_contacts(tenant: str, platform: str, number: str, *, asked_at: int) -> Script[None]:
    """Drops what was found for a number before the CRM was asked, at `asked_at`, and said that nobody has it."""
    yield Do("drop_contacts", [{**_found(tenant, platform, number), "asked_at": asked_at}])


def forget_contacts(tenant: str, platform: str, number: str) -> Script[None]:
    """Forgets what was found for a number; also what those will keep who are asking the CRM at this moment."""
    yield Do("forget_contacts", [{**_found(tenant, platform, number), "contacts": b""}])


def claim_new_contact(key: NewContactKey, owner: str, lease_ms: int) -> Script[NewContactClaim]:
    """Asks to make a contact. `owner` names this one attempt; of several at once, one gets it.

    An attempt that somebody began and did not end in time may have made the contact: then the claim says so, and the
    CRM is to be asked first.
    """
    mine: Params = {**_key(key), "owner": owner, "lease_ms": lease_ms}
    (locked,) = yield Together(
        Do("drop_old_new_contacts", [{"age_ms": _DAY_MS}]),
        Do("insert_new_contact", [mine]),
        Fetch("lock_new_contact", _key(key)),
    )
    if not locked:  # it was forgotten between the two, being too old, or of an erased tenant
        return (yield from claim_new_contact(key, owner, lease_ms))
    state, holder, until, contact, now = locked[0]
    if holder == owner:
        return NewContactClaim(mine=True)
    if is_held(until, now, lease_ms + _LONGEST_HOLD_MS):
        made = NewContactState(state) is NewContactState.MADE
        return NewContactClaim(contact=bytes(contact) if made else None)
    yield Do("take_new_contact", [mine])
    return NewContactClaim(mine=True, ask_first=True)


def settle_new_contact(
    key: NewContactKey, owner: str, state: NewContactState, hold_ms: int, contact: bytes | None = None
) -> Script[None]:
    """Writes down what became of an attempt: who asks within `hold_ms` is told, or has to wait."""
    yield Do(
        "settle_new_contact",
        [{**_key(key), "owner": owner, "state": state, "hold_ms": hold_ms, "contact": contact}],
    )


def drop_new_contact(key: NewContactKey, owner: str) -> Script[None]:
    """Forgets an attempt that made nothing."""
    yield Do("drop_new_contact", [{**_key(key), "owner": owner}])


def _found(tenant: str, platform: str, number: str) -> Params:
    return {"tenant": tenant, "platform": platform, "number": number}


def _key(key: NewContactKey) -> Params:
    return {"tenant": key.tenant, "platform": key.platform, "key": key.key}
