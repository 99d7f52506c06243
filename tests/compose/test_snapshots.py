"""What people read, kept as files that people can read: each captured request in every format and language.

After a change that is meant: `pytest tests/compose --update-snapshots`, and look at what git shows.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from messagelog.compose import LANGUAGES, LogFormat, Pins, compose_request
from messagelog.messages import parse_log_request

HERE = Path(__file__).parent
PAYLOADS = {
    path.stem: path
    for folder in (HERE.parent / "messages" / "payloads", HERE / "payloads")
    for path in sorted(folder.glob("*.json"))
}
SNAPSHOTS = HERE / "snapshots"
FORMATS = {"txt": LogFormat.PLAIN, "html": LogFormat.HTML, "md": LogFormat.MARKDOWN}
ZONES = {"en": "America/Los_Angeles", "es": "Europe/Madrid", "ja": "Asia/Tokyo"}


def snapshot(payload: str, language: str, extension: str) -> str:
    """Subject and body; of HTML each paragraph on a line of its own."""
    request = parse_log_request(PAYLOADS[payload].read_bytes())
    pins = Pins(FORMATS[extension], ZONES[language], language)
    content = compose_request(pins, request)
    body = content.body.replace("</p><p>", "</p>\n<p>") if extension == "html" else content.body
    return f"{content.subject}\n\n{body}\n"


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_people_read(
    payload: str, language: str, extension: str, request: pytest.FixtureRequest
) -> None:
    path = SNAPSHOTS / f"{payload}.{language}.{extension}"
    text = snapshot(payload, language, extension)
    if request.config.getoption("--update-snapshots"):
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert path.read_text("utf-8") == text


def test_there_is_no_snapshot_of_anything_else() -> None:
    kept = {path.name for path in SNAPSHOTS.iterdir()}
    assert kept == {
        f"{name}.{language}.{end}" for name in PAYLOADS for language in LANGUAGES for end in FORMATS
    }
