"""Probes and metrics: what a supervisor and a Prometheus are told."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from messagelog.server.requests import DATABASE_GONE
from messagelog.storage.urls import sqlite_path
from support.live_server import SQLITE_ONLY, live_server, payload, refusal, until
from support.requests import body, message

if TYPE_CHECKING:
    from pathlib import Path

    from support.live_server import LiveServer

TEXT = "Words that no metric may hold"


async def figures(here: LiveServer, **headers: str) -> dict[tuple[str, ...], float]:
    """All samples: name and labels' values, to the value."""
    reply = await here.ask("GET", "/metrics", headers=headers)
    assert (reply.status, reply.body) == (200, reply.raw.decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.body)
        for sample in family.samples
    }


async def test_what_was_logged_and_how_long_the_crm_took(here: LiveServer) -> None:
    await here.log(body(message(1, text=TEXT), message(2)))
    found = await figures(here)
    assert found["messagelog_messages_total", "logged", "demo"] == 2
    assert found["messagelog_crm_call_seconds_count", "create", "ok", "demo"] == 1
    assert found["messagelog_crm_call_seconds_count", "update", "ok", "demo"] == 1
    assert found["messagelog_crm_call_seconds_sum", "create", "ok", "demo"] > 0


async def test_what_failed_stays_open(here: LiveServer) -> None:
    here.crm.refuse = lambda call: refusal(422) if call.method == "POST" else None
    await here.log(body(message(1, text=TEXT)))
    found = await figures(here)
    assert found["messagelog_messages_total", "failed", "demo"] == 1
    assert found["messagelog_crm_call_seconds_count", "create", "Rejected", "demo"] == 1
    assert found["messagelog_messages_open", "demo", "failed"] == 1
    assert 0 <= found["messagelog_oldest_open_seconds", "demo", "failed"] < 600
    assert found["messagelog_database_up",] == 1
    here.crm.refuse = lambda _call: None
    await here.log(body(message(1, text=TEXT)))
    assert ("messagelog_messages_open", "demo", "failed") not in await figures(here)


@SQLITE_ONLY
async def test_metrics_name_nobody(here: LiveServer) -> None:
    await here.log(body(message(1, text=TEXT)))
    (log,) = await here.logs()
    user = await here.context.users.find(log.key.tenant, "demo", log.created_by or "")
    assert user is not None
    text = (await here.ask("GET", "/metrics")).body
    assert "demo" in text
    for secret in (TEXT, user.tenant, user.id, user.name, await here.token()):
        assert secret not in text


@SQLITE_ONLY
async def test_metrics_behind_a_token(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path, metrics_token="watch-me") as here:
        for headers in ({}, {"authorization": "Bearer watch-m"}, {"authorization": "Basic watch-me"}):
            assert (await here.ask("GET", "/metrics", headers=headers)).status == 403
        assert (await here.ask("GET", "/metrics", headers={"authorization": "bearer watch-me"})).status == 200


async def test_alive_and_ready(here: LiveServer) -> None:
    assert (await here.ask("GET", "/healthz")).raw == b"OK"
    await until(lambda: is_ready(here), "the first sweep has ended")
    reply = await here.ask("GET", "/readyz")
    assert (reply.status, reply.body["ready"]) == (200, True)
    assert 0 <= reply.body["secondsSinceSweep"] < 10


async def is_ready(here: LiveServer) -> bool:
    return (await here.ask("GET", "/readyz")).status == 200


@SQLITE_ONLY
async def test_alive_and_not_ready_without_a_database(here: LiveServer) -> None:
    await until(lambda: is_ready(here), "the first sweep has ended")
    await here.context.store.close()
    assert (await here.ask("GET", "/healthz")).status == 200
    reply = await here.ask("GET", "/readyz")
    assert (reply.status, reply.body) == (503, "Not ready: the database does not answer.")
    found = await figures(here)
    assert found["messagelog_database_up",] == 0, "what the process counts is told without a database too"
    assert "messagelog_last_sweep_timestamp_seconds" in {name for name, *_ in found}


@SQLITE_ONLY
async def test_not_ready_while_it_stops(here: LiveServer) -> None:
    await here.context.runtime.stop()
    reply = await here.ask("GET", "/readyz")
    assert (reply.status, reply.body) == (503, "Not ready: the server is starting or stopping.")


@SQLITE_ONLY
async def test_a_server_whose_file_was_replaced_takes_nothing(here: LiveServer, database_url: str) -> None:
    """Its answer tells the client so, and one line of the log the operator."""
    sent = payload("01-sms")
    token = await here.token()
    path = sqlite_path(database_url)
    shutil.copy(path, path.with_name("other"))
    path.with_name("other").replace(path)
    with capture_logs() as events:
        reply = await here.ask("GET", "/readyz")
        assert (reply.status, reply.body) == (503, "Not ready: the database's file was replaced or deleted.")
        for _ in range(2):
            reply = await here.ask("POST", f"/messageLog?jwtToken={token}", json=sent)
            assert (reply.status, reply.body) == (503, DATABASE_GONE)
    assert here.crm.writes == []
    assert [each["file"] for each in events if each["event"] == "database_replaced"] == [str(path)]
