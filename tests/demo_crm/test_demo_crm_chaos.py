import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from messagelog.testing.demo_crm import DemoCrmClient, DemoCrmServer, serve_demo_crm

NOTE = {"contact_id": "c-1", "subject": "SMS with Maya", "body": "Hello"}
DEFAULTS: dict[str, Any] = {
    "delay_ms": 0,
    "drop_request_rate": 0.0,
    "failure_rate": 0.0,
    "status": 503,
    "retry_after_s": None,
    "rate_limit": None,
    "rate_window_s": 1.0,
    "lose_response_rate": 0.0,
    "apply_then_status": None,
    "hold": False,
    "search_lag_ms": 0,
    "body_limit": None,
    "append_only": False,
    "external_ids": True,
}
MISFITS: list[dict[str, object]] = [
    {"delay_ms": -1},
    {"delay_ms": "1"},
    {"drop_request_rate": 1.1},
    {"failure_rate": -0.1},
    {"failure_rate": True},
    {"status": 200},
    {"status": 600},
    {"retry_after_s": "soon"},
    {"rate_limit": 0},
    {"rate_window_s": -1},
    {"lose_response_rate": 2},
    {"apply_then_status": 299},
    {"hold": 1},
    {"search_lag_ms": 0.5},
    {"body_limit": -1},
    {"append_only": "yes"},
    {"external_ids": []},
    {"reset": 1},
    {"unheard_of": None},
]


class Time:
    """A clock that is moved by hand or by sleeping."""

    def __init__(self) -> None:
        self.now = 1_784_000_000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def crm(tmp_path: Path, time: Time) -> AsyncIterator[DemoCrmServer]:
    chance = Random(7)
    path = tmp_path / "crm.db"
    async with serve_demo_crm(path, clock=lambda: time.now, sleep=time.sleep, random=chance) as server:
        yield server


@pytest.fixture
async def ada(crm: DemoCrmServer) -> AsyncIterator[DemoCrmClient]:
    async with crm.api_client("demo-ada") as api_client:
        yield api_client


@pytest.fixture
async def otto(crm: DemoCrmServer) -> AsyncIterator[DemoCrmClient]:
    async with crm.api_client("demo-otto") as api_client:
        yield api_client


async def post(api_client: DemoCrmClient, **changes: object) -> int:
    return (await api_client.ask("POST", "/api/activities", json=NOTE | changes)).status


async def rows(api_client: DemoCrmClient) -> int:
    return len((await api_client.ask("GET", "/api/activities")).body)


async def until_rows_are(count: int, api_client: DemoCrmClient) -> None:
    for _ in range(500):
        if await rows(api_client) == count:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"there are still not {count} rows")


async def test_the_switch_merges_what_it_is_given(ada: DemoCrmClient) -> None:
    assert (await ada.ask("GET", "/api/chaos")).body == DEFAULTS
    assert await ada.chaos(delay_ms=5, status=500) == DEFAULTS | {"delay_ms": 5, "status": 500}
    assert await ada.chaos(failure_rate=0.5) == DEFAULTS | {"delay_ms": 5, "status": 500, "failure_rate": 0.5}
    assert await ada.chaos(status=None) == DEFAULTS | {"delay_ms": 5, "failure_rate": 0.5}
    assert await ada.chaos() == DEFAULTS | {"delay_ms": 5, "failure_rate": 0.5}
    assert await ada.chaos(reset=False) == DEFAULTS | {"delay_ms": 5, "failure_rate": 0.5}
    assert await ada.chaos(reset=True, status=429) == DEFAULTS | {"status": 429}
    assert await ada.chaos(reset=True) == DEFAULTS


async def test_what_the_switch_does_not_take_is_named_and_changes_nothing(ada: DemoCrmClient) -> None:
    for misfit in MISFITS:
        answer = await ada.ask("POST", "/api/chaos", json={"delay_ms": 1} | misfit)
        assert answer.status == 422
        assert next(iter(misfit)) in answer.body["error"]
    assert (await ada.ask("GET", "/api/chaos")).body == DEFAULTS


