"""Runs of a server with canaries in it: it works and fails, is stopped, and starts with another secret key."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from canaries.commands import run_commands
from canaries.connectors import Quoting, QuotingOAuth
from canaries.driver import TROUBLES, Driver
from canaries.locations import Locations
from canaries.routes import ask_everything
from messagelog.core import Times
from messagelog.plugins.redaction import Redaction
from support.live_server import live_server
from support.oauth_browser import Browser
from support.oauth_server import oauth_client, oauth_crm
from support.scripted_plugin import ScriptedPlugin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from canaries.search import Canaries
    from support.live_server import LiveServer
    from support.oauth_server import OAuthCrm

_LATER_MS = 2 * 3600 * 1000


@dataclass
class CanaryRun:
    """What outlives a server: its database, its CRMs, and the canaries that were found."""

    database_url: str
    folder: Path
    canaries: Canaries
    locations: Locations = field(default_factory=Locations)
    since: float = field(default_factory=lambda: time.time() - 1)
    values: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    connector: type[Quoting] = Quoting
    plugin: ScriptedPlugin = field(default_factory=lambda: ScriptedPlugin(lambda request: request))

    def __post_init__(self) -> None:
        """Put a password into the database's URL, which PostgreSQL on a socket does not ask for."""
        password = self.canaries["database_password"]
        self.database_url = self.database_url.replace("postgres:@", f"postgres:{password}@")
        number = f"415555{random.randint(2_000, 9_999)}"
        self.values["phone"] = f"+1{self.canaries.learn('phone', number)}"
        self.values["card"] = self.canaries.learn("card", card_number())
        self.values["said"] = self.canaries.learn("said", f"said{uuid4().hex[:14]}")
        (self.folder / "patterns").write_text(f"canary = redacted-{self.canaries.stem}-redacted-end\n")

    def driver(self, here: LiveServer) -> Driver:
        return Driver(here, self.canaries, self.locations, self.values, self.tokens)

    @asynccontextmanager
    async def serve(
        self, crm: OAuthCrm, secrets: tuple[str, ...], later_ms: int, *, answer: float = 5.0
    ) -> AsyncIterator[LiveServer]:
        """Serve with these secret keys, with a clock that is this much later, and this time to answer (seconds)."""
        troubles = {name: type(name, (Quoting,), {"name": name})("") for name in TROUBLES}
        redaction = Redaction({"patterns_file": str(self.folder / "patterns")})
        async with live_server(
            self.database_url,
            self.folder,
            connector=self.connector,
            times=Times(answer=answer, call=2.0, lease=60.0, sweep=0.1, drain=0.05),
            more={"oauth-crm": QuotingOAuth(crm), **troubles},
            secrets=secrets,
            oauth_clients={"oauth-crm": crm.oauth_client},
            metrics_token=self.canaries["metrics_token"],
            plugins=(self.plugin, redaction),
            clock=lambda: int(time.time() * 1000) + later_ms,
        ) as here:
            for name in TROUBLES:
                here.context.config.connectors[name].base_url = f"{here.url}/demo-crm/api"
            yield here
            self.locations.calls(here.crm.calls)

    @asynccontextmanager
    async def crm(self) -> AsyncIterator[OAuthCrm]:
        """Serve the CRM whose users sign in with OAuth; each of its access tokens must be refreshed at once."""
        async with oauth_crm(
            self.folder,
            oauth_client=oauth_client(client_secret=self.canaries["client_secret"]),
            chosen=lambda kind, number: f"{self.canaries[kind]}-{number}",
            expires_in=60,
        ) as crm:
            yield crm
            self.locations.calls(crm.recorded.calls)


async def first_run(canary_run: CanaryRun) -> None:
    """Run with successes, then with failures; end with calls under way."""
    async with (
        canary_run.crm() as crm,
        canary_run.serve(crm, (canary_run.canaries["old_secret_key"],), 0, answer=0.3) as here,
    ):
        driver = canary_run.driver(here)
        await driver.sign_in()
        await driver.all_goes_well()
        await driver.plugin_fails(canary_run.plugin)
        await driver.oauth(Browser(here, crm), crm)
        await driver.crm_fails()
        connector = here.context.config.connectors["demo"]
        assert isinstance(connector, Quoting)
        await driver.connector_fails(connector)
        await here.chaos(delay_ms=300)
        await driver.log("01-sms")


async def second_run(canary_run: CanaryRun) -> None:
    """Continue what was left, with a newer secret key; then send requests to every route."""
    secrets = (canary_run.canaries["secret_key"], canary_run.canaries["old_secret_key"])
    async with canary_run.crm() as crm, canary_run.serve(crm, secrets, _LATER_MS) as here:
        driver = canary_run.driver(here)
        await here.chaos()
        await driver.all_goes_well()
        await ask_everything(driver)
        canary_run.locations.database(canary_run.database_url, canary_run.folder, canary_run.since)


def card_number() -> str:
    """Return a card's number that no test has used yet, with its check digit."""
    digits = [4, *(random.randint(0, 9) for _ in range(14))]
    doubled = [2 * each - 9 * (each > 4) if at % 2 == 0 else each for at, each in enumerate(digits)]
    return "".join(map(str, digits)) + str(-sum(doubled) % 10)


def run_all(canary_run: CanaryRun) -> None:
    """Run both, then an operator's commands, and search the database at its end."""
    asyncio.run(
        first_run(canary_run), debug=canary_run.database_url.startswith("sqlite")
    )  # the loop's is the same with both
    asyncio.run(second_run(canary_run))
    run_commands(
        canary_run.database_url,
        canary_run.folder,
        canary_run.canaries,
        canary_run.locations,
        canary_run.values,
    )
    canary_run.locations.database(canary_run.database_url, canary_run.folder, canary_run.since)
