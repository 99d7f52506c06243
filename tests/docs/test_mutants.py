"""The mutants fit the present code, and the page about the proof names them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutants.catalogue import CATALOGUE, Mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant.name)
def test_what_a_mutant_takes_out_is_there_once(mutant: Mutant) -> None:
    for file, old, new in mutant.edits:
        assert (ROOT / "src" / "messagelog" / file).read_text().count(old) == 1
        assert new != old


def test_all_mutants_are_told_of() -> None:
    page = (ROOT / "docs" / "explanation" / "proof.md").read_text()
    assert [mutant.name for mutant in CATALOGUE if f"| {mutant.name} |" not in page] == []
