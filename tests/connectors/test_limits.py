"""What a CRM's headers say is left, however they spell it, and declarations that make no sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from messagelog.connectors import Left, RateLimit
from messagelog.connectors.limits import check_limits, read_left

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "30"}, (7, 30, 100)),
        ({"x-ratelimit-remaining": "7", "x-ratelimit-reset": "1800000030"}, (7, 30, None)),
        ({"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "1800000030500"}, (7, 30.5, None)),
        ({"RateLimit-Limit": "100;w=60", "RateLimit-Remaining": "0", "RateLimit-Reset": "1"}, (0, 1, 100)),
        ({"X-Rate-Limit-Remaining": "3", "X-Rate-Limit-Reset": "2"}, (3, 2, None)),
        ({"RateLimit": '"default";r=50;t=30'}, (50, 30, None)),
        ({"X-RateLimit-Remaining": "7"}, None),
        ({"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "1700000000"}, None),
        ({"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "999999"}, None),
        ({"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "3"}, None),
        ({"X-RateLimit-Remaining": "NaN", "X-RateLimit-Reset": "3"}, None),
        ({"X-RateLimit-Remaining": "9" * 400, "X-RateLimit-Reset": "3"}, None),
        ({"RateLimit": "nothing"}, None),
        ({}, None),
    ],
)
def test_what_is_left_is_read_in_the_common_spellings(
    headers: dict[str, str], left: tuple[int, float, int | None] | None
) -> None:
    assert read_left(CIMultiDict(headers), now=NOW) == (None if left is None else Left(*left))


@given(st.text(), st.text(), st.text(), st.text())
def test_no_header_breaks_anything(limit: str, remaining: str, reset: str, listed: str) -> None:
    headers = {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}
    for each in (headers, {"RateLimit": listed}):
        left = read_left(each, now=NOW)
        assert left is None or (left.requests >= 0 and 0 < left.seconds <= 86_400)


@pytest.mark.parametrize(
    ("requests", "seconds"), [(0, 1), (-1, 1), (1, 0), (1, -1), (1, 86_401), (1, float("nan"))]
)
def test_a_limit_that_makes_no_sense_is_refused(requests: int, seconds: float) -> None:
    with pytest.raises(ValueError, match=r"^(requests|seconds): "):
        RateLimit(requests, seconds)


def test_there_is_one_limit_of_seconds_and_one_of_a_day() -> None:
    check_limits((RateLimit(5, 1), RateLimit(1000, 86_400)))
    with pytest.raises(ValueError, match="rate_limits"):
        check_limits((RateLimit(5, 1), RateLimit(9, 2)))
