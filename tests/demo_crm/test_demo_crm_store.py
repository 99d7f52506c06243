import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from messagelog.testing.demo_crm import create_demo_crm, serve_demo_crm
from messagelog.testing.demo_crm.store import DemoCrmStore, StoreUnavailableError

NOTE = {"contact_id": "c-1", "subject": "SMS with Maya", "body": "Hello"}


def make_table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS line (n INTEGER PRIMARY KEY, text TEXT UNIQUE)")


def write(text: object) -> Callable[[sqlite3.Connection], int | None]:
    return lambda connection: connection.execute("INSERT INTO line (text) VALUES (?)", (text,)).lastrowid


def texts(path: Path) -> list[str]:
    """Return the committed texts, as another connection reads them."""
    connection = sqlite3.connect(path)
    try:
        return [text for (text,) in connection.execute("SELECT text FROM line ORDER BY n")]
    finally:
        connection.close()


async def test_data_outlives_the_server(tmp_path: Path) -> None:
    path = tmp_path / "made" / "crm.db"
    async with serve_demo_crm(path) as server, server.api_client() as ada:
        logged = (await ada.ask("POST", "/api/activities", json=NOTE | {"external_id": "x"})).body
        contact = (await ada.ask("POST", "/api/contacts", json={"name": "Ira Novak"})).body
        attached = await ada.ask("POST", "/api/activities/a-1/attachments?file_name=x", data=b"bytes")
    async with serve_demo_crm(path) as server, server.api_client() as ada:
        answer = await ada.ask("POST", "/api/activities", json=NOTE | {"external_id": "x"})
        assert (answer.status, answer.body) == (200, logged | {"attachments": [attached.body]})
        assert (await ada.ask("GET", "/api/contacts")).body[-1] == contact
        assert (await ada.ask("GET", "/api/attachments/f-1")).body == b"bytes"
        stats = (await ada.ask("GET", "/api/stats")).body
        assert (stats["creates"], stats["upserts"], stats["calls"]) == (1, 1, 3)


async def test_two_apps_in_one_process_are_independent(tmp_path: Path) -> None:
    async with (
        serve_demo_crm(tmp_path / "1.db") as one,
        serve_demo_crm(tmp_path / "2.db") as two,
        one.api_client() as ada_one,
        two.api_client() as ada_two,
    ):
        await ada_one.chaos(append_only=True)
        assert (await ada_one.ask("POST", "/api/activities", json=NOTE)).body["id"] == "a-1"
        assert (await ada_two.ask("GET", "/api/activities")).body == []
        assert (await ada_two.ask("GET", "/api/chaos")).body["append_only"] is False


async def test_a_hundred_calls_at_once_are_all_done(tmp_path: Path) -> None:
    async with serve_demo_crm(tmp_path / "crm.db") as server, server.api_client() as ada:
        answers = await asyncio.gather(
            *(ada.ask("POST", "/api/activities", json=NOTE | {"body": str(n)}) for n in range(100))
        )
        assert {answer.status for answer in answers} == {201}
        assert len({answer.body["id"] for answer in answers}) == 100
        listed = (await ada.ask("GET", "/api/activities")).body
    assert [activity["id"] for activity in listed] == [f"a-{n}" for n in range(1, 101)]
    assert {activity["body"] for activity in listed} == {str(n) for n in range(100)}


async def test_an_app_served_alone_opens_late_and_closes_by_itself(tmp_path: Path) -> None:
    app = create_demo_crm(tmp_path / "crm.db")
    assert not (tmp_path / "crm.db").exists()
    async with app.router.lifespan_context(app):
        await app.state.store.run(lambda _: None)
        assert (tmp_path / "crm.db-wal").exists()
    assert not (tmp_path / "crm.db-wal").exists()


async def test_a_result_is_given_out_once_it_is_committed(tmp_path: Path) -> None:
    store = DemoCrmStore(tmp_path / "lines.db", make_table)
    assert await store.run(write("one")) == 1
    assert texts(tmp_path / "lines.db") == ["one"]
    store.close()


async def test_failing_work_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    store = DemoCrmStore(tmp_path / "lines.db", make_table)
    started, released = threading.Event(), threading.Event()

    def waiting(_: sqlite3.Connection) -> None:
        started.set()
        released.wait(5)

    def half_done(connection: sqlite3.Connection) -> None:
        write("half")(connection)
        raise KeyError("half")

    first = asyncio.ensure_future(store.run(waiting))
    await asyncio.to_thread(started.wait, 5)
    jobs = [asyncio.ensure_future(store.run(write(text))) for text in ("a", "a", "b")]
    failing = asyncio.ensure_future(store.run(half_done))
    abandoned = asyncio.ensure_future(store.run(write("abandoned")))
    await asyncio.sleep(0)
    abandoned.cancel()
    await asyncio.sleep(0)
    released.set()
    done = await asyncio.gather(first, *jobs, failing, return_exceptions=True)
    assert [type(result) for result in done] == [type(None), int, sqlite3.IntegrityError, int, KeyError]
    assert [text for text in texts(tmp_path / "lines.db") if text != "abandoned"] == ["a", "b"]
    store.close()


async def test_closing_finishes_what_was_asked_for_and_later_work_opens_anew(tmp_path: Path) -> None:
    store = DemoCrmStore(tmp_path / "lines.db", make_table)
    jobs = [asyncio.ensure_future(store.run(write(n))) for n in range(500)]
    await asyncio.sleep(0)
    await asyncio.to_thread(store.close)
    await asyncio.gather(*jobs)
    assert len(texts(tmp_path / "lines.db")) == 500
    store.close()
    assert await store.run(write("later")) == 501
    store.close()


async def test_a_file_that_cannot_be_used_is_reported_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "crm.db"
    path.mkdir()
    async with serve_demo_crm(path) as server, server.api_client() as ada:
        answer = await ada.ask("GET", "/api/contacts")
        assert (answer.status, answer.body) == (503, {"error": "the demo CRM cannot use its file"})
        path.rmdir()
        assert (await ada.ask("GET", "/api/contacts")).status == 200
    (complaint,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert (complaint.name, complaint.exc_info) == ("messagelog.testing.demo_crm.app", None)


async def test_trouble_with_the_file_undoes_the_batch_and_is_over_with_the_next(tmp_path: Path) -> None:
    store = DemoCrmStore(tmp_path / "lines.db", make_table)

    def in_trouble(connection: sqlite3.Connection) -> None:
        write("lost")(connection)
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(StoreUnavailableError, match="disk I/O error"):
        await store.run(in_trouble)
    await store.run(write("kept"))
    assert texts(tmp_path / "lines.db") == ["kept"]
    store.close()
