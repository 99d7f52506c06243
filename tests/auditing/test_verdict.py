"""What `make audit` says: good news only when each package was asked about."""

from __future__ import annotations

from typing import Any

import pytest
from audit.verdict import ADVISORIES, CLEAN, NOT_ASKED, Verdict, exceptions_in, verdict_of

GOOD = {"name": "good", "version": "1", "vulns": []}
SKIPPED = {"name": "unheard-of", "skip_reason": "not found"}
BAD = {
    "name": "bad",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"], "description": "x"}],
}


def report(*dependencies: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(dependencies), "fixes": []}


@pytest.mark.parametrize(
    ("given", "exceptions", "status"),
    [
        (report(GOOD), {}, CLEAN),
        (report(GOOD, BAD), {}, ADVISORIES),
        (report(BAD, SKIPPED), {}, ADVISORIES),
        (report(GOOD, SKIPPED), {}, NOT_ASKED),
        (report(), {}, NOT_ASKED),
        (None, {}, NOT_ASKED),
        (report(BAD), {"PYSEC-1": "not called"}, CLEAN),
        (report(BAD), {"CVE-1": "not called"}, CLEAN),
        (report(BAD), {"CVE-2": "another"}, ADVISORIES),
    ],
)
def test_what_a_report_comes_to(given: Any, exceptions: dict[str, str], status: int) -> None:
    assert verdict_of(given, exceptions).status == status


def test_one_file_that_could_not_be_asked_about_spoils_the_news() -> None:
    whole = verdict_of(report(GOOD), {}) + verdict_of(None, {})
    assert whole.status == NOT_ASKED
    assert any(line.startswith("NOT AUDITED") for line in whole.lines({}))
    assert Verdict().status == NOT_ASKED


def test_the_words() -> None:
    found = verdict_of(report(GOOD, BAD), {})
    assert list(found.lines({"X-1": "old"})) == [
        "ADVISORY PYSEC-1: bad 2, mended in 3",
        "2 packages were asked about.",
        "not needed any more: X-1",
    ]


def test_an_exception_has_a_reason() -> None:
    assert exceptions_in("# words\n\nCVE-1  we do not parse XML\n") == {"CVE-1": "we do not parse XML"}
    with pytest.raises(ValueError, match="CVE-2: an exception needs a reason"):
        exceptions_in("CVE-2\n")
