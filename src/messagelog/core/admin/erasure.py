"""Erases a user or a tenant with everything that is theirs, while servers go on working.

Activities in the CRM belong to the tenant and stay. That a message of an erased user is in the CRM stays known, so that
a colleague does not log it again; who logged it does not.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec.structs import replace

from messagelog.core.operators.accounts import Role
from messagelog.storage import AuditEntry, LogKey, transactions
from messagelog.storage.records.journal import ErasedInLog, RowKey
from messagelog.storage.records.users import ErasedAccounts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from messagelog.core.operators.accounts import Operator
    from messagelog.storage import Sealer, Store

T = TypeVar("T", bound=msgspec.Struct)

_PAGE: Final = 500
_MOST_PASSES: Final = 10  # each one after the first erases what came in meanwhile


class Erased(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was erased.

    `users`, `settings` and `contacts` (found by their numbers) are gone, and so are `messages` that were not in the
    CRM, or all messages of a tenant. `kept` messages are in the CRM: the journal still knows them, but not whose they
    were. `parked` ones may be there: a person decides. `under_way` are conversation logs with a call that has to end
    first: erase again then.
    """

    users: int = 0
    settings: int = 0
    contacts: int = 0
    messages: int = 0
    kept: int = 0
    parked: int = 0
    under_way: int = 0

    def and_then(self, later: Erased) -> Erased:
        """Return what two attempts erased; `under_way` is the later one's."""
        return replace(_sum(self, later), under_way=later.under_way)


class Eraser:
    """Erases, for an operator with the role `administer`. A record is on disk before anything is erased."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._key = sealer.audit_key

    async def user(self, by: Operator, tenant: str, platform: str, id_: str) -> Erased:
        """Erase a user: credentials, session, settings, and the messages that wait for the user.

        Raises `RoleMissing`.
        """
        by.needs(Role.ADMINISTER)
        subject = self.pseudonym(tenant, platform, id_)
        entry = AuditEntry(by.name, "erase_user", Role.ADMINISTER, tenant, platform, subject)
        erased = await self._store.write(lambda: transactions.erase_account(tenant, platform, id_, entry))
        found, under_way = ErasedInLog(), 0
        for _ in range(_MOST_PASSES):
            passed = await self._erase_user_once(tenant, platform, id_)
            found, under_way = _sum(found, passed), passed.under_way
            if not passed.dropped + passed.parked + passed.unlinked:
                break
        return _total(erased, found, under_way)

    async def tenant(self, by: Operator, tenant: str, platform: str | None = None) -> Erased:
        """Erase a tenant, at one platform or all: every row of every table. Raise `RoleMissing`."""
        by.needs(Role.ADMINISTER)
        entry: AuditEntry | None = AuditEntry(by.name, "erase_tenant", Role.ADMINISTER, tenant, platform)
        erased, found = ErasedAccounts(), ErasedInLog()
        for _ in range(_MOST_PASSES):
            gone = await self._store.write(partial(transactions.erase_tenant, tenant, platform, entry))
            passed = await self._erase_tenant_once(tenant, platform)
            erased, found, entry = _sum(erased, gone), _sum(found, passed), None
            if gone == ErasedAccounts() and not passed.dropped:
                break
        return _total(erased, found)

    def pseudonym(self, *who: str) -> str:
        """Return the audit record's name for an erased user; only the secret key and the user's id lead to it."""
        text = "\0".join(who).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=12).hexdigest()

    async def _erase_user_once(self, tenant: str, platform: str, id_: str) -> ErasedInLog:
        """Erase what is the user's in each conversation log."""
        found = ErasedInLog()
        async for page in self._rows():
            keys = {
                row.log
                for row in page
                if (row.log.tenant, row.log.platform, row.user_id) == (tenant, platform, id_)
            }
            for key in sorted(keys):
                done = await self._store.write(partial(transactions.erase_in_log, key, id_), locks=(key,))
                found = _sum(found, done)
        return found

    async def _erase_tenant_once(self, tenant: str, platform: str | None) -> ErasedInLog:
        """Drop each conversation log of a tenant with its messages; then messages without a log."""
        found = ErasedInLog()
        async for keys in self._logs():
            theirs = [key for key in keys if key.tenant == tenant and platform in {None, key.platform}]
            found = _sum(found, await self._erase_logs(theirs))
        async for page in self._rows():
            logs = {row.log for row in page}
            rest = [key for key in logs if key.tenant == tenant and platform in {None, key.platform}]
            found = _sum(found, await self._erase_logs(sorted(rest)))
        return found

    async def _erase_logs(self, keys: Iterable[LogKey]) -> ErasedInLog:
        found = ErasedInLog()
        for key in keys:
            found = _sum(found, await self._store.write(partial(transactions.erase_log, key), locks=(key,)))
        return found

    async def _rows(self) -> AsyncIterator[list[RowKey]]:
        after = RowKey("", LogKey("", "", ""))
        while page := await self._store.read(partial(transactions.walk_rows, after, _PAGE)):
            yield page
            after = page[-1]

    async def _logs(self) -> AsyncIterator[list[LogKey]]:
        after = LogKey("", "", "")
        while page := await self._store.read(partial(transactions.walk_logs, after, _PAGE)):
            yield page
            after = page[-1]


def _sum(one: T, other: T) -> T:
    """Return counts of one kind, added up field by field."""
    names = one.__struct_fields__
    return type(one)(**{name: getattr(one, name) + getattr(other, name) for name in names})


def _total(accounts: ErasedAccounts, found: ErasedInLog, under_way: int = 0) -> Erased:
    return Erased(
        users=accounts.users,
        settings=accounts.settings,
        contacts=accounts.contacts,
        messages=found.dropped,
        kept=found.unlinked,
        parked=found.parked,
        under_way=under_way,
    )
