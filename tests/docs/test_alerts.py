"""The alert rules are ones that Prometheus takes, about metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from docs.pages import ROOT
from messagelog.core.delivery.metrics import JournalGauges, Metrics

RULES = ROOT / "deploy" / "alerts.yml"
PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(
    PROMTOOL is None,
    reason="ALERTS ARE NOT CHECKED: there is no promtool (as root: apt-get install -y prometheus)",
)
def test_prometheus_takes_the_rules() -> None:
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_about_a_metric_that_there_is() -> None:
    metrics = Metrics()
    metrics.registry.register(JournalGauges([], []))
    known = {
        name
        for family in metrics.registry.collect()
        for name in (family.name, f"{family.name}_total", f"{family.name}_bucket")
    }
    used = set(re.findall(r"messagelog_\w+", RULES.read_text()))
    assert used <= known
    assert len(used) >= 8
