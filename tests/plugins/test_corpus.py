"""Each line of the corpus is a case: all that must be masked is masked, and what only looks like it stays."""

from __future__ import annotations

import pytest

from messagelog.plugins.cards import mask_cards
from messagelog.plugins.social_security import mask_social_security
from support.redaction_corpus import lines, strip_marks, with_cards_masked, with_social_security_masked


def masked(text: str) -> str:
    return mask_cards(mask_social_security(text))


def differing(found: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [(text, got, wanted) for text, got, wanted in found if got != wanted]


def test_cards() -> None:
    cases = [
        (strip_marks(line), masked(strip_marks(line)), with_cards_masked(line)) for line in lines("cards")
    ]
    assert len(cases) > 500
    assert all(text != wanted for text, _, wanted in cases)
    assert differing(cases) == []


def test_social_security_numbers() -> None:
    found = lines("social-security")
    cases = [
        (strip_marks(line), masked(strip_marks(line)), with_social_security_masked(line)) for line in found
    ]
    assert len(cases) > 90
    assert all(text != wanted for text, _, wanted in cases)
    assert differing(cases) == []


@pytest.mark.parametrize("name", ["no-cards", "no-social-security"])
def test_other_numbers_stay(name: str) -> None:
    found = lines(name)
    assert len(found) > 250
    assert differing([(line, masked(line), line) for line in found]) == []


def test_masking_twice_changes_nothing_more() -> None:
    for name in ("cards", "social-security"):
        for line in lines(name):
            once = masked(strip_marks(line))
            assert masked(once) == once
