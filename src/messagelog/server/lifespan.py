"""Opens and closes the parts of a server: database, sealing, connectors, runtime."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp

from messagelog.connectors.outbound import NamedHosts, Outbound
from messagelog.core import Runtime, UserDirectory
from messagelog.core.calls import Caller
from messagelog.core.contact_book import ContactBook
from messagelog.core.media import MediaFetcher
from messagelog.core.metrics import Metrics
from messagelog.core.operators import Operators
from messagelog.core.pacer import Pacer
from messagelog.core.plugins import Plugins
from messagelog.core.retention import Retention
from messagelog.core.user_settings import UserSettings
from messagelog.server.buckets import Buckets
from messagelog.server.closing import CLOSE_SECONDS, close_all
from messagelog.server.states import States
from messagelog.server.throttle import Throttle
from messagelog.server.tokens import Tokens
from messagelog.storage import Sealer, open_store, scripts, with_stored_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


from messagelog.server.assembly import Assembly, Parts


@asynccontextmanager
async def assembled(parts: Parts) -> AsyncIterator[Assembly]:
    """A server's parts, opened; at the end its work is brought to an end and everything is closed.

    Raises `LookupError` when a connector's users sign in with OAuth and nobody has said as which client, and
    `KeysLocked` when the database was used with other secret keys.
    """
    for name, each in parts.connectors.items():
        if each.oauth is not None and name not in parts.oauth_clients:
            raise LookupError(f"no OAuth client id is known for the connector {name}")
    named = NamedHosts(parts.private_hosts)
    store = await open_store(parts.database_url, clock=parts.clock)
    try:
        sealer = await with_stored_keys(store, Sealer(parts.secret_key, parts.old_secret_keys))
        journal = await store.read(scripts.journal_id)
    except BaseException:
        await store.close()
        raise
    # Not bounded here, where one tenant's would keep the others' waiting: each tenant's are, by its own lane.
    connector = Outbound(named, limit=0)
    # Cookies would carry one user's session over to the next one's call.
    client = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    pacer = Pacer(store, call_seconds=parts.times.call)
    users = UserDirectory(
        store,
        sealer,
        client,
        call_timeout=parts.times.call,
        oauth_clients=parts.oauth_clients,
        pacer=pacer,
        clock=parts.now,
    )
    media = MediaFetcher(client, parts.media_hosts)
    settings = UserSettings(store, parts.locale)
    metrics = Metrics()
    passwords = parts.passwords()
    plugins = Plugins(parts.plugins, parts.required_plugins) if parts.plugins else None
    runtime = Runtime(
        store=store,
        sealer=sealer,
        connectors=parts.connectors,
        users=users,
        caller=Caller(store, sealer, media, call_timeout=parts.times.call, metrics=metrics),
        journal=journal,
        settings=settings,
        times=parts.times,
        luck=parts.luck,
        plugins=plugins,
    )
    retention = Retention(store, parts.kept)
    retention.start()
    try:
        yield Assembly(
            parts=parts,
            store=store,
            runtime=runtime,
            users=users,
            tokens=Tokens(sealer.token_keys, clock=parts.now),
            states=States(sealer.state_keys, store, clock=parts.now),
            contacts=ContactBook(store, sealer, age=parts.contact_seconds, lease=parts.times.lease),
            plugins=plugins,
            settings=settings,
            metrics=metrics,
            requests=Buckets(parts.requests_per_minute, clock=parts.now),
            guesses=Buckets(parts.guesses_per_minute, clock=parts.now),
            sealer=sealer,
            operators=Operators(store, passwords),
            throttle=Throttle(parts.now),
            account_key=sealer.account_key,
        )
    finally:
        passwords.close()
        await runtime.stop()
        closing = (
            ("retention", retention.stop),
            ("users", users.close),
            ("pacer", pacer.close),
            ("CRM connections", client.close),
            ("database", store.close),
        )
        await close_all(closing, runtime.stops_by + CLOSE_SECONDS)
