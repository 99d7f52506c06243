"""The search can fail: what a careless connector gives away is found at every place that it comes to."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import prometheus_client
import pytest
import structlog
from msgspec.structs import replace

from canaries.connectors import Quoting
from canaries.locations import (
    ANSWERS,
    BACKUP,
    BELONGS,
    CRM_BODIES,
    CRM_URLS,
    DATABASE,
    LOGS,
    MAY_BE,
    METRICS,
    OUTPUT,
    PLACES,
    PRINTED,
    ROWS,
    SIGN_INS,
    misplacements,
)
from canaries.scenarios import CanaryRun
from canaries.search import Canaries
from support.cli_process import command

if TYPE_CHECKING:
    from pathlib import Path

    from messagelog.connectors import Contact, MessageLog, Session, UserInfo

LEAKS: Final = (
    *(CRM_BODIES, CRM_URLS, LOGS, PRINTED, METRICS, ANSWERS, SIGN_INS),
    *(DATABASE, ROWS, BACKUP, OUTPUT),
)


class Leaking(Quoting):
    """Gives the user's key away wherever a connector can."""

    async def get_user_info(self, session: Session) -> UserInfo:
        return replace(await super().get_user_info(session), name=session.credentials.api_key)

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        found = await super().find_contact(session, phone_number)
        return [replace(each, name=session.credentials.api_key) for each in found]

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        key = session.credentials.api_key
        structlog.get_logger().info("creating", key=key)
        print(key)  # noqa: T201 - this is the leak
        await session.http.get("/contacts", params={"name": key})
        await session.http.post("/contacts", json={"name": key, "phone": "+14155550142", "type": "contact"})
        return await super().create_message_log(session, log)


async def leak(canary_run: CanaryRun) -> None:
    async with (
        canary_run.crm() as crm,
        canary_run.serve(crm, (canary_run.canaries["secret_key"],), 0) as here,
    ):
        driver = canary_run.driver(here)
        await driver.sign_in()
        await driver.log("01-sms")
        driver.values["phone"] = "+14155550142"
        await driver.match()
        registry = here.context.metrics.registry
        prometheus_client.Counter("leaks", "Leaks", ("key",), registry=registry).labels(
            canary_run.canaries["api_key"]
        )
        scraper = {"authorization": f"Bearer {canary_run.canaries['metrics_token']}"}
        canary_run.locations.answer(METRICS, await here.ask("GET", "/metrics", headers=scraper))
    canary_run.locations.database(canary_run.database_url, canary_run.folder, canary_run.since)


def test_what_a_connector_gives_away_is_found_at_every_place(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    canaries = Canaries()
    canary_run = CanaryRun(database_url, tmp_path, canaries, connector=Leaking)
    with structlog.testing.capture_logs() as events:
        asyncio.run(leak(canary_run))
    canary_run.locations.note(LOGS, caplog.text, repr(events))
    canary_run.locations.note(PRINTED, *capfd.readouterr())
    done = command("users", "list", env={"MESSAGELOG_DATABASE_URL": canary_run.database_url})
    canary_run.locations.note(OUTPUT, done.out, done.err)
    found = {place: canary_run.locations.names_at(place, canaries) for place in LEAKS}
    told = {each.partition(" in ")[2] for each in misplacements(found) if each.startswith("api_key ")}
    assert told == set(LEAKS)


@pytest.mark.parametrize("name", BELONGS)
def test_each_canary_is_misplaced_wherever_it_does_not_belong(name: str) -> None:
    canaries = Canaries()
    found = canaries.find_in(b"before " + canaries[name].encode() + b" after")
    allowed = BELONGS[name] | MAY_BE.get(name, set())
    assert {place for place in PLACES if misplacements({place: found})} == set(PLACES) - allowed
