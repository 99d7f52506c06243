"""The people who run the server: their accounts, what they may do, and their sessions.

An operator belongs to the server and not to a tenant. What she may do is the set of her roles, and none holds another.
"""

from __future__ import annotations

import enum
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from messagelog.core.operators.passwords import Passwords, check_password
from messagelog.errors import MessagelogError
from messagelog.messages import BadRequest
from messagelog.storage import AuditEntry, transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from messagelog.storage import OperatorRow, Store
    from messagelog.storage.transactions import Transaction

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_TOKEN_BYTES: Final = 32
_PAGE: Final = 100


class Role(enum.StrEnum):
    """What an operator may do besides looking at states, which every operator may."""

    TEXT = "text"  # see the text of messages; each look is recorded
    ACT = "act"  # decide about what failed or is parked: retry, link, mark as done
    ADMINISTER = "administer"  # erase users and tenants, export what is held of a contact


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks, and with which roles."""

    name: str
    roles: frozenset[Role]

    def needs(self, role: Role) -> None:
        """Raises `RoleMissing` when the operator does not have this role."""
        if role not in self.roles:
            raise RoleMissing(role)


@dataclass(frozen=True, slots=True)
class OperatorSession:
    """A session that has begun: the token is known to its operator alone. `expires_at` is epoch milliseconds."""

    operator: Operator
    token: str = field(repr=False)
    expires_at: int


class RoleMissing(MessagelogError):
    """The operator lacks a role that this needs."""

    def __init__(self, role: Role) -> None:
        super().__init__(f"This needs the role {role}.")
        self.role = role


class OperatorTaken(MessagelogError):
    """There is an operator of that name."""


class OperatorUnknown(MessagelogError):
    """There is no operator of that name."""


def local_operator(user: str) -> Operator:
    """Whoever runs the command on the server's machine: she has the database and the key, so she may do everything.

    No account can have such a name.
    """
    return Operator(f"local:{user}", frozenset(Role))


def check_name(name: str) -> str:
    """An operator's name, in lower case; `BadRequest` for one that cannot be."""
    lower = name.lower()
    if not name.isascii() or _NAME.fullmatch(lower) is None:
        raise BadRequest("name", "expected 1 to 64 letters, digits, and . _ @ - behind the first")
    return lower


class Operators:
    """Keeps accounts and sessions. Changes count at once, in every process: each request reads them anew."""

    def __init__(self, store: Store, passwords: Passwords) -> None:
        self._store = store
        self._passwords = passwords

    # ------------------------------------------------------------------------------------------ accounts

    async def add(self, by: Operator, name: str, password: str, roles: Iterable[Role]) -> None:
        """Adds an account. Raises `BadRequest` for a name or password that cannot be, `OperatorTaken`."""
        name = check_name(name)
        check_password(name, password)
        hashed, kept = await self._passwords.hash(password), _encode_roles(roles)
        if not await self._change(
            by, "add_operator", name, lambda: transactions.add_operator(name, hashed, kept)
        ):
            raise OperatorTaken(name)

    async def change_password(self, by: Operator, name: str, password: str) -> None:
        """Gives an operator another password and ends all her sessions. Raises as `add` does, `OperatorUnknown`."""
        name = check_name(name)
        check_password(name, password)
        hashed = await self._passwords.hash(password)
        changed = await self._change(
            by, "change_password", name, lambda: transactions.change_password(name, hashed)
        )
        _require_known(changed, name)

    async def change_roles(self, by: Operator, name: str, roles: Iterable[Role]) -> None:
        """Gives an operator these roles and no others. Raises `OperatorUnknown`."""
        name, kept = check_name(name), _encode_roles(roles)
        _require_known(
            await self._change(by, "change_roles", name, lambda: transactions.change_roles(name, kept)), name
        )

    async def remove(self, by: Operator, name: str) -> None:
        """Removes an account with its sessions. Raises `OperatorUnknown`."""
        name = check_name(name)
        _require_known(
            await self._change(by, "remove_operator", name, lambda: transactions.remove_operator(name)), name
        )

    async def end_sessions(self, by: Operator, name: str) -> int:
        """Ends all sessions of an operator, everywhere, at once; how many there were."""
        name = check_name(name)
        return await self._change(by, "end_sessions", name, lambda: transactions.end_operator_sessions(name))

    async def all(self) -> list[OperatorRow]:
        """All accounts, in the order of their names."""
        found: list[OperatorRow] = []
        while True:
            after = found[-1].name if found else ""
            page = await self._store.read(partial(transactions.list_operators, after, _PAGE))
            found += page
            if len(page) < _PAGE:
                return found

    async def _change(
        self, by: Operator, act: str, name: str, transaction: Callable[[], Transaction[T]]
    ) -> T:
        """Runs a script that changes an account; what it does is recorded with it, unless it does nothing."""
        own = by.name == name  # she needs no role for her own sessions
        entry = AuditEntry(by.name, act, None if own else Role.ADMINISTER, subject=name)
        return await self._store.write(lambda: transactions.run_audited(entry, transaction()))

    # ------------------------------------------------------------------------------------------ sessions

    async def sign_in(self, name: str, password: str) -> OperatorSession | None:
        """Begins a session; None when the name or the password is wrong, which takes equally long.

        Raises `TooBusy` when many others sign in at this moment.
        """
        try:
            name = check_name(name)
        except BadRequest:
            name = ""  # nobody's: it takes as long as any other
        kept = await self._store.read(lambda: transactions.find_operator(name))
        checked = await self._passwords.verify(kept and kept[0], password)
        if kept is None or not checked.right:
            return None
        hashed = kept[0]
        if checked.stale:
            hashed = await self._passwords.hash(password)
            await self._store.write(lambda: transactions.rehash_password(name, kept[0], hashed))
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        entry = AuditEntry(name, "sign_in")
        ends = await self._store.write(
            lambda: transactions.run_audited(
                entry, transactions.begin_session(name, hashed, _hash_token(token))
            )
        )
        return None if ends is None else OperatorSession(Operator(name, _roles(kept[1])), token, ends)

    async def find(self, token: str) -> Operator | None:
        """Whose token it is, with her roles of this moment; None when its session has ended, or never was."""
        session = _hash_token(token)
        found = await self._store.read(lambda: transactions.find_session(session))
        if found is None:
            return None
        name, roles, to_touch = found
        if to_touch:
            await self._store.write(lambda: transactions.touch_session(session))
        return Operator(name, _roles(roles))

    async def sign_out(self, token: str) -> None:
        """Ends the token's session."""
        session = _hash_token(token)
        await self._store.write(lambda: transactions.end_session(session))


def _require_known(changed: bool, name: str) -> None:
    if not changed:
        raise OperatorUnknown(name)


def _encode_roles(roles: Iterable[Role]) -> str:
    return " ".join(sorted(set(roles)))


def _roles(kept: str) -> frozenset[Role]:
    """The roles as they are kept; one that a newer version knows is none here."""
    return frozenset(role for role in Role if role in kept.split())


def _hash_token(token: str) -> str:
    """What is kept of a token. It is random and long, so that a plain hash tells nobody what it was."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
