"""What the user is told: a status or a code of the CRM, and nothing that only a program understands."""

from __future__ import annotations

import pytest

from messagelog.core.intake.answer import answer
from messagelog.storage.records.journal import RowState, RowStatus


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("no_answer: The CRM's answer was lost. (HTTP 503)", "Demo CRM gave no clear answer (HTTP 503), so"),
        (
            "no_answer: The CRM's answer was lost. (no answer (ServerDisconnectedError))",
            "no clear answer, so",
        ),
        (
            "unavailable: The CRM could not be reached. (no connection (OSError))",
            "cannot be reached at the moment, so",
        ),
        ("rate_limited: The CRM asks us to slow down.", "Demo CRM asks us to slow down, so"),
        ("no_answer: odd (", "Demo CRM gave no clear answer, so"),
    ],
)
def test_a_cause_in_words(reason: str, told: str) -> None:
    reports = {"1": RowStatus("1", RowState.UNKNOWN, reason, 0, wait_ms=60_000)}
    notice = answer(["1"], reports, crm="Demo CRM").return_message
    assert told in notice.message
