"""Credentials are refreshed ahead of their end, one refresh at a time, at a real authorization server."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
import structlog

from messagelog.connectors import AuthExpired, Credentials, Unavailable
from messagelog.connectors.errors import SignInRenewed
from messagelog.core import Times, UserDirectory
from messagelog.core.users.token_refresh import CredentialStore
from messagelog.server.context import REDIRECT_URI, ServerConfig
from messagelog.server.lifespan import open_context
from messagelog.storage import Sealer, open_store, transactions
from storage.journal import run_sql
from support.live_server import LOOPBACK, SQLITE_ONLY
from support.oauth_server import REGISTERED, lost, oauth_crm, refusing
from support.requests import body, message, to_log_request
from support.run_until_idle import work_off

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from messagelog.connectors import Session
    from messagelog.core import User
    from messagelog.server import AppContext
    from messagelog.storage import Store, UserRow
    from support.oauth_server import OAuthCrm, OAuthDemo

SECRET = "a-secret-for-tests-0123456789-abcdef"
TIMES = Times(answer=8.0, call=8.0, lease=60.0)


@dataclass
class Clock:
    """The clock of this process and of the authorization server."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


@dataclass
class Place:
    """A user who signed in with OAuth, the CRM, and processes that work for them."""

    crm: OAuthCrm
    connector: OAuthDemo
    clock: Clock
    config: ServerConfig
    context: AppContext
    user: User

    async def session(self, context: AppContext | None = None) -> Session:
        return await (context or self.context).users.session(self.connector, "acme", "u-ada")

    async def call(self, context: AppContext | None = None) -> Any:
        """Make a call to the CRM, in the user's session."""
        return await (await self.session(context)).http.get("/me")

    async def row(self) -> UserRow:
        found = await self.context.store.read(lambda: transactions.find_user("acme", "oauth-crm", "u-ada"))
        assert found is not None
        return found

    async def credentials(self) -> Credentials:
        return CredentialStore(Sealer(SECRET)).open(await self.row())

    @asynccontextmanager
    async def another_process(self) -> AsyncIterator[AppContext]:
        async with open_context(self.config) as context:
            yield context


async def code_of(crm: OAuthCrm) -> str:
    """A code, for a user who has granted what is asked."""
    asked = {
        "response_type": "code",
        "client_id": REGISTERED.client_id,
        "redirect_uri": REDIRECT_URI,
        "state": "x",
    }
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{crm.url}/authorize?{urlencode(asked)}", allow_redirects=False) as answer,
    ):
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


async def signed_in(crm: OAuthCrm, connector: OAuthDemo, context: AppContext) -> User:
    return await context.users.sign_in_with_code(
        connector, await code_of(crm), "", redirect_uri=REDIRECT_URI, verifier=None
    )


@asynccontextmanager
async def place(database_url: str, folder: Path, **changes: Any) -> AsyncIterator[Place]:
    clock = Clock()
    async with oauth_crm(folder, knows_pkce=False, clock=clock, **changes) as crm:
        connector = crm.connector
        config = ServerConfig(
            database_url=database_url,
            secret_key=SECRET,
            connectors={connector.name: connector},
            public_url="http://127.0.0.1",
            times=TIMES,
            now=clock,
            oauth_clients={connector.name: REGISTERED},
            private_hosts=LOOPBACK,
        )
        async with open_context(config) as context:
            user = await signed_in(crm, connector, context)
            yield Place(crm, connector, clock, config, context, user)


# ------------------------------------------------------------------------------------------- ahead of it