async def test_the_switch_outlives_the_process_and_is_a_tenants_own(tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    async with serve_demo_crm(path) as server, server.api_client() as ada:
        await ada.chaos(append_only=True)
    async with (
        serve_demo_crm(path) as server,
        server.api_client() as ada,
        server.api_client("demo-otto") as otto,
    ):
        assert (await ada.ask("GET", "/api/chaos")).body == DEFAULTS | {"append_only": True}
        assert (await otto.ask("GET", "/api/chaos")).body == DEFAULTS


async def test_delay_comes_before_every_call_but_those_to_the_switch(
    ada: DemoCrmClient, otto: DemoCrmClient, time: Time
) -> None:
    await ada.chaos(delay_ms=1500)
    for path in ("/api/me", "/api/contacts", "/api/activities", "/api/stats"):
        assert (await ada.ask("GET", path)).status == 200
    assert await post(ada) == 201
    assert time.slept == [1.5] * 5
    await ada.ask("GET", "/api/chaos")
    await otto.ask("GET", "/api/me")
    assert len(time.slept) == 5


async def test_failure_does_no_work_and_answers_the_status(ada: DemoCrmClient, otto: DemoCrmClient) -> None:
    await ada.chaos(failure_rate=1, status=429, retry_after_s=2.5)
    for method, path in (("GET", "/api/me"), ("GET", "/api/stats"), ("POST", "/api/activities")):
        answer = await ada.ask(method, path, json=NOTE)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "2.5")
        assert "error" in answer.body
    assert await post(otto) == 201
    await ada.chaos(retry_after_s=None)
    assert "Retry-After" not in (await ada.ask("GET", "/api/me")).headers
    await ada.chaos(reset=True)
    assert await rows(ada) == 0


async def test_rates_are_shares(ada: DemoCrmClient) -> None:
    await ada.chaos(failure_rate=0.25)
    statuses = [(await ada.ask("GET", "/api/me")).status for _ in range(400)]
    assert set(statuses) == {200, 503}
    assert 60 < statuses.count(503) < 140


async def test_apply_then_status_does_the_work_of_writes_and_answers_an_error(ada: DemoCrmClient) -> None:
    await ada.chaos(apply_then_status=502, retry_after_s=7)
    answer = await ada.ask("POST", "/api/activities", json=NOTE)
    assert (answer.status, answer.headers["Retry-After"]) == (502, "7")
    assert (await ada.ask("PATCH", "/api/activities/a-1", json={"body": "new"})).status == 502
    assert (await ada.ask("POST", "/api/activities/a-1/entries", json={"text": "entry"})).status == 502
    assert (await ada.ask("POST", "/api/activities/a-1/attachments?file_name=x", data=b"x")).status == 502
    assert (await ada.ask("POST", "/api/contacts", json={"name": "New"})).status == 502
    assert (await ada.ask("PATCH", "/api/activities/a-2", json={})).status == 404
    (activity,) = (await ada.ask("GET", "/api/activities")).body
    assert (activity["body"], len(activity["attachments"])) == ("new\nentry", 1)
    assert len((await ada.ask("GET", "/api/contacts?name=new")).body) == 1
    assert (await ada.ask("DELETE", "/api/activities/a-1")).status == 502
    assert await rows(ada) == 0


async def test_a_lost_response_leaves_the_work_done(ada: DemoCrmClient) -> None:
    await ada.chaos(lose_response_rate=1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(ada, external_id="x")
    assert await rows(ada) == 1
    await ada.chaos(reset=True)
    assert await post(ada, external_id="x") == 200


async def test_a_dropped_request_leaves_nothing(ada: DemoCrmClient, otto: DemoCrmClient) -> None:
    await ada.chaos(drop_request_rate=1)
    for method, path in (("GET", "/api/me"), ("GET", "/api/contacts"), ("POST", "/api/activities")):
        with pytest.raises(aiohttp.ClientConnectionError):
            await ada.ask(method, path, json=NOTE)
    assert await post(otto) == 201
    await ada.chaos(reset=True)
    assert await rows(ada) == 0


async def test_a_rate_limit_is_kept_by_the_crms_own_record(
    ada: DemoCrmClient, otto: DemoCrmClient, time: Time
) -> None:
    await ada.chaos(rate_limit=3, rate_window_s=10)
    for number in range(3):
        answer = await ada.ask(
            "POST", "/api/activities", json={"contact_id": "c-1", "subject": "s", "body": ""}
        )
        assert (answer.status, answer.headers["X-RateLimit-Remaining"]) == (201, str(2 - number))
        time.now += 2
    refused = await ada.ask("GET", "/api/me")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "4")
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert (await otto.ask("GET", "/api/me")).status == 200, "it is the tenant's own"
    time.now += 4
    assert (await ada.ask("GET", "/api/me")).status == 200, "the first one is ten seconds old"
    assert (await ada.ask("GET", "/api/me")).status == 429


