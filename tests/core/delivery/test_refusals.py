"""A write that was refused, for its credentials or for a permission: done or not done, it ends up in the CRM once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from messagelog.connectors import AuthExpired, ConnectorError, Credentials, Rejected, Unavailable
from messagelog.connectors.errors import SignInRenewed
from messagelog.core import Times
from messagelog.storage import transactions
from support.crash_campaign import AppendOnlyReadBack, Clock
from support.live_server import SQLITE_ONLY
from support.memory_crm import Appending, Batches, Crm, Finding, Plain, ReadingBack, Upserting
from support.requests import body, message, thread
from support.runtime_fixture import runtime_fixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.memory_crm import Call
    from support.runtime_fixture import RuntimeFixture

BRISK = Times(answer=3.0, call=5.0, lease=60.0)
SIGN_IN = partial(AuthExpired, "HTTP 401", status=401)
RENEWED = partial(SignInRenewed, "HTTP 401", status=401)
FORBIDDEN = partial(Rejected, "HTTP 403", status=403)
ONE, TWO, THREE = (message(n, f"text-{n:02}.") for n in (1, 2, 3))


class Lagging(Finding):
    """A search that shows what was written after four seconds."""

    settle_seconds = 5.0


class UpsertingBatches(Upserting):
    takes_batches = True


def refusing(
    here: RuntimeFixture, make: Callable[[], ConnectorError], kind: str, *, done: bool, times: int = 1
) -> None:
    """Refuses the next calls of a kind, with nothing done or with the work done."""
    left = times

    def refuse(call: Call) -> ConnectorError | None:
        nonlocal left
        if call.kind != kind or not left:
            return None
        left -= 1
        return make()

    here.crm.before, here.crm.after = (None, refuse) if done else (refuse, None)


async def sign_in(here: RuntimeFixture, user: str = "acme/ada") -> None:
    await here.context.users.sign_in(here.runtime.connector("memory"), Credentials(api_key=user), "")


async def swept(here: RuntimeFixture) -> None:
    await here.runtime.sweep()
    await here.runtime.idle()


async def due_in(here: RuntimeFixture, clock: Clock) -> int | None:
    (log,) = await here.logs()
    return None if log.due_at is None else log.due_at - clock.now


def kinds(here: RuntimeFixture) -> list[str]:
    return [call.kind for call in here.crm.calls]


def counts(here: RuntimeFixture, *texts: str) -> list[int]:
    text = "\n".join(activity.body for activity in here.crm.activities.values())
    return [text.count(each) for each in texts]


# ------------------------------------------------------------------------------------------------ 401


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize(
    ("connector", "afterwards"),
    [
        (Finding, ["find"]),
        (ReadingBack, ["find"]),
        (Upserting, []),
    ],
)
async def test_a_create_refused_for_its_credentials_is_asked_about_after_the_sign_in(
    database_url: str, connector: type[Plain], afterwards: list[str], *, done: bool
) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, connector, clock=clock, settings=BRISK) as here:
        await here.user()
        refusing(here, SIGN_IN, "create", done=done)
        answer = await here.send(body(ONE))
        await here.runtime.idle()
        assert answer.log_ids == ["1"]
        assert "please sign in to Memory CRM again, then it is logged" in answer.return_message.message
        assert await here.states() == {"1": "unknown"}
        assert (await here.rows())["1"].reason == (
            "sign_in: The CRM asks the user to sign in again. (the CRM has refused the sign-in before)"
        )
        assert await due_in(here, clock) is None, "nothing polls while the user is away"
        assert kinds(here) == ["create"], "and nothing is asked in their name"
        await sign_in(here)
        await swept(here)
        repeated = ["create"] if connector is Upserting or not done else []
        assert kinds(here) == ["create", *afterwards, *repeated]
        assert await here.states() == {"1": "logged"}
        assert counts(here, "text-01.") == [1]


async def test_the_question_after_a_sign_in_waits_until_the_search_shows_what_was_done(
    database_url: str,
) -> None:
    clock, crm = Clock(), Crm()
    crm.now = clock
    crm.search_from = lambda activity: clock.now - activity.made_at >= 4_000
    async with runtime_fixture(database_url, Lagging, crm=crm, clock=clock, settings=BRISK) as here:
        await here.user()
        refusing(here, SIGN_IN, "create", done=True)
        await here.send(body(ONE))
        await sign_in(here)
        await swept(here)
        assert kinds(here) == ["create"], "asked now, the search would say that it is not there"
        assert await due_in(here, clock) == 5_000
        clock.now += 5_001
        await swept(here)
        assert await here.states() == {"1": "logged"}
        assert len(crm.activities) == 1


@pytest.mark.parametrize("connector", [Plain, Appending, Batches])
@pytest.mark.parametrize("kind", ["create", "update"])
async def test_where_nothing_can_be_asked_refused_credentials_say_that_nothing_was_done(
    database_url: str, connector: type[Plain], kind: str
) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, connector, clock=clock, settings=BRISK) as here:
        if kind == "update":
            await here.send(body(ONE))
        refusing(here, SIGN_IN, kind, done=False)
        await here.user()
        await here.send(body(ONE, TWO))
        assert "parked" not in (await here.states()).values()
        assert (await here.states())["2"] == "waiting"
        await sign_in(here)
        await swept(here)
        assert set((await here.states()).values()) == {"logged"}
        assert counts(here, "text-01.", "text-02.") == [1, 1]


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("connector", [Plain, Upserting, Finding, ReadingBack])
async def test_an_update_that_amends_is_made_again_after_the_sign_in(
    database_url: str, connector: type[Plain], *, done: bool
) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, connector, clock=clock, settings=BRISK) as here:
        await here.send(body(ONE))
        refusing(here, SIGN_IN, "update", done=done)
        await here.send(body(ONE, TWO))
        assert await here.states() == {"1": "logged", "2": "waiting"}
        await sign_in(here)
        await swept(here)
        assert await here.states() == {"1": "logged", "2": "logged"}
        assert counts(here, "text-01.", "text-02.") == [1, 1]


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("shared", [True, False])
async def test_an_update_that_can_only_be_added_is_read_before_it_is_made_again(
    database_url: str, *, shared: bool, done: bool
) -> None:
    clock = Clock()
    first, both = (
        (thread("text-01."), thread("text-01.", "text-02.")) if shared else (body(ONE), body(ONE, TWO))
    )
    async with runtime_fixture(database_url, AppendOnlyReadBack, clock=clock, settings=BRISK) as here:
        await here.send(first)
        refusing(here, SIGN_IN, "update", done=done)
        await here.send(both)
        await here.runtime.idle()
        assert "unknown" in (await here.states()).values()
        await sign_in(here)
        await swept(here)
        assert kinds(here)[:3] == ["create", "update", "read"]
        assert kinds(here).count("update") == (1 if done else 2)
        assert set((await here.states()).values()) == {"logged"}
        assert counts(here, "text-01.", "text-02.") == [1, 1]


async def test_an_update_whose_text_was_counted_is_asked_about(database_url: str) -> None:
    """A repeat would count the text again, and add it once more."""
    clock = Clock()
    ok = [message(n, "ok", at=1_783_998_000_000 + n) for n in (1, 2)]
    async with runtime_fixture(database_url, ReadingBack, clock=clock, settings=BRISK) as here:
        await here.send(body(ok[0]))
        refusing(here, SIGN_IN, "update", done=True)
        await here.send(body(*ok))
        await here.runtime.idle()
        assert await here.states() == {"1": "logged", "2": "unknown"}
        await sign_in(here)
        await swept(here)
        assert await here.states() == {"1": "logged", "2": "logged"}
        assert here.crm.only.body.count("\n  ok") == 2


async def test_what_joins_while_a_batch_waits_for_a_sign_in_is_not_lost(database_url: str) -> None:
    """The CRM answers the repeat with the activity as it was made."""
    clock = Clock()
    async with runtime_fixture(database_url, UpsertingBatches, clock=clock, settings=BRISK) as here:
        await here.user()
        refusing(here, SIGN_IN, "create", done=True)
        await here.send(body(ONE))
        await here.send(body(ONE, TWO, THREE))
        await sign_in(here)
        await swept(here)
        assert set((await here.states()).values()) == {"logged"}
        assert counts(here, "text-01.", "text-02.", "text-03.") == [1, 1, 1]
        assert len(here.crm.activities) == 1


# ------------------------------------------------------------------------------------- a renewed sign-in


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("connector", [Plain, Appending, Upserting, Finding, ReadingBack])
async def test_a_create_whose_sign_in_was_renewed_goes_on_at_once(
    database_url: str, connector: type[Plain], *, done: bool
) -> None:
    if done and connector in {Plain, Appending}:
        pytest.skip("nothing can be asked: it is known not to be done")
    async with runtime_fixture(database_url, connector) as here:
        refusing(here, RENEWED, "create", done=done)
        answer = await here.send(body(ONE, TWO))
        assert answer.return_message.message == "Message logged"
        assert counts(here, "text-01.", "text-02.") == [1, 1]
        user = await here.user()
        row = await here.store.read(lambda: transactions.find_user(user.tenant, user.platform, user.id))
        assert row is not None
        assert row.sign_in_since is None, "the user need not sign in"


@SQLITE_ONLY
async def test_a_sign_in_that_is_renewed_again_and_again_is_tried_along_the_table(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, clock=clock, settings=BRISK, jitter=lambda: 0.5) as here:
        refusing(here, RENEWED, "create", done=False, times=5)
        answer = await here.send(body(ONE))
        assert here.crm.count("create") == 2, "at once the first time"
        assert await due_in(here, clock) == 5_000
        assert "gave no clear answer (HTTP 401)" in answer.return_message.message


# --------------------------------------------------------------------------------------- colleagues


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("connector", [Finding, Upserting])
async def test_a_colleague_asks_about_a_create_whose_user_does_not_come_back(
    database_url: str, connector: type[Plain], *, done: bool
) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, connector, clock=clock, settings=BRISK) as here:
        await here.user("acme/grace")
        await here.user("acme/ada")
        refusing(here, SIGN_IN, "create", done=done)
        await here.send(body(ONE), user="acme/ada")
        await here.runtime.idle()
        assert await here.states() == {"1": "unknown"}
        answer = await here.send(body(TWO), user="acme/grace")
        assert answer.return_message.message == "Message logged"
        assert await here.states() == {"1": "logged", "2": "logged"}
        assert counts(here, "text-01.", "text-02.") == [1, 1]
        assert {call.user for call in here.crm.calls[1:]} == {"grace"}
        (log,) = await here.logs()
        assert log.created_by == ("ada" if done and connector is Finding else "grace")


async def test_a_colleague_whose_message_waits_already_asks_as_soon_as_the_search_shows_it(
    database_url: str,
) -> None:
    clock = Clock()
    async with runtime_fixture(database_url, Lagging, clock=clock, settings=BRISK) as here:
        await here.user("acme/grace")
        await here.user("acme/ada")
        refusing(here, SIGN_IN, "create", done=False)
        await here.send(body(ONE), user="acme/ada")
        await here.send(body(TWO), user="acme/grace")
        clock.now += 5_001
        await swept(here)
        assert await here.states() == {"1": "logged", "2": "logged"}
        assert counts(here, "text-01.", "text-02.") == [1, 1]


async def test_a_colleagues_newer_snapshot_does_not_wait_for_the_user_who_was_refused(
    database_url: str,
) -> None:
    clock = Clock()
    for connector in (Plain, Upserting, Finding, AppendOnlyReadBack):
        async with runtime_fixture(database_url, connector, clock=clock, settings=BRISK) as here:
            tenant, id_ = connector.__name__, f"thread-{connector.__name__}"
            await here.user(f"{tenant}/grace")
            await here.user(f"{tenant}/ada")
            clock.now += 60_000
            refusing(here, SIGN_IN, "create", done=False)
            await here.send(thread("text-01.", id_=id_), user=f"{tenant}/ada")
            await here.runtime.idle()
            clock.now += 60_000
            await swept(here)
            await here.send(thread("text-01.", "text-02.", id_=id_), user=f"{tenant}/grace")
            assert (await here.states())[id_] == "logged"
            refusing(here, SIGN_IN, "update", done=False)
            await here.user(f"{tenant}/ada")
            await sign_in(here, f"{tenant}/ada")
            more = ["text-01.", "text-02.", "text-03."]
            await here.send(thread(*more, id_=id_), user=f"{tenant}/ada")
            await here.runtime.idle()
            await here.send(thread(*more, "text-04.", id_=id_), user=f"{tenant}/grace")
            assert (await here.states())[id_] == "logged"
            assert counts(here, *more, "text-04.") == [1, 1, 1, 1]


async def test_a_lost_answer_is_asked_about_in_its_own_users_session_alone(database_url: str) -> None:
    """Only the user who made the call is sure to see what it made."""
    clock = Clock()
    async with runtime_fixture(database_url, Finding, clock=clock, settings=BRISK) as here:
        await here.user("acme/grace")
        ada = await here.user("acme/ada")
        here.crm.before = lambda call: AuthExpired("HTTP 401") if call.kind == "find" else None
        refuse = partial(ConnectorError, "")  # what a program makes of it that knows no better
        here.crm.after = lambda call: refuse() if call.kind == "create" else None
        await here.send(body(ONE), user="acme/ada")
        await here.runtime.idle()
        await here.context.users.sign_out(here.runtime.connector("memory"), ada)
        await here.send(body(TWO), user="acme/grace")
        assert await here.states() == {"1": "unknown", "2": "planned"}
        assert {call.user for call in here.crm.calls} == {"ada"}


# ------------------------------------------------------------------------------------------------ 403


@pytest.mark.parametrize("connector", [Finding, ReadingBack])
async def test_a_create_that_was_done_and_then_forbidden_is_found_at_once(
    database_url: str, connector: type[Plain]
) -> None:
    async with runtime_fixture(database_url, connector) as here:
        refusing(here, FORBIDDEN, "create", done=True)
        answer = await here.send(body(ONE, TWO))
        assert answer.return_message.message == "Message logged"
        assert kinds(here) == ["create", "find", "update"]
        assert counts(here, "text-01.", "text-02.") == [1, 1]


async def test_a_create_that_is_forbidden_is_asked_about_and_fails(database_url: str) -> None:
    async with runtime_fixture(database_url, Finding) as here:
        refusing(here, FORBIDDEN, "create", done=False, times=2)
        answer = await here.send(body(ONE, TWO))
        assert not answer.successful
        assert "2 messages not logged: Memory CRM refused it (HTTP 403)" in answer.return_message.message
        assert kinds(here) == ["create", "find", "create", "find"], "it is not repeated"
        assert (await here.rows())["1"].reason == "rejected: The CRM refused it. (HTTP 403)"
        assert (await here.send(body(ONE, TWO))).log_ids == ["1", "2"]


@pytest.mark.parametrize("done", [True, False])
async def test_a_search_that_lags_is_asked_once_more_about_a_create_that_was_forbidden(
    database_url: str, *, done: bool
) -> None:
    clock, crm = Clock(), Crm()
    crm.now = clock
    crm.search_from = lambda activity: clock.now - activity.made_at >= 4_000
    async with runtime_fixture(database_url, Lagging, crm=crm, clock=clock, settings=BRISK) as here:
        refusing(here, FORBIDDEN, "create", done=done)
        answer = await here.send(body(ONE))
        await here.runtime.idle()
        assert kinds(here) == ["create", "find"]
        assert await here.states() == {"1": "unknown"}
        assert await due_in(here, clock) == 5_000
        assert (
            "Memory CRM refused it, and is asked whether it has it all the same (HTTP 403)"
            in answer.return_message.message
        )
        await sign_in(here)
        await swept(here)
        assert kinds(here) == ["create", "find"], "a sign-in does not hurry it"
        clock.now += 5_001
        await swept(here)
        assert kinds(here) == ["create", "find", "find"]
        assert await here.states() == {"1": "logged" if done else "failed"}


@pytest.mark.parametrize("done", [True, False])
async def test_a_create_that_is_forbidden_is_repeated_once_where_the_crm_knows_its_key(
    database_url: str, *, done: bool
) -> None:
    async with runtime_fixture(database_url, Upserting) as here:
        refusing(here, FORBIDDEN, "create", done=done)
        answer = await here.send(body(ONE))
        assert answer.return_message.message == "Message logged"
        assert kinds(here) == ["create", "create"]
        assert counts(here, "text-01.") == [1]


async def test_a_message_behind_one_that_was_forbidden_twice_is_put_into_what_the_crm_has(
    database_url: str,
) -> None:
    """The CRM may answer a later create with the activity of the one that it refused."""
    async with runtime_fixture(database_url, Upserting) as here:
        refusing(here, FORBIDDEN, "create", done=True, times=2)
        answer = await here.send(body(ONE, TWO))
        assert answer.log_ids == ["2"]
        assert counts(here, "text-01.", "text-02.") == [1, 1]
        assert (await here.send(body(ONE, TWO))).log_ids == ["1"]
        assert counts(here, "text-01.", "text-02.") == [1, 1]


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("connector", [ReadingBack, AppendOnlyReadBack])
async def test_an_update_that_is_forbidden_is_read_at_once(
    database_url: str, connector: type[Plain], *, done: bool
) -> None:
    async with runtime_fixture(database_url, connector) as here:
        await here.send(body(ONE))
        refusing(here, FORBIDDEN, "update", done=done)
        await here.send(body(ONE, TWO, THREE))
        await here.runtime.idle()
        assert (await here.states())["2"] == ("logged" if done else "failed")
        assert counts(here, "text-02.") == [1 if done else 0]
        here.crm.before = here.crm.after = None
        await here.send(body(ONE, TWO, THREE))
        assert set((await here.states()).values()) == {"logged"}
        assert counts(here, "text-01.", "text-02.", "text-03.") == [1, 1, 1]


async def test_a_user_who_may_not_ask_either_is_refused(database_url: str) -> None:
    async with runtime_fixture(database_url, Finding) as here:
        here.crm.before = lambda _call: FORBIDDEN()
        answer = await here.send(body(ONE))
        assert "refused it (HTTP 403)" in answer.return_message.message
        assert kinds(here) == ["create", "find"]
        assert await here.states() == {"1": "failed"}


@SQLITE_ONLY
async def test_a_crm_that_is_away_after_it_refused_is_asked_when_it_is_back(database_url: str) -> None:
    clock = Clock()
    async with runtime_fixture(
        database_url, Lagging, clock=clock, settings=BRISK, jitter=lambda: 0.5
    ) as here:
        here.crm.before = lambda call: FORBIDDEN() if call.kind == "create" else Unavailable("no connection")
        await here.send(body(ONE))
        await here.runtime.idle()
        assert await here.states() == {"1": "unknown"}
        assert await due_in(here, clock) == 5_000, "not before the search shows what was done"
        here.crm.before = None
        clock.now += 5_001
        await swept(here)
        assert await here.states() == {"1": "failed"}


@SQLITE_ONLY
async def test_a_connector_that_cannot_ask_about_a_refusal_is_believed_in_the_end(database_url: str) -> None:
    clock = Clock()

    class Broken(Finding):
        async def find_message_log(self, session: object, log: object) -> str:
            self.crm.calls.append(self.crm.calls[-1])
            raise KeyError("id")

    async with runtime_fixture(database_url, Broken, clock=clock, settings=BRISK) as here:
        refusing(here, FORBIDDEN, "create", done=False)
        await here.send(body(ONE))
        for _ in range(5):
            clock.now += 60_000
            await swept(here)
        assert await here.states() == {"1": "failed"}
        assert here.crm.count("create") == 1 + 3, "one create, and three questions"
