"""The buckets that requests and guesses are counted with, and whose they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from messagelog.server.auth.rate_limit import TokenBuckets
from messagelog.server.requests import address_of


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


STEPS = st.lists(st.tuples(st.sampled_from("ab"), st.floats(-5, 30)), max_size=60)


@given(per_minute=st.integers(1, 20), steps=STEPS)
def test_nobody_takes_more_than_a_bucket_and_what_flows_in(
    per_minute: int, steps: list[tuple[str, float]]
) -> None:
    clock = Clock()
    buckets = TokenBuckets(per_minute, clock=clock)
    taken = {"a": 0, "b": 0}
    forward = 0.0  # a clock that is set back and goes on again counts for what it went on
    for key, passed in steps:
        clock.now += passed
        forward += max(0.0, passed)
        taken[key] += buckets.take(key) == 0
        assert taken[key] <= per_minute + forward * per_minute / 60 + 1e-6


@given(per_minute=st.integers(1, 20), steps=STEPS)
def test_the_wait_that_is_told_is_enough(per_minute: int, steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    buckets = TokenBuckets(per_minute, clock=clock)
    for key, passed in steps:
        clock.now += passed
        if wait := buckets.take(key):
            assert wait <= 60
            clock.now += wait + 1e-6
            assert buckets.take(key) == 0


def test_a_full_bucket_is_for_each_key() -> None:
    clock = Clock()
    buckets = TokenBuckets(2, clock=clock)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 30]
    assert [buckets.take("b") for _ in range(3)] == [0, 0, 30]
    clock.now += 15
    assert buckets.take("a") == 15
    clock.now += 15
    assert buckets.take("a") == 0
    clock.now += 3600
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 30], "it holds no more than a minute's"


def test_what_is_given_back_can_be_taken_again() -> None:
    buckets = TokenBuckets(1, clock=Clock())
    for _ in range(3):
        assert buckets.take("a") == 0
        buckets.give_back("a")
    buckets.give_back("a")
    assert [buckets.take("a") for _ in range(2)] == [0, 60]
    buckets.give_back("nobody")
    assert len(buckets) == 1


def test_only_so_many_keys_are_remembered() -> None:
    buckets = TokenBuckets(1, clock=Clock(), most=3)
    for key in range(10):
        buckets.take(key)
    assert len(buckets) == 3
    assert buckets.take(9) > 0
    assert buckets.take(0) == 0


def test_without_a_limit_nothing_is_remembered() -> None:
    buckets = TokenBuckets(0, clock=Clock())
    assert {buckets.take("a") for _ in range(100)} == {0}
    assert len(buckets) == 0


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::1", 5), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        (("x" * 10_000, 5), ""),
        (None, ""),
    ],
)
def test_an_ipv6_customer_is_one_address(client: Any, address: str) -> None:
    assert address_of(Request({"type": "http", "client": client})) == address
