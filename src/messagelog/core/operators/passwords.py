"""The passwords of operators: what is a good one, and their hashes (Argon2id).

A hash is slow and takes 64 MB on purpose. So hashes are made in threads of their own, a few at a time, and requests are
refused while many wait: a flood of sign-ins takes neither the memory nor the event loop.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from messagelog.errors import MessagelogError
from messagelog.messages import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SHORTEST: Final = 12
LONGEST: Final = 1024
_FEWEST_DIFFERENT: Final = 5
_SHORTEST_TELLING: Final = 4  # a shorter name may stand in a good password by chance

_AT_ONCE: Final = 2
_MOST_WAITING: Final = 16


class TooBusy(MessagelogError):
    """Too many passwords are being checked at this moment."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a password is right; `stale` if its hash has older parameters than today's."""

    right: bool
    stale: bool = False


def check_password(name: str, password: str) -> None:
    """Raise `BadRequest` if a password may not be an operator's; the error never quotes it."""
    plain = _normal(password)
    if not SHORTEST <= len(plain) <= LONGEST:
        raise BadRequest("password", f"expected {SHORTEST} to {LONGEST:,} characters")
    if len(set(plain)) < _FEWEST_DIFFERENT:
        raise BadRequest("password", f"expected at least {_FEWEST_DIFFERENT} different characters")
    if len(name) >= _SHORTEST_TELLING and name.casefold() in plain.casefold():
        raise BadRequest("password", "expected one that does not hold the name")


class Passwords:
    """Makes and checks hashes. `hasher` has the parameters; tests pass cheap ones."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="messagelog-passwords")
        self._waiting = 0
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """Return the hash of a password, with its salt and parameters in it."""
        return await self._in_thread(lambda: self._hasher.hash(_to_bytes(password)))

    async def verify(self, hashed: str | None, password: str) -> Verification:
        """Return whether this is the password that was hashed. Without a hash it takes as long, and is not right.

        Raises `TooBusy` if many others wait.
        """
        return await self._in_thread(lambda: self._check(hashed, password))

    def close(self) -> None:
        """Release the threads; a hash under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, hashed: str | None, password: str) -> Verification:
        if self._decoy is None:  # before the very first check, so that no name tells itself apart by it
            self._decoy = self._hasher.hash(secrets.token_bytes(16))
        given = _to_bytes(password, LONGEST + 1)  # no password is longer
        try:
            self._hasher.verify(self._decoy if hashed is None else hashed, given)
        except (VerificationError, InvalidHashError):
            return Verification(right=False)
        return Verification(
            hashed is not None, hashed is not None and self._hasher.check_needs_rehash(hashed)
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= _MOST_WAITING:
            raise TooBusy
        self._waiting += 1
        done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        done.add_done_callback(self._on_done)  # when the work ends, not when its request goes away
        return await asyncio.shield(done)

    def _on_done(self, done: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not done.cancelled():
            done.exception()  # fetched, so that an error is not printed if no request waits for it


def _normal(password: str) -> str:
    """Return one text for the ways in which keyboards write it (Unicode's NFC, as RFC 8265 wants for passwords)."""
    return unicodedata.normalize("NFC", password)


def _to_bytes(password: str, most: int | None = None) -> bytes:
    return _normal(password)[:most].encode("utf-8", "surrogatepass")
