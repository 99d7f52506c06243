"""Where known secrets and texts turn up: nowhere but where they belong."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

import pytest
import structlog

from canaries.driving import Driver, Quoting
from canaries.searching import Canaries, names
from messagelog.core import Times
from messagelog.storage.opening import sqlite_path
from messagelog.storage.schema import metadata
from support.site import site
from tenancy.neighbours import run_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.site import Site

CRM_HEADERS, CRM_BODIES, CRM_URLS = "headers to the CRM", "bodies to the CRM", "URLs of the CRM"
LOGS, PRINTED, ANSWERS = "log lines", "what is printed", "answers"
DATABASE, ROWS, BACKUP = "the database's files", "rows", "a backup"

BELONGS: Final[dict[str, set[str]]] = {
    "api_key": {CRM_HEADERS},
    "password": set(),
    "rc_token": set(),
    "link_token": set(),
    "query": set(),
    "text": {CRM_BODIES},
    "transcript": {CRM_BODIES},
    "note": {CRM_BODIES},
    "form_field": {CRM_BODIES},
    "contact_name": {CRM_BODIES, DATABASE, ROWS, BACKUP},
}
"""Where each canary belongs. A contact's name is a plain column, for the operator's lists: docs/security.md says so."""


@asynccontextmanager
async def served(database_url: str, folder: Path) -> AsyncIterator[Site]:
    times = Times(answer=0.3, call=0.5, lease=60.0, sweep=0.1)
    async with site(database_url, folder, connector=Quoting, times=times) as here:
        yield here


def data_files(database_url: str, since: float) -> list[Path]:
    """The files of the database that were written since then: tables, indexes, logs, journals, WAL."""
    if database_url.startswith("sqlite"):
        path = sqlite_path(database_url)
        return sorted(path.parent.glob(f"{path.name}*"))
    folder = Path(parse_qs(urlsplit(database_url).query)["host"][0])
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if path.stat().st_mtime >= since]


def bytes_of(paths: list[Path]) -> bytes:
    return b"\n".join(path.read_bytes() for path in paths)


def backup(database_url: str, folder: Path) -> bytes:
    """A copy as an operator makes it; on PostgreSQL the rows as a dump writes them."""
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(sqlite_path(database_url), isolation_level=None)) as connection:
            connection.execute("VACUUM INTO ?", (str(folder / "backup.sqlite"),))
        return (folder / "backup.sqlite").read_bytes()
    return rows(database_url)


def rows(database_url: str) -> bytes:
    """Every row, with long values as they are and not as the database packs them."""
    selects = [f'SELECT * FROM "{name}"' for name in metadata.tables]  # noqa: S608 - our own names
    values = (value for found in run_all(database_url, selects) for row in found for value in row)
    return b"\n".join(
        bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode() for value in values
    )


def crm_places(here: Site) -> dict[str, bytes]:
    calls = here.crm.calls
    return {
        CRM_HEADERS: repr([call.headers for call in calls]).encode(),
        CRM_BODIES: b"\n".join(call.body for call in calls),
        CRM_URLS: repr([(call.path, call.query) for call in calls]).encode(),
    }


def misplaced(canaries: Canaries, places: dict[str, bytes]) -> list[str]:
    """Which canaries were found where they do not belong."""
    return [
        f"{found} in {place}"
        for place, held in places.items()
        for found in sorted(canaries.found_in(held))
        if place not in BELONGS.get(found.partition(" (")[0], set())
    ]


async def test_secrets_and_texts_are_only_where_they_belong(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    canaries, since = Canaries(), time.time() - 1
    with structlog.testing.capture_logs() as events:
        async with served(database_url, tmp_path) as here:
            driver = Driver(here, canaries)
            await driver.sign_in()
            await driver.all_goes_well()
            await driver.all_goes_wrong()
            await driver.every_route()
            while_running = bytes_of(data_files(database_url, since))
            saved, held = backup(database_url, tmp_path), rows(database_url)
            places = crm_places(here)
    asyncio.get_running_loop().set_debug(False)
    places |= {
        LOGS: (caplog.text + repr(events)).encode(),
        PRINTED: "".join(capfd.readouterr()).encode(),
        ANSWERS: repr(
            [(reply.raw, dict(reply.headers)) for reply in driver.replies + driver.sign_ins]
        ).encode(),
        DATABASE: while_running + bytes_of(data_files(database_url, since)),
        ROWS: held,
        BACKUP: saved,
    }
    assert misplaced(canaries, places) == []
    for name, where in BELONGS.items():
        for place in where:
            assert name in names(canaries.found_in(places[place])), f"{name} was driven into {place}"
    signatures = {reply.body["jwtToken"].rpartition(".")[2].encode() for reply in driver.sign_ins}
    others = {place: held for place, held in places.items() if place != ANSWERS}
    assert [place for place, held in others.items() if any(each in held for each in signatures)] == []


PLACES = (CRM_HEADERS, CRM_BODIES, CRM_URLS, LOGS, PRINTED, ANSWERS, DATABASE, ROWS, BACKUP)


@pytest.mark.parametrize("place", PLACES)
def test_a_planted_canary_is_found_in_each_place(place: str) -> None:
    canaries = Canaries()
    for name, belongs in BELONGS.items():
        found = misplaced(canaries, {place: b"before " + canaries[name].encode() + b" after"})
        assert bool(found) is (place not in belongs)
