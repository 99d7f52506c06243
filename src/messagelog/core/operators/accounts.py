"""The people who run the server: their accounts, roles and sessions.

An operator belongs to the server and not to a tenant. Roles decide what the operator may do; none includes another.
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
    """A person who runs the server, with the roles that allow what is asked for."""

    name: str
    roles: frozenset[Role]

    def needs(self, role: Role) -> None:
        """Raise `RoleMissing` if the operator does not have this role."""
        if role not in self.roles:
            raise RoleMissing(role)


@dataclass(frozen=True, slots=True)
class OperatorSession:
    """A new session: only its operator knows the token. `expires_at` is epoch milliseconds."""

    operator: Operator
    token: str = field(repr=False)
    expires_at: int


class RoleMissing(MessagelogError):
    """The operator lacks a role that this needs."""

    def __init__(self, role: Role) -> None:
        super().__init__(f"This needs the role {role}.")
        self.role = role


class OperatorTaken(MessagelogError):
    """There is already an operator of that name."""


class OperatorUnknown(MessagelogError):
    """There is no operator of that name."""


def local_operator(user: str) -> Operator:
    """Return the operator for a person who runs a command on the server's machine, with all roles.

    That person has the database and the key anyway. No account can have such a name.
    """
    return Operator(f"local:{user}", frozenset(Role))


def check_name(name: str) -> str:
    """Return an operator's name in lower case; raise `BadRequest` if it cannot be one."""
    lower = name.lower()
    if not name.isascii() or _NAME.fullmatch(lower) is None:
        raise BadRequest("name", "expected 1 to 64 letters, digits, and . _ @ - behind the first")
    return lower


class Operators:
    """Keeps accounts and sessions. Changes count at once, in every process: each request reads them."""

    def __init__(self, store: Store, passwords: Passwords) -> None:
        self._store = store
        self._passwords = passwords

    # ------------------------------------------------------------------------------------------ accounts

    async def add(self, by: Operator, name: str, password: str, roles: Iterable[Role]) -> None:
        """Add an account. Raise `BadRequest` for a bad name or password, `OperatorTaken`."""
        name = check_name(name)
        check_password(name, password)
        hashed, kept = await self._passwords.hash(password), _encode_roles(roles)
        if not await self._change(
            by, "add_operator", name, lambda: transactions.add_operator(name, hashed, kept)
        ):
            raise OperatorTaken(name)

    async def change_password(self, by: Operator, name: str, password: str) -> None:
        """Set an operator's password and end all sessions. Raise as `add` does, and `OperatorUnknown`."""
        name = check_name(name)
        check_password(name, password)
        hashed = await self._passwords.hash(password)
        changed = await self._change(
            by, "change_password", name, lambda: transactions.change_password(name, hashed)
        )
        _require_known(changed, name)

    async def change_roles(self, by: Operator, name: str, roles: Iterable[Role]) -> None:
        """Give an operator these roles and no others. Raise `OperatorUnknown`."""
        name, kept = check_name(name), _encode_roles(roles)
        _require_known(
            await self._change(by, "change_roles", name, lambda: transactions.change_roles(name, kept)), name
        )

    async def remove(self, by: Operator, name: str) -> None:
        """Remove an account with its sessions. Raise `OperatorUnknown`."""
        name = check_name(name)
        _require_known(
            await self._change(by, "remove_operator", name, lambda: transactions.remove_operator(name)), name
        )

    async def end_sessions(self, by: Operator, name: str) -> int:
        """End all sessions of an operator, everywhere, at once; return how many there were."""
        name = check_name(name)
        return await self._change(by, "end_sessions", name, lambda: transactions.end_operator_sessions(name))

    async def all(self) -> list[OperatorRow]:
        """Return all accounts, in the order of their names."""
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
        """Run a transaction that changes an account, and record the act with it, unless it changes nothing."""
        own = by.name == name  # operators need no role for their own sessions
        entry = AuditEntry(by.name, act, None if own else Role.ADMINISTER, subject=name)
        return await self._store.write(lambda: transactions.run_audited(entry, transaction()))

    # ------------------------------------------------------------------------------------------ sessions

    async def sign_in(self, name: str, password: str) -> OperatorSession | None:
        """Begin a session; None if the name or the password is wrong, which takes equally long.

        Raises `TooBusy` if many others are signing in at this moment.
        """
        try:
            name = check_name(name)
        except BadRequest:
            name = ""  # no account has it, and it takes as long as any other
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
        """Return a token's operator with the roles of this moment; None if its session has ended or never was."""
        session = _hash_token(token)
        found = await self._store.read(lambda: transactions.find_session(session))
        if found is None:
            return None
        name, roles, to_touch = found
        if to_touch:
            await self._store.write(lambda: transactions.touch_session(session))
        return Operator(name, _roles(roles))

    async def sign_out(self, token: str) -> None:
        """End the token's session."""
        session = _hash_token(token)
        await self._store.write(lambda: transactions.end_session(session))


def _require_known(changed: bool, name: str) -> None:
    if not changed:
        raise OperatorUnknown(name)


def _encode_roles(roles: Iterable[Role]) -> str:
    return " ".join(sorted(set(roles)))


def _roles(kept: str) -> frozenset[Role]:
    """Return the stored roles, without those that only a newer version knows."""
    return frozenset(role for role in Role if role in kept.split())


def _hash_token(token: str) -> str:
    """Return the stored hash of a token, which is random and long: a plain hash does not give it away."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
