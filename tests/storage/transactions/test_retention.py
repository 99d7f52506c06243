"""Text, failed calls and what is done are forgotten when their time has come, not before, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest

from messagelog.core.admin.retention import Retention, RetentionPolicy
from messagelog.storage import LogKey, RowState, transactions
from messagelog.storage.records.journal import Attempt
from storage.journal import KEY, Journal, became, new, payloads, run_sql

DAY = 24 * 3600 * 1000
OTHER = LogKey("otto", "crm", "other/7/13/2026")


def keeping(journal: Journal, text_days: float = 30, row_days: float = 0) -> Retention:
    return Retention(journal.store, RetentionPolicy(text_days, row_days))


async def test_the_text_of_what_failed_or_is_parked_is_erased_in_time(
    journal: Journal, database_url: str
) -> None:
    await journal.with_failed("1", "2")
    await journal.with_parked("3", key=OTHER)
    journal.clock.forward(30 * DAY)
    assert not await keeping(journal).purge_batch()
    assert all(payloads(database_url).values()), "a moment too early"
    journal.clock.forward(1)
    await keeping(journal).purge_batch()
    assert payloads(database_url) == {"1": None, "2": None, "3": None}
    rows = await journal.rows()
    assert (
        rows["1"].reason == "expired: its text was erased; sent again, it can be logged again (rejected: no)"
    )
    assert await journal.states() == {"1": "failed", "2": "failed"}
    assert await journal.states(OTHER) == {"3": "parked"}, "nobody knows yet"
    await keeping(journal).purge_batch()
    assert (await journal.rows())["1"].reason == rows["1"].reason, "once"


async def test_what_waits_for_a_sign_in_fails_when_its_text_is_erased(
    journal: Journal, database_url: str
) -> None:
    await journal.with_failed("1")
    run_sql(database_url, """UPDATE "messageLogs" SET "state" = 'waiting', "reason" = 'sign_in: again'""")
    journal.clock.forward(31 * DAY)
    await keeping(journal).purge_batch()
    (row,) = (await journal.rows()).values()
    assert (row.state, (row.reason or "").partition(":")[0]) == (RowState.FAILED, "expired")


async def test_what_is_worked_on_keeps_its_text(journal: Journal, database_url: str) -> None:
    claim = await journal.claimed("1")
    await journal.save(claim.log, became(RowState.UNKNOWN, "1", reason="no_answer: lost"), wait_ms=1)
    await journal.claimed("2", key=OTHER)
    journal.clock.forward(31 * DAY)
    await keeping(journal).purge_batch()
    assert all(payloads(database_url).values())


async def test_what_is_sent_again_after_its_text_was_erased_is_planned_anew(journal: Journal) -> None:
    await journal.with_failed("1")
    journal.clock.forward(31 * DAY)
    await keeping(journal).purge_batch()
    claim = await journal.claimed(new("1", text="again"))
    assert claim.step is not None
    assert claim.step.rows[0].payload == b"again"


async def test_zero_keeps_for_ever(journal: Journal, database_url: str) -> None:
    await journal.with_failed("1")
    await journal.with_logged("2", key=OTHER)
    journal.clock.forward(10_000 * DAY)
    await keeping(journal, text_days=0).purge_batch()
    assert payloads(database_url)["1"] is not None
    assert await journal.states(OTHER) == {"2": "logged"}


async def test_failed_calls_are_forgotten_with_the_text(journal: Journal) -> None:
    claim = await journal.claimed("1")
    tried = Attempt("create", "Rejected", 422, "rejected", b"sealed")
    await journal.save(claim.log, became(RowState.FAILED, "1", reason="rejected: no"), attempt=tried)
    journal.clock.forward(30 * DAY)
    await keeping(journal).purge_batch()
    assert len(await journal.store.read(lambda: transactions.list_attempts(KEY))) == 1
    journal.clock.forward(1)
    await keeping(journal).purge_batch()
    assert await journal.store.read(lambda: transactions.list_attempts(KEY)) == []


async def test_more_than_a_batch_is_forgotten_batch_by_batch(journal: Journal, database_url: str) -> None:
    for number in range(60):
        await journal.with_failed(f"{number}", key=LogKey("acme", "crm", f"log-{number}"))
    journal.clock.forward(31 * DAY)
    retention = keeping(journal)
    assert await retention.purge_batch(), "there is more"
    assert sum(text is None for text in payloads(database_url).values()) == 50
    assert not await retention.purge_batch()
    assert not any(payloads(database_url).values())


# ------------------------------------------------------------------------------------ what is done


async def left(journal: Journal) -> list[str]:
    return sorted(
        log.log.key.conversation_log_id
        for log in await journal.store.read(lambda: transactions.list_logs(50))
    )


async def test_what_is_done_is_forgotten_where_it_is_wanted(journal: Journal) -> None:
    await journal.with_logged("1", "2")
    journal.clock.forward(90 * DAY)
    await journal.with_logged("3", key=OTHER)
    journal.clock.forward(1)
    await keeping(journal, row_days=90).purge_batch()
    assert await left(journal) == [OTHER.conversation_log_id]
    claim = await journal.claimed("1")
    assert claim.log.fence == 1, "a resend begins anew"


@pytest.mark.parametrize("why", ["failed", "parked", "claimed", "shared"])
async def test_what_is_not_done_is_not_forgotten(journal: Journal, why: str) -> None:
    if why == "failed":
        await journal.with_failed("1")
        await journal.with_logged("2")
    elif why == "parked":
        await journal.with_parked("1")
    elif why == "claimed":
        await journal.claimed("1")
    else:
        await journal.with_logged(new("thread", version=1), key=KEY._replace(shared=True))
    journal.clock.forward(1000 * DAY)
    await keeping(journal, text_days=0, row_days=90).purge_batch()
    assert await left(journal) == [KEY.conversation_log_id]


async def test_what_was_worked_on_meanwhile_is_not_forgotten(journal: Journal) -> None:
    await journal.with_logged("1")
    journal.clock.forward(91 * DAY)
    assert await journal.store.read(lambda: transactions.find_logs_to_drop(90 * DAY, 50)) == [KEY]
    await journal.with_logged("2")
    assert not await journal.store.write(lambda: transactions.drop_log(KEY, 90 * DAY), locks=(KEY,))
    assert await journal.states() == {"1": "logged", "2": "logged"}


# ------------------------------------------------------------------------------------ while it runs


async def test_a_server_forgets_at_its_own_pace_and_goes_on_after_an_error(journal: Journal) -> None:
    slept: list[float] = []
    enough = asyncio.Event()
    outcomes: list[bool | OSError] = [False, True, OSError("away"), False]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 4:
            enough.set()
            await asyncio.Event().wait()

    class Scripted(Retention):
        async def purge_batch(self) -> bool:
            outcome = outcomes.pop(0)
            if isinstance(outcome, OSError):
                raise outcome
            return outcome

    retention = Scripted(journal.store, RetentionPolicy(), sleep=sleep, jitter=lambda: 0.25)
    retention.start()
    await enough.wait()
    await retention.stop()
    assert slept == [450.0, 450.0, 0.75, 450.0, 450.0]
