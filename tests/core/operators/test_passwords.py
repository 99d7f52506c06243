"""Many sign-ins at once take neither the memory nor the event loop, and one that is too late begins no session."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from messagelog.core.operators.accounts import Operators, local_operator
from messagelog.core.operators.passwords import Passwords, TooBusy
from messagelog.server.auth.login_throttle import LoginThrottle
from messagelog.storage import transactions
from support.live_server import CHEAP

if TYPE_CHECKING:
    from messagelog.storage import Store

PASSWORD = "correct horse battery"


class Held(PasswordHasher):
    """Hashes only once it is let go, and counts how many are at it."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go, self.at_it, self.most = threading.Event(), 0, 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.at_it += 1
        self.most = max(self.most, self.at_it)
        self.go.wait(10)
        hashed = super().hash(password, salt=salt)
        self.at_it -= 1
        return hashed


async def test_few_are_hashed_at_once_and_a_flood_is_sent_away() -> None:
    hasher = Held()
    passwords = Passwords(hasher)
    asked = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(16)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        await passwords.hash(PASSWORD)
    asked[5].cancel()  # a cancelled request does not stop a hash that is being made
    with pytest.raises(TooBusy):
        await passwords.hash(PASSWORD)
    hasher.go.set()
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(each, str) for each in done) == 15
    assert hasher.most <= 2
    assert (await passwords.verify(await passwords.hash(PASSWORD), PASSWORD)).right
    passwords.close()


async def test_a_session_does_not_begin_with_a_password_of_before(store: Store) -> None:
    operators = Operators(store, Passwords(CHEAP))
    by = local_operator("test")
    await operators.add(by, "grace", PASSWORD, [])
    before = await store.read(lambda: transactions.find_operator("grace"))
    assert before is not None
    await operators.change_password(by, "grace", "another horse battery")
    assert await store.write(lambda: transactions.begin_session("grace", before[0], "a session")) is None
    assert await store.read(lambda: transactions.find_session("a session")) is None


async def test_operators_at_once_have_one_account_and_sessions_of_their_own(store: Store) -> None:
    operators = Operators(store, Passwords(CHEAP))
    by = local_operator("test")
    added = await asyncio.gather(
        *(operators.add(by, "grace", PASSWORD, []) for _ in range(5)), return_exceptions=True
    )
    assert [each is None for each in added].count(True) == 1
    sessions = await asyncio.gather(*(operators.sign_in("grace", PASSWORD) for _ in range(5)))
    tokens = {session.token for session in sessions if session is not None}
    assert len(tokens) == 5
    assert all(token not in repr(sessions) for token in tokens)
    assert await operators.end_sessions(by, "grace") == 5
    assert {await operators.find(token) for token in tokens} == {None}


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"]), st.booleans(), st.floats(0, 5)),
        max_size=60,
    )
)
def test_guesses_are_never_faster_than_the_rule(attempts: list[tuple[str, str, bool, float]]) -> None:
    """Between two good sign-ins an address tries a name at most 5 times without a wait, then after each wait once."""
    now = [0.0]
    throttle = LoginThrottle(lambda: now[0])
    failed: dict[tuple[str, str], list[float]] = {}
    for name, address, good, pause in attempts:
        now[0] += pause
        if throttle.begin(name, address):
            continue
        tried = failed.setdefault((name, address), [])
        if len(tried) >= 5:
            assert now[0] - tried[-1] >= min(2.0 ** (len(tried) - 5), 300) - 1e-6
        if good:
            throttle.forgive(name, address)
            tried.clear()
        else:
            tried.append(now[0])


def test_a_flood_of_names_takes_no_memory() -> None:
    throttle = LoginThrottle(lambda: 0.0)
    for number in range(12_000):
        throttle.begin("x" * 1000 + str(number), str(number))
    assert len(throttle._failures) <= 10_000
    assert max(len(name) for _, name, _ in throttle._failures) <= 64