async def test_credentials_are_refreshed_two_minutes_ahead_of_their_end(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 3600 - 121
        await here.call()
        assert here.crm.refreshes == 0
        here.clock.now += 2
        await here.call()
        await here.call()
        assert (here.crm.refreshes, here.crm.refused) == (1, 0)
        assert (await here.credentials()).access_token == here.crm.grants[1].access_token


@pytest.mark.parametrize("rotates", [True, False])
async def test_refresh_tokens_that_change_and_that_stay(
    database_url: str, tmp_path: Path, rotates: bool
) -> None:
    async with place(database_url, tmp_path, rotates=rotates) as here:
        for _ in range(3):
            here.clock.now += 3600
            await here.call()
        assert len(set(here.crm.refreshed_with)) == (3 if rotates else 1)
        assert (here.crm.refreshes, here.crm.refused) == (3, 0)


async def test_two_hundred_waiting_logs_of_a_user_refresh_once(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 3600
        requests = [
            to_log_request(body(message(number), conversation=f"conv-{number}")) for number in range(1, 201)
        ]
        answers = await asyncio.gather(
            *(here.context.runtime.submit(here.user, request) for request in requests)
        )
        assert [answer.log_ids for answer in answers] == [[str(number)] for number in range(1, 201)]
        assert (here.crm.refreshes, here.crm.refused) == (1, 0)


async def test_processes_that_share_a_database_refresh_once(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as here, here.another_process() as other:
        here.clock.now += 3600
        here.crm.gate = asyncio.Event()
        processes = (here.context, other)
        calls = [asyncio.create_task(here.call(process)) for _ in range(20) for process in processes]
        await here.crm.arrived.wait()
        here.crm.gate.set()
        await asyncio.gather(*calls)
        assert (here.crm.refreshes, here.crm.refused) == (1, 0)


async def test_a_process_that_knows_only_the_credentials_of_before_takes_those_that_are_there(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here, here.another_process() as other:
        old = await here.session(other)
        here.clock.now += 3600
        await here.call()
        assert (await here.session(other)).credentials == await here.credentials()
        assert await old.http.get("/me"), "an old session goes on as well"
        assert here.crm.refreshes == 1


@SQLITE_ONLY
async def test_a_token_of_a_short_life_is_not_refreshed_at_every_call(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path, expires_in=60) as here:
        for _ in range(3):
            await here.call()
        assert here.crm.refreshes == 0
        here.clock.now += 31
        for _ in range(3):
            await here.call()
        assert here.crm.refreshes == 1


# --------------------------------------------------------------------------------------- a CRM's 401


async def test_a_call_that_the_crm_refuses_is_made_again_after_one_refresh(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here, here.another_process() as other:
        here.clock.now += 61
        here.crm.grants[0].access_revoked = True
        processes = (here.context, other)
        calls = [here.call(process) for _ in range(20) for process in processes]
        assert {each["id"] for each in await asyncio.gather(*calls)} == {"u-ada"}
        assert here.crm.refreshes == 1


async def test_a_message_is_logged_once_though_its_call_was_refused_first(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 61
        here.crm.grants[0].access_revoked = True
        answer = await here.context.runtime.submit(here.user, to_log_request(body(message(1))))
        assert answer.log_ids == ["1"]
        assert len(await (await here.session()).http.get("/activities")) == 1


async def test_a_crm_that_refuses_new_credentials_too_is_believed(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as here, here.another_process() as other:
        here.clock.now += 61
        here.crm.grants[0].access_revoked = True
        here.crm.after = _revoking(here.crm)
        for process in (here.context, other, here.context, other):
            with pytest.raises(AuthExpired):
                await here.call(process)
        assert here.crm.refreshes == 1, "neither process refreshes for ever"
        assert (await here.row()).credentials is not None
        here.clock.now += 61
        here.crm.after = lambda _kind, answer: answer
        assert await here.call(other), "it is asked again later"


def _revoking(crm: OAuthCrm) -> Any:
    """What is handed out is no good from the first."""

    def after(_kind: str, answer: Any) -> Any:
        crm.grants[-1].access_revoked = True
        return answer

    return after


@SQLITE_ONLY
async def test_a_stream_is_not_sent_again(database_url: str, tmp_path: Path) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"bytes"

    async with place(database_url, tmp_path) as here:
        here.clock.now += 61
        session = await here.session()
        here.crm.grants[0].access_revoked = True
        with pytest.raises(SignInRenewed):
            await session.http.request("POST", "/activities/none/attachments", data=stream())
        assert await session.http.get("/me"), "though the sign-in was renewed"
        assert here.crm.refreshes == 1


# -------------------------------------------------------------------------------------- grants that end


async def test_a_grant_that_the_crm_took_back_ends_the_users_session(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 61
        here.crm.grants[0].access_revoked = here.crm.grants[0].refresh_revoked = True
        calls = await asyncio.gather(*(here.call() for _ in range(10)), return_exceptions=True)
        assert {type(each) for each in calls} == {AuthExpired}
        assert here.crm.refreshes == 1
        assert (await here.row()).credentials is None
        user = await here.context.users.find("acme", "oauth-crm", "u-ada")
        assert user is not None
        assert not user.connected
        assert user.session_id == here.user.session_id, "the user's tokens are good again after the sign-in"
        answer = await here.context.runtime.submit(here.user, to_log_request(body(message(1))))
        assert "sign in" in answer.return_message.message
        await signed_in(here.crm, here.connector, here.context)
        assert (await here.call())["id"] == "u-ada"


async def test_what_another_process_wrote_is_not_dropped_for_a_grant_of_before(
    database_url: str, tmp_path: Path
) -> None:
    """A process that lost its claim while it asked finds out that its refresh token is old."""
    async with place(database_url, tmp_path) as here:
        grant = here.crm.grants[0]
        other = Credentials(access_token=grant.access_token, refresh_token="another", expires_at=None)
        sealed = CredentialStore(Sealer(SECRET)).seal(("acme", "oauth-crm", "u-ada"), other).hex()
        literal = f"X'{sealed}'" if database_url.startswith("sqlite") else f"'\\x{sealed}'::bytea"

        def refused(kind: str) -> Any:
            run_sql(database_url, f'UPDATE "users" SET "credentials" = {literal}, "refreshOwner" = NULL')  # noqa: S608 - our own bytes
            return refusing("refresh_token", "invalid_grant")(kind)

        here.crm.before = refused
        here.clock.now += 3600 - 60
        session = await here.session()
        assert session.credentials == other
        assert (await here.row()).credentials == bytes.fromhex(sealed)


def seal_again(database_url: str, row: UserRow) -> None:
    """The same credentials in other bytes, as a rotation of secret keys leaves them."""
    credential_store = CredentialStore(Sealer(SECRET))
    sealed = credential_store.seal(("acme", "oauth-crm", "u-ada"), credential_store.open(row)).hex()
    literal = f"X'{sealed}'" if database_url.startswith("sqlite") else f"'\\x{sealed}'::bytea"
    run_sql(database_url, f'UPDATE "users" SET "credentials" = {literal}')  # noqa: S608 - our own bytes


async def test_credentials_that_were_only_sealed_anew_are_refreshed_all_the_same(
    database_url: str, tmp_path: Path
) -> None:
    """Other bytes do not mean that another process has refreshed them: neither before the claim nor after it."""
    async with place(database_url, tmp_path) as here:
        first = await here.credentials()
        await here.session()  # the row is remembered for a moment
        seal_again(database_url, await here.row())
        row = await here.row()

        def meanwhile(_kind: str) -> Any:
            seal_again(database_url, row)

        here.crm.before = meanwhile
        here.clock.now += 3600 - 60
        session = await here.session()
        assert session.credentials.access_token != first.access_token
        assert await here.credentials() == session.credentials
        assert (await here.call())["id"] == "u-ada"


async def test_a_process_that_died_while_it_refreshed_is_waited_for_until_its_lease_ends(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here:
        row = await here.row()
        claimed = await here.context.store.write(
            lambda: transactions.claim_refresh(row, owner="who died", lease_ms=500)
        )
        assert claimed
        here.clock.now += 3600
        began = time.monotonic()
        await here.call()
        assert time.monotonic() - began > 0.4
        assert here.crm.refreshes == 1


@SQLITE_ONLY
async def test_a_token_that_cannot_be_refreshed_is_used_until_its_end(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path, gives_refresh_tokens=False) as here:
        here.clock.now += 3600 - 1
        await here.call()
        assert (await here.row()).credentials is not None
        here.clock.now += 1
        with pytest.raises(AuthExpired):
            await here.call()
        assert (await here.row()).credentials is None
        assert here.crm.refreshes == 0


@SQLITE_ONLY
async def test_a_401_without_a_refresh_token_is_no_reason_to_drop_a_token_that_has_not_ended(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path, gives_refresh_tokens=False, expires_in=None) as here:
        here.clock.now += 10 * 86_400
        await here.call()
        here.crm.grants[0].access_revoked = True
        with pytest.raises(AuthExpired):
            await here.call()
        assert (await here.row()).credentials is not None


@SQLITE_ONLY
async def test_a_token_whose_end_nobody_knows_is_refreshed_when_the_crm_refuses_it(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path, expires_in=None) as here:
        here.clock.now += 10 * 86_400
        await here.call()
        assert here.crm.refreshes == 0
        here.crm.grants[0].access_revoked = True
        await here.call()
        assert here.crm.refreshes == 1


@SQLITE_ONLY
async def test_credentials_of_a_clock_that_was_ahead_are_refreshed(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 86_400
        await signed_in(here.crm, here.connector, here.context)
        here.clock.now -= 86_400
        assert (await here.call())["id"] == "u-ada"
        assert here.crm.refreshes == 1
        assert (await here.credentials()).issued_at == int(here.clock.now * 1000)


@SQLITE_ONLY
async def test_credentials_of_the_future_are_not_taken_for_new_ones(
    database_url: str, tmp_path: Path
) -> None:
    """Their end is not known; that the CRM refuses them is."""
    async with place(database_url, tmp_path, expires_in=None) as here:
        here.clock.now += 86_400
        await signed_in(here.crm, here.connector, here.context)
        here.clock.now -= 86_400
        for grant in here.crm.grants:
            grant.access_revoked = True
        assert (await here.call())["id"] == "u-ada"
        assert here.crm.refreshes == 1


# ------------------------------------------------------------------------ a server that does not answer


@SQLITE_ONLY
async def test_a_token_that_is_good_still_is_used_while_it_cannot_be_refreshed(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 3600 - 60
        here.crm.before = refusing("refresh_token", "server_error", 503)
        for _ in range(5):
            await here.call()
        assert len([form for form in here.crm.forms if "refresh_token" in form]) == 1, (
            "not asked at each call"
        )
        here.clock.now += 60
        with pytest.raises(Unavailable):
            await here.call()
        assert (await here.row()).credentials is not None


@SQLITE_ONLY
async def test_a_refresh_whose_answer_is_lost_keeps_the_user_signed_in(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path, rotates=False) as here:
        here.clock.now += 3600
        here.crm.after = lost
        with pytest.raises(Unavailable):
            await here.call()
        async with here.another_process() as other:
            here.crm.after = lambda _kind, answer: answer
            assert (await here.call(other))["id"] == "u-ada"


@SQLITE_ONLY
async def test_a_refusal_that_is_the_operators_is_told_to_the_operator(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 3600
        here.crm.before = refusing("refresh_token", "invalid_client", 401)
        with structlog.testing.capture_logs() as events, pytest.raises(Unavailable):
            await here.call()
        assert events == [
            {
                "event": "refresh_refused",
                "log_level": "error",
                "connector": "oauth-crm",
                "detail": "HTTP 401 invalid_client",
            }
        ]
        assert (await here.row()).credentials is not None


@SQLITE_ONLY
async def test_a_server_that_hangs_holds_a_call_up_for_a_while_only(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 3600
        here.crm.gate = asyncio.Event()
        async with asyncio.timeout(TIMES.call / 2):
            with pytest.raises(Unavailable, match="TimeoutError"):
                await here.call()
        here.crm.gate.set()


@SQLITE_ONLY
@pytest.mark.parametrize("contact", ["c-1", "createNewContact"])
async def test_a_request_is_told_that_the_crm_cannot_be_reached(
    database_url: str, tmp_path: Path, contact: str
) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 3600
        here.crm.before = refusing("refresh_token", "server_error", 503)
        impatient = replace(here.config, times=Times(answer=1.5, call=8.0, lease=60.0), jitter=lambda: 0.999)
        async with open_context(impatient) as other:
            answer = await other.runtime.submit(here.user, to_log_request(body(message(1), contact=contact)))
        assert answer.successful is (contact == "c-1"), "without a contact there is nothing to keep"
        assert "reached" in answer.return_message.message


@SQLITE_ONLY
async def test_two_hundred_logs_that_wait_for_one_user_cause_one_refresh(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 3600
        here.crm.before = refusing("refresh_token", "server_error", 503)
        brisk = replace(here.config, times=Times(answer=0.01, call=8.0, lease=60.0))
        async with open_context(brisk) as busy:
            requests = [to_log_request(body(message(n), conversation=f"k{n}")) for n in range(1, 201)]
            await asyncio.gather(*(busy.runtime.submit(here.user, each) for each in requests))
            await busy.runtime.idle()
        asked = len(here.crm.forms)
        run_sql(database_url, 'UPDATE "conversationLogs" SET "dueAt" = 1 WHERE "owner" IS NULL')
        here.crm.before = lambda _kind: None
        async with here.another_process() as later:
            await work_off(later.runtime)
            due = await later.store.read(transactions.find_next_due)
        assert due is None, "all are logged"
        assert len(here.crm.forms) == asked + 1


# -------------------------------------------------------------------------------- signing out meanwhile


async def test_a_refresh_under_way_does_not_bring_a_user_back_who_signs_out(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here:
        here.clock.now += 3600
        gate = here.crm.gate = asyncio.Event()
        call = asyncio.create_task(here.call())
        await here.crm.arrived.wait()
        await here.context.users.sign_out(here.connector, here.user)
        gate.set()
        with pytest.raises(AuthExpired):
            await call
        assert (await here.row()).credentials is None
        assert here.crm.grants[-1].refresh_revoked, "what is not needed any more is revoked"


async def test_a_refresh_under_way_is_saved_when_the_server_stops(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as here:
        async with here.another_process() as other:
            here.clock.now += 3600
            gate = here.crm.gate = asyncio.Event()
            call = asyncio.create_task(here.call(other))
            await here.crm.arrived.wait()
            call.cancel()
            await asyncio.wait([call])
            asyncio.get_running_loop().call_later(0.1, gate.set)
        assert (await here.credentials()).refresh_token == here.crm.grants[-1].refresh_token
        await here.call()
        assert here.crm.refreshes == 1


# --------------------------------------------------------------------------------------- what is memorised


class Watched:
    """A store whose reads are counted, and held up where a test says so."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads = self.writes = 0
        self.gate: asyncio.Event | None = None
        self.read_it = asyncio.Event()

    async def read(self, transaction: Callable[[], Any]) -> Any:
        self.reads += 1
        value = await self._store.read(transaction)
        self.read_it.set()
        if self.gate is not None:
            await self.gate.wait()
        return value

    async def write(self, transaction: Callable[[], Any], *, locks: Any = ()) -> Any:
        self.writes += 1
        return await self._store.write(transaction, locks=locks)

    async def close(self) -> None:
        await self._store.close()


@asynccontextmanager
async def directory(here: Place) -> AsyncIterator[tuple[UserDirectory, Watched]]:
    """Another process's directory of users, over a store that is watched."""
    watched = Watched(await open_store(here.config.database_url))
    async with aiohttp.ClientSession() as client:
        users = UserDirectory(
            watched,
            Sealer(SECRET),
            client,
            call_timeout=TIMES.call,
            oauth_clients=here.config.oauth_clients,
            clock=here.clock,
        )
        try:
            yield users, watched
        finally:
            await users.close()
            await watched.close()


async def test_a_request_and_its_calls_read_the_user_once(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as here, directory(here) as (users, store):
        await users.find("acme", "oauth-crm", "u-ada")
        sessions = [await users.session(here.connector, "acme", "u-ada") for _ in range(20)]
        assert store.reads == 1
        assert all(session is sessions[0] for session in sessions), "and open one session"
        await users.find("acme", "oauth-crm", "u-ada")
        assert await users.session(here.connector, "acme", "u-ada") is sessions[0]
        assert store.reads == 2


async def test_those_who_wait_in_one_process_claim_a_refresh_once(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as here, directory(here) as (users, store):
        here.clock.now += 3600
        sessions = (users.session(here.connector, "acme", "u-ada") for _ in range(50))
        assert len({each.credentials.access_token for each in await asyncio.gather(*sessions)}) == 1
        assert store.writes == 2, "one claims, one saves"


@SQLITE_ONLY
async def test_a_server_that_is_away_costs_no_read_at_each_call(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as here, directory(here) as (users, store):
        here.clock.now += 3600 - 60
        here.crm.before = refusing("refresh_token", "server_error", 503)
        await users.session(here.connector, "acme", "u-ada")
        reads, writes = store.reads, store.writes
        for _ in range(10):
            await users.session(here.connector, "acme", "u-ada")
        assert (store.reads, store.writes) == (reads, writes)


async def test_what_this_process_changes_counts_at_once(database_url: str, tmp_path: Path) -> None:
    async with place(database_url, tmp_path) as here:
        await here.call()
        await here.context.users.sign_out(here.connector, here.user)
        with pytest.raises(AuthExpired):
            await here.session()
        await signed_in(here.crm, here.connector, here.context)
        assert (await here.session()).credentials.access_token == here.crm.grants[-1].access_token


async def test_what_was_read_before_a_sign_out_is_not_remembered_after_it(
    database_url: str, tmp_path: Path
) -> None:
    async with place(database_url, tmp_path) as here, directory(here) as (users, store):
        store.gate = asyncio.Event()
        reading = asyncio.create_task(users.find("acme", "oauth-crm", "u-ada"))
        await store.read_it.wait()
        await users.sign_out(here.connector, here.user)
        store.gate.set()
        await reading
        with pytest.raises(AuthExpired):
            await users.session(here.connector, "acme", "u-ada")
