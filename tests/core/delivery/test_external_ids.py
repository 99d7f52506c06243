"""What a CRM keeps of ours as external ids: another log's, or another journal's, is never taken for ours."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from messagelog.core import Times
from messagelog.core.delivery.prepare import idempotency_key
from messagelog.storage import LogKey, LogRow, MessageRow, RowState, transactions
from messagelog.storage.database import migrate
from support.crash_campaign import Clock
from support.memory_crm import Crm, Finding, Plain, ReadingBack, ReadingKeys, Upserting, lost
from support.requests import MAYA, OMAR, body, message, thread
from support.run_until_idle import run_until_idle
from support.runtime_fixture import RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from support.memory_crm import Call

QUICK = Times(answer=0.2, call=5.0, lease=60.0)
"""What the CRM does not answer is not waited for: the clock stands still until it is put forward."""
KEY = LogKey("acme", "memory", "777")
LOG = LogRow(KEY, "777", "c-1", "contact", "Maya Patel", "{}", journal="0123abcd")
KINDS = (KEY, KEY._replace(shared=True), KEY._replace(group_contact_id="c-1"))


def row(id_: str, version: int = 0) -> MessageRow:
    return MessageRow(id_, "777", "777", None, "ada", RowState.CALLING, None, 1, version, None, 1, 1, None)


# ------------------------------------------------------------------------------------------ what they are


@pytest.mark.parametrize("activity", [None, "a-1"])
@pytest.mark.parametrize("key", KINDS, ids=lambda key: key.kind)
def test_a_key_shows_its_journal_and_fits_where_it_did(key: LogKey, activity: str | None) -> None:
    made = idempotency_key(replace(LOG, key=key, third_party_log_id=activity), [row("900")])
    assert re.fullmatch(r"messagelog-0123abcd-[a-z2-7]{23}", made)
    assert len(made) == 43
    older = idempotency_key(replace(LOG, key=key, third_party_log_id=activity, journal=""), [row("900")])
    assert re.fullmatch(r"messagelog-[0-9a-f]{32}", older)


def test_no_two_calls_have_a_key_in_common() -> None:
    logs = [
        *(replace(LOG, key=key, journal=journal) for key in KINDS for journal in ("0123abcd", "0123abce")),
        replace(LOG, journal=""),
        replace(LOG, key=KEY._replace(tenant="other")),
        replace(LOG, key=KEY._replace(platform="other")),
        replace(LOG, key=KEY._replace(client_log_id="777-c-1")),
        replace(LOG, key=KEY._replace(client_log_id="77", group_contact_id="7-c-1")),
        replace(LOG, generation=2),
    ]
    creates = [idempotency_key(log, [row("900")]) for log in logs]
    updates = [
        idempotency_key(replace(log, third_party_log_id="a-1"), rows)
        for log in logs
        for rows in ([row("900")], [row("901")], [row("900", 1)], [row("900"), row("901")])
    ]
    assert len({*creates, *updates}) == len(creates) + len(updates)


def test_a_create_has_one_key_whichever_message_is_first() -> None:
    assert idempotency_key(LOG, [row("900")]) == idempotency_key(LOG, [row("901"), row("902")])


# ---------------------------------------------------------------------------------- two logs of one journal


def twins() -> tuple[dict[str, Any], dict[str, Any]]:
    """Two conversations of one contact in which the same was said at the same time."""
    at = 1_783_998_000_000
    return tuple(  # type: ignore[return-value]
        body(message(number, "ok", at=at), conversation=f"conv-{number}") for number in (1, 2)
    )


def not_done(call: Call) -> Any:
    """The second conversation's create is lost before it is done."""
    return lost(call) if call.log is not None and call.log.conversation.conversation_id == "conv-2" else None


@pytest.mark.parametrize("connector", [ReadingKeys, Finding])
async def test_a_search_by_text_does_not_take_another_logs_activity(
    database_url: str, connector: Callable[[Crm], Plain]
) -> None:
    """Neither is known in the journal yet: the answers of both were lost, and only one was done."""
    clock = Clock()
    async with runtime_fixture(database_url, connector, clock=clock, settings=QUICK) as here:
        first, second = twins()
        here.crm.before, here.crm.after = not_done, lost
        here.crm.now = clock
        await here.send(first)
        await here.send(second)
        here.crm.before = here.crm.after = None
        await run_until_idle(here.runtime, here.store, clock, here.runtime.sweep)
        assert len(here.crm.activities) == 2
        held = {log.third_party_log_id for log in await here.logs()}
        assert held == here.crm.activities.keys(), "each has its own"
        by_key = {each.key: each.id for each in here.crm.activities.values()}
        for log in await here.logs():
            create = replace(log, third_party_log_id=None)
            assert by_key[idempotency_key(create, [])] == log.third_party_log_id


# ------------------------------------------------------------------------------------ two journals, one CRM


@asynccontextmanager
async def two_servers(
    database_url: str, tmp_path: Path, connector: Callable[[Crm], Plain]
) -> AsyncIterator[tuple[RuntimeFixture, RuntimeFixture]]:
    """A server, and one of the same tenant with a journal of its own, on one CRM."""
    crm, clock = Crm(), Clock()
    crm.now = clock
    staging = f"sqlite:///{tmp_path / 'staging.sqlite'}"
    migrate(staging)
    async with (
        runtime_fixture(database_url, connector, crm=crm, clock=clock, settings=QUICK) as first,
        runtime_fixture(staging, connector, crm=crm, clock=clock, settings=QUICK) as second,
    ):
        assert await first.store.read(transactions.read_journal_id) != await second.store.read(
            transactions.read_journal_id
        )
        yield first, second


async def settle(here: RuntimeFixture) -> None:
    await run_until_idle(here.runtime, here.store, here.crm.now, here.runtime.sweep)


REQUESTS = {
    "conversation": body(message(1, "hello")),
    "group": body(message(1, "hello"), correspondents=(MAYA, OMAR)),
    "thread": thread("hello"),
}


@pytest.mark.parametrize("connector", [Finding, ReadingKeys, Upserting])
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("done", [True, False])
async def test_a_second_server_on_one_crm_takes_nothing_that_is_not_its_own(
    database_url: str, tmp_path: Path, connector: Callable[[Crm], Plain], request_: dict[str, Any], done: bool
) -> None:
    async with two_servers(database_url, tmp_path, connector) as (first, second):
        await first.send(request_)
        (theirs,) = first.crm.activities
        if done:
            first.crm.after = lost
        else:
            first.crm.before = lost
        await second.send(request_)
        first.crm.before = first.crm.after = None
        await settle(second)
        (log,) = await second.logs()
        assert log.third_party_log_id not in {None, theirs}
        assert len(first.crm.activities) == 2
        assert [each.body.count("hello") for each in first.crm.activities.values()] == [1, 1]


async def test_without_external_ids_a_second_server_may_take_what_says_the_same(
    database_url: str, tmp_path: Path
) -> None:
    """What the documentation says of CRMs that keep none."""
    async with two_servers(database_url, tmp_path, ReadingBack) as (first, second):
        await first.send(REQUESTS["conversation"])
        first.crm.before = lost
        await second.send(REQUESTS["conversation"])
        first.crm.before = None
        await settle(second)
        (log,) = await second.logs()
        assert {log.third_party_log_id} == first.crm.activities.keys()