async def test_searches_do_not_see_young_rows(ada: DemoCrmClient, time: Time) -> None:
    await ada.chaos(search_lag_ms=5000)
    await ada.ask("POST", "/api/contacts", json={"name": "Ira Novak", "phone": "+14155550188"})
    assert await post(ada, external_id="x") == 201
    searches = ("/api/contacts?phone=+14155550188", "/api/contacts?name=ira", "/api/activities?external_id=x")
    others = ("/api/activities", "/api/activities?contact_id=c-1", "/api/activities?id=a-1")
    for path in searches:
        assert (await ada.ask("GET", path)).body == [], path
    for path in others:
        assert len((await ada.ask("GET", path)).body) == 1, path
    assert (await ada.ask("GET", "/api/contacts")).body[-1]["name"] == "Ira Novak"
    assert len((await ada.ask("GET", "/api/contacts?name=maya")).body) == 1
    assert await post(ada, external_id="x") == 200, "what a search does not see yet is there all the same"
    time.now += 4.999
    assert (await ada.ask("GET", searches[0])).body == []
    time.now += 0.002
    for path in searches:
        assert len((await ada.ask("GET", path)).body) == 1, path


async def test_the_body_limit_counts_subject_and_body(ada: DemoCrmClient) -> None:
    limit = len(NOTE["subject"]) + len(NOTE["body"])
    await ada.chaos(body_limit=limit)
    assert (await ada.ask("GET", "/api/me")).body["features"]["body_limit"] == limit
    assert await post(ada) == 201
    refused = [
        await ada.ask("POST", "/api/activities", json=NOTE | {"body": "Hello!"}),
        await ada.ask("PATCH", "/api/activities/a-1", json={"subject": "SMS with Maya P"}),
        await ada.ask("POST", "/api/activities/a-1/entries", json={"text": ""}),
    ]
    for answer in refused:
        assert answer.status == 413
        assert (answer.body["code"], answer.body["limit"]) == ("body_limit", limit)
    await ada.chaos(body_limit=3)
    assert (await ada.ask("PATCH", "/api/activities/a-1", json={"fields": {"topic": "t"}})).status == 200


async def test_append_only_takes_entries_but_no_changes_of_the_text(ada: DemoCrmClient) -> None:
    assert await post(ada) == 201
    await ada.chaos(append_only=True)
    assert (await ada.ask("GET", "/api/me")).body["features"]["append_only"] is True
    for change in ({"body": "new"}, {"subject": "new"}, {"body": "new", "fields": {"topic": "t"}}):
        answer = await ada.ask("PATCH", "/api/activities/a-1", json=change)
        assert (answer.status, answer.body["code"]) == (409, "append_only")
    assert (await ada.ask("PATCH", "/api/activities/a-1", json={"contact_id": "c-2"})).status == 200
    answer = await ada.ask("POST", "/api/activities/a-1/entries", json={"text": "more"})
    assert (answer.body["body"], answer.body["fields"]) == ("Hello\nmore", {})


async def test_without_external_ids_equal_creations_make_two(ada: DemoCrmClient) -> None:
    await ada.chaos(external_ids=False)
    assert (await ada.ask("GET", "/api/me")).body["features"]["external_ids"] is False
    for _ in range(2):
        answer = await ada.ask("POST", "/api/activities", json=NOTE | {"external_id": "x"})
        assert (answer.status, answer.body["external_id"]) == (201, None)
    answer = await ada.ask("GET", "/api/activities?external_id=x")
    assert (answer.status, answer.body) == (400, {"error": "external ids are not supported"})


async def test_hold_keeps_the_answers_to_writes_back_until_it_is_off(
    ada: DemoCrmClient, otto: DemoCrmClient
) -> None:
    await ada.chaos(hold=True)
    held = [asyncio.create_task(post(ada)) for _ in range(3)]
    await until_rows_are(3, ada)
    await asyncio.sleep(0.05)
    assert await post(otto) == 201
    assert not any(task.done() for task in held)
    await ada.chaos(status=500)
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in held)
    await ada.chaos(hold=False)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*held) == [201, 201, 201]


async def test_hold_ends_when_the_client_leaves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serve_demo_crm(tmp_path / "left.db") as server, server.api_client() as ada:
        await ada.chaos(hold=True, lose_response_rate=0.5)
        for _ in range(4):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await post(ada)
        assert await rows(ada) == 4
    complaints = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert complaints == [], "the server would tell of requests that it had to cancel"


async def test_hold_is_bounded(tmp_path: Path) -> None:
    async with serve_demo_crm(tmp_path / "bounded.db") as server, server.api_client() as ada:
        server.app.state.chaos.hold_limit_s = 0.05
        await ada.chaos(hold=True)
        async with asyncio.timeout(5):
            assert await post(ada) == 201
