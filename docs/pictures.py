"""Draws the pictures of `docs/explanation/texts.md`: what a CRM shows of our HTML. Needs Chromium, and Noto's fonts.

.venv/bin/python docs/pictures.py
"""

import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from messagelog.compose import LogFormat, TextSettings, compose_request
from messagelog.messages import parse_log_request

ROOT: Final = Path(__file__).parents[1]
PICTURES: Final = ROOT / "docs" / "explanation" / "pictures"
CAPTURED, MADE = ROOT / "tests" / "messages" / "payloads", ROOT / "tests" / "compose" / "payloads"

WIDTH: Final = 600
# Picture: payload, language, zone, height in pixels.
DRAWN: Final = {
    "sms": (CAPTURED / "02-sms-same-day-newest-first.json", "en", "America/Los_Angeles", 278),
    "group": (CAPTURED / "10-group-sms-inbound.json", "en", "America/Los_Angeles", 296),
    "mms": (CAPTURED / "08-mms.json", "en", "America/Los_Angeles", 264),
    "voicemail": (CAPTURED / "05-voicemail.json", "en", "America/Los_Angeles", 245),
    "fax": (CAPTURED / "06-fax-inbound.json", "en", "America/Los_Angeles", 226),
    "cover": (MADE / "26-fax-cover.json", "en", "America/Los_Angeles", 264),
    "files": (MADE / "25-files.json", "en", "America/Los_Angeles", 612),
    "failures": (MADE / "23-failures.json", "en", "America/Los_Angeles", 824),
    "mixed": (MADE / "21-mixed-day.json", "en", "America/Los_Angeles", 713),
    "shared": (MADE / "22-shared-sms-resolved.json", "en", "America/Los_Angeles", 800),
    "spanish": (MADE / "22-shared-sms-resolved.json", "es", "Europe/Madrid", 800),
    "japanese": (MADE / "21-mixed-day.json", "ja", "Asia/Tokyo", 713),
}

PAGE: Final = """<!doctype html><html lang="{language}"><meta charset="utf-8"><style>
body {{ margin: 0; padding: 12px; background: #eef0f3; font: 13px/1.45 "Noto Sans", "Noto Sans CJK JP", sans-serif; }}
article {{ background: #fff; border: 1px solid #d5d9e0; border-radius: 6px; padding: 10px 16px 2px; }}
h1 {{ font-size: 14px; margin: 0 0 10px; padding-bottom: 8px; border-bottom: 1px solid #e4e7ec; }}
p {{ margin: 0 0 12px; }}
</style><article><h1>{subject}</h1>{body}</article></html>"""


def main() -> None:
    """Write every picture."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("There is no chromium here.")
    PICTURES.mkdir(exist_ok=True)
    for name, (payload, language, zone, height) in DRAWN.items():
        draw(chromium, page(payload, language, zone), PICTURES / f"{name}.png", height)


def page(payload: Path, language: str, zone: str) -> str:
    """Return an activity as a CRM might frame it: the subject, and our HTML as it is."""
    request = parse_log_request(payload.read_bytes())
    content = compose_request(TextSettings(LogFormat.HTML, zone, language), request)
    return PAGE.format(language=language, subject=html.escape(content.subject), body=content.body)


def draw(chromium: str, text: str, picture: Path, height: int) -> None:
    """Make a picture of a page."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(text, "utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}",
        ]
        size = [f"--window-size={WIDTH},{height}", f"--screenshot={picture}"]
        subprocess.run([chromium, *options, *size, file.as_uri()], check=True, capture_output=True)  # noqa: S603 - our own page


if __name__ == "__main__":
    main()
