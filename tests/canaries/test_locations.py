"""Where known secrets and texts turn up: nowhere but where they belong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import structlog

from canaries.locations import BELONGS, LOGS, PLACES, PRINTED, misplacements
from canaries.scenarios import CanaryRun, run_all
from canaries.search import Canaries, names

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_secrets_and_texts_are_only_where_they_belong(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "authlib")  # the CRM's own log
    canaries = Canaries()
    canary_run = CanaryRun(database_url, tmp_path, canaries)
    with structlog.testing.capture_logs() as events:
        run_all(canary_run)
    canary_run.locations.note(LOGS, caplog.text, repr(events))
    canary_run.locations.note(PRINTED, *capfd.readouterr())
    found = {place: canary_run.locations.names_at(place, canaries) for place in PLACES}
    assert misplacements(found) == []
    missing = [
        f"{name} in {place}"
        for name, where in BELONGS.items()
        for place in where
        if name not in names(found[place])
    ]
    assert sorted(missing) == [], "nobody drove it there"
    driven = canaries.known | canaries.learned.keys()
    assert driven == BELONGS.keys()
