"""`messagelog manifest`: the manifest for the Developer Console, or its problems."""

from __future__ import annotations

import json

import pytest

from support.cli_process import command

GOOD = {
    "MESSAGELOG_PUBLIC_URL": "https://log.example.com/",
    "MESSAGELOG_CONNECTORS": "demo",
    "MESSAGELOG_DEMO_CRM_URL": "http://127.0.0.1:8788/demo-crm/api",
}


@pytest.mark.parametrize("arguments", [[], ["demo"]])
def test_the_manifest_needs_neither_a_database_nor_a_secret(arguments: list[str]) -> None:
    done = command("manifest", *arguments, env=GOOD)
    assert (done.code, done.err) == (0, "")
    manifest = json.loads(done.out)
    assert manifest["serverUrl"] == "https://log.example.com"
    assert list(manifest["platforms"]) == ["demo"]


def test_a_platform_that_is_not_there() -> None:
    done = command("manifest", "other", env=GOOD)
    assert (done.code, done.out) == (2, "")
    assert done.err == "There is no platform other: MESSAGELOG_CONNECTORS has demo.\n"


def test_a_manifest_that_the_client_cannot_use_is_refused_and_not_served() -> None:
    wrong = {
        **GOOD,
        "MESSAGELOG_CONNECTORS": "cli.wrong_manifest:Wrong",
        "PYTHONPATH": "tests",
        "MESSAGELOG_DATABASE_URL": "sqlite:////nowhere/at-all.sqlite",
        "MESSAGELOG_SECRET_KEY": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    }
    problem = "platforms.wrong.settings[1].items: is missing."
    done = command("manifest", env=wrong)
    assert (done.code, done.out, done.err) == (2, "", f"{problem}\n")
    served = command("serve", env=wrong)
    assert (served.code, served.err) == (2, f"The manifest: {problem}\n")
