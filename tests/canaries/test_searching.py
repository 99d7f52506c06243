"""A canary is found in every spelling, so that not finding it means something."""

from __future__ import annotations

import os

import pytest

from canaries.search import Canaries, all_spellings, names


@pytest.mark.parametrize("spelling", all_spellings(""))
def test_a_canary_is_found_in_every_spelling(spelling: str) -> None:
    canaries = Canaries()
    place = os.urandom(500) + b"\n" + all_spellings(canaries["apikey"])[spelling] + b"\n" + os.urandom(500)
    assert names(canaries.find_in(place)) & {"apikey", "a part"}


def test_what_is_found_is_told_apart() -> None:
    canaries = Canaries()
    for spelling, text in all_spellings(canaries["one"]).items():
        if "wrapped" not in spelling:
            assert names(canaries.find_in(b'{"x": "' + text + b'"}')) == {"one"}, spelling


def test_nothing_is_found_in_what_holds_no_canary() -> None:
    canaries, others = Canaries(), Canaries()
    assert canaries.find_in(os.urandom(100_000) + b"".join(all_spellings(others["one"]).values())) == set()


def test_a_canary_that_a_page_has_torn_is_told_by_its_other_side() -> None:
    canaries = Canaries()
    whole = canaries["one"].encode()
    middle = whole.index(b"-", 4) + 2
    assert canaries.stem.encode() in whole[:middle]
    for torn in (whole[:middle], whole[2:]):
        assert names(canaries.find_in(b"\0\1" + torn + b"\0\0")) == {"one"}
