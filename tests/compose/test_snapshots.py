"""What people read, kept as files that people can read: each request in every format and language.

After a change that is meant: `pytest tests/compose --update-snapshots`, and look at what git shows. Those of template 2
were written by the versions that composed it, and are never written again: activities that were created with it keep
its wording, and a call that was under way during an upgrade is recognised by its exact words.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from messagelog.compose import LANGUAGES, LogFormat, TextSettings, compose_request
from messagelog.messages import LogRequest, parse_log_request

HERE = Path(__file__).parent
PAYLOADS = {
    path.stem: path
    for folder in (HERE.parent / "messages" / "payloads", HERE / "payloads")
    for path in sorted(folder.glob("*.json"))
}
SNAPSHOTS = HERE / "snapshots"
FORMATS = {"txt": LogFormat.PLAIN, "html": LogFormat.HTML, "md": LogFormat.MARKDOWN}
ZONES = {"en": "America/Los_Angeles", "es": "Europe/Madrid", "ja": "Asia/Tokyo"}

NEWEST = TextSettings(LogFormat.PLAIN, "UTC").template
EARLIER = 2
UNKNOWN_THEN = {"30-stubs"}
"""Stubs were logged then. Since they are not, no text is composed of them, whatever the template."""

every = pytest.mark.parametrize(
    ("payload", "language", "extension"),
    [(payload, language, end) for payload in PAYLOADS for language in LANGUAGES for end in FORMATS],
)


def read(payload: str) -> LogRequest:
    return parse_log_request(PAYLOADS[payload].read_bytes())


def snapshot(payload: str, language: str, extension: str, template: int) -> str:
    """Return subject and body, with each paragraph of HTML on a line of its own."""
    text_settings = dataclasses.replace(
        TextSettings(FORMATS[extension], ZONES[language], language), template=template
    )
    content = compose_request(text_settings, read(payload))
    body = content.body.replace("</p><p>", "</p>\n<p>") if extension == "html" else content.body
    return f"{content.subject}\n\n{body}\n"


@every
def test_what_people_read(
    payload: str, language: str, extension: str, request: pytest.FixtureRequest
) -> None:
    folder = SNAPSHOTS / str(NEWEST)
    path = folder / f"{payload}.{language}.{extension}"
    text = snapshot(payload, language, extension, NEWEST)
    if request.config.getoption("--update-snapshots"):
        folder.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert path.read_text("utf-8") == text


@every
def test_what_people_read_in_activities_of_before(payload: str, language: str, extension: str) -> None:
    path = SNAPSHOTS / str(EARLIER) / f"{payload}.{language}.{extension}"
    if payload in UNKNOWN_THEN:
        assert not path.exists()
        return
    assert path.read_text("utf-8") == snapshot(payload, language, extension, EARLIER)
    # The first wording has other hashes, but the same words.
    assert path.read_text("utf-8") == snapshot(payload, language, extension, 1)


def test_there_is_no_snapshot_of_anything_else() -> None:
    assert {path.name for path in SNAPSHOTS.iterdir()} == {str(EARLIER), str(NEWEST)}
    for template, left_out in ((EARLIER, UNKNOWN_THEN), (NEWEST, set[str]())):
        kept = {path.name for path in (SNAPSHOTS / str(template)).iterdir()}
        names = set(PAYLOADS) - left_out
        assert kept == {
            f"{name}.{language}.{end}" for name in names for language in LANGUAGES for end in FORMATS
        }
