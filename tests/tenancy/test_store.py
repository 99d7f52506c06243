"""Whatever scripts one tenant runs, in whatever order: no neighbour's row is changed, and none is shown."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from messagelog.storage import (
    AuditEntry,
    ClaimLost,
    LogKey,
    LogState,
    RowState,
    TenantPlace,
    UserRow,
    open_store,
    transactions,
)
from messagelog.storage.records.contacts import NewContactKey, NewContactState
from messagelog.storage.records.inbox import Decision, DecisionContext
from messagelog.storage.records.journal import Attempt, RowChange, WaitingChange
from messagelog.storage.records.limits import LimiterChange
from messagelog.storage.sealed_columns import SEALED
from storage.journal import LEASE, SETTLE, Clock, Journal, became, logged, new, run_sql
from tenancy.neighbours import (
    PLATFORM,
    TENANT,
    THEIRS,
    copy_to_neighbours,
    copy_to_other_kinds,
    empty,
    rows_of_neighbours,
    rows_of_other_kinds,
    rows_of_ours,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.storage import Claim, LogRow

OURS: Final = (TENANT, PLATFORM)
LOGS: Final = tuple(LogKey(TENANT, PLATFORM, id_) for id_ in ("log-a", "log-b"))
IDS: Final = ("1", "2", "3", "4")
NUMBER: Final = "+14155550142"
DAYS: Final = ("log-a", 0, 2**52)
NEW: Final = NewContactKey(TENANT, PLATFORM, "a key")
PLACE: Final = TenantPlace(TENANT, PLATFORM, "https://crm.test")
DAY_MS: Final = 24 * 3600 * 1000


@dataclass
class Ours:
    """Our tenant at work: its journal, its claims, and which of everything the next step is about."""

    journal: Journal
    claims: list[Claim] = field(default_factory=list)
    pick: int = 0

    @property
    def key(self) -> LogKey:
        return LOGS[self.pick % len(LOGS)]

    @property
    def ids(self) -> list[str]:
        return [IDS[self.pick % 4], IDS[(self.pick + 1) % 4]]

    @property
    def user(self) -> UserRow:
        return UserRow(TENANT, PLATFORM, "ada", f"Ada {self.pick}", "", None, None, b"x%d" % self.pick, "s")

    def had(self, claim: Claim | None) -> Claim | None:
        if claim is not None:
            self.claims.append(claim)
        return claim

    async def read(self, transaction: Callable[[], Any]) -> Any:
        return await self.journal.store.read(transaction)

    async def write(self, transaction: Callable[[], Any]) -> Any:
        return await self.journal.store.write(transaction)


async def _accept(we: Ours) -> Any:
    return we.had((await we.journal.accept(*we.ids, key=we.key, contact=f"c-{we.pick % 2}")).claim)


async def _claim(we: Ours) -> Any:
    return we.had(await we.journal.claim(we.key))


async def _save(we: Ours) -> Any:
    if not we.claims:
        return None
    claim = we.claims.pop()
    ids = claim.step.ids if claim.step else tuple(row.id for row in claim.rows)
    outcomes: list[tuple[LogRow, tuple[Any, ...], dict[str, Any]]] = [
        (*logged(claim.log, *ids), {}),
        (claim.log, became(RowState.FAILED, *ids), {"waiting": WaitingChange(None, RowState.FAILED, "no")}),
        (replace(claim.log, state=LogState.PARKED), became(RowState.PARKED, *ids), {}),
        (
            replace(claim.log, third_party_log_id=None, generation=2),
            became(RowState.PLANNED, *ids),
            {"recreated": [new(id_) for id_ in IDS]},
        ),
        (claim.log, became(RowState.PLANNED, *ids), {"wait_ms": 0}),
    ]
    log, changes, more = outcomes[we.pick % len(outcomes)]
    try:
        return we.had(await we.journal.save(log, changes, **more))
    except ClaimLost:
        return None


async def _attempt(we: Ours) -> Any:
    """Return a `save` of a call that failed."""
    claim = (await we.journal.accept("8", key=LogKey(*OURS, "log-of-eight"))).claim
    if claim is None:
        return None
    tried = Attempt("create", "Rejected", 422, "rejected", b"sealed")
    return await we.journal.save(
        claim.log, became(RowState.FAILED, "8", reason="rejected: no"), attempt=tried
    )


async def _note(we: Ours) -> Any:
    try:
        return await we.journal.note(replace(we.claims[-1].log, blocks=b"x")) if we.claims else None
    except ClaimLost:
        return None


async def _reseal(we: Ours) -> Any:
    user = await we.read(lambda: transactions.find_user(*OURS, "ada"))
    if user is None or user.credentials is None:
        return
    value = transactions.SealedValue((*OURS, "ada"), ("ada", *OURS), user.credentials)
    (column,) = (each for each in SEALED if each.table == "users")
    await we.write(lambda: transactions.reseal(column, [(value, b"z%d" % we.pick)]))


async def _of_a_log(we: Ours, transaction: Callable[[LogRow], Any]) -> Any:
    log = (await we.journal.accept("9", key=LogKey(*OURS, "log-of-nine"))).claim
    if log is None:
        return None
    await we.journal.done(log)
    return await we.read(lambda: transaction(replace(log.log, third_party_log_id="a-1")))


def _plan_all(seen: DecisionContext) -> Decision:
    changes = tuple(RowChange(row.id, RowState.PLANNED) for row in seen.rows if row.state is RowState.FAILED)
    return Decision(replace(seen.log, attempt_count=0), changes)


ENTRY: Final = ("grace", "read_text", "text", *OURS, "1")
ERASE: Final[dict[str, Any]] = {
    "erase_account": lambda we: we.write(
        lambda: transactions.erase_account(*OURS, "ada", AuditEntry(*ENTRY))
    ),
    "erase_in_log": lambda we: we.write(lambda: transactions.erase_in_log(we.key, "ada")),
    "erase_log": lambda we: we.write(lambda: transactions.erase_log(we.key)),
    "erase_tenant": lambda we: we.write(lambda: transactions.erase_tenant(*OURS, AuditEntry(*ENTRY))),
}
"""What erases: not before every table has rows."""

WRITES: Final[dict[str, Any]] = {
    "accept_request": _accept,
    "claim_log": _claim,
    "save_outcome": _save,
    "record_intent": _note,
    "save_user": lambda we: we.write(lambda: transactions.save_user(we.user)),
    "sign_in": lambda we: we.write(lambda: transactions.sign_in(we.user)),
    "sign_out": lambda we: we.write(lambda: transactions.sign_out(*OURS, "ada", session_id="another")),
    "refresh_user": lambda we: we.write(lambda: transactions.refresh_user(we.user)),
    "end_sessions": lambda we: we.write(
        lambda: transactions.end_sessions([(*OURS, "ada")], session_id="ended", forget=we.pick % 2 == 1)
    ),
    "reseal": _reseal,
    "keep_keys": lambda we: we.write(lambda: transactions.keep_keys({"entries": b"x", "accounts": b"y"})),
    "claim_refresh": lambda we: we.write(
        lambda: transactions.claim_refresh(we.user, owner="me", lease_ms=LEASE)
    ),
    "save_credentials": lambda we: we.write(lambda: transactions.save_credentials(we.user, b"y", owner="me")),
    "release_refresh": lambda we: we.write(lambda: transactions.release_refresh(we.user, owner="me")),
    "use_state": lambda we: we.write(lambda: transactions.use_state(f"state {we.pick}", 2**50)),
    "keep_contacts": lambda we: we.write(
        lambda: transactions.keep_contacts(*OURS, NUMBER, b"x", asked_at=2**50, age_ms=DAY_MS)
    ),
    "drop_contacts": lambda we: we.write(lambda: transactions.drop_contacts(*OURS, NUMBER, asked_at=2**50)),
    "forget_contacts": lambda we: we.write(lambda: transactions.forget_contacts(*OURS, NUMBER)),
    "claim_new_contact": lambda we: we.write(lambda: transactions.claim_new_contact(NEW, "me", LEASE)),
    "save_new_contact": lambda we: we.write(
        lambda: transactions.save_new_contact(NEW, "me", NewContactState.MADE, 1, b"x")
    ),
    "drop_new_contact": lambda we: we.write(lambda: transactions.drop_new_contact(NEW, "me")),
    "change_user_settings": lambda we: we.write(
        lambda: transactions.change_user_settings(
            *OURS, "ada", {f"s{we.pick % 3}": "1"}, [f"s{we.pick % 2 + 4}"]
        )
    ),
    "change_admin_settings": lambda we: we.write(
        lambda: transactions.change_admin_settings(*OURS, {f"s{we.pick % 3}": "1"}, [f"s{we.pick % 2 + 4}"])
    ),
    "update_limiter": lambda we: we.write(
        lambda: transactions.update_limiter(
            *OURS, lambda _pace, now: (LimiterChange("{}", "open", now, now, now), now)
        )
    ),
    "record_audit": lambda we: we.write(lambda: transactions.record_audit([AuditEntry(*ENTRY)])),
    "read_rows_audited": lambda we: we.write(
        lambda: transactions.read_rows_audited(we.key, IDS, lambda _row: AuditEntry(*ENTRY))
    ),
    "attempt": _attempt,
    "apply_decision": lambda we: we.write(
        lambda: transactions.apply_decision(we.key, {*IDS, "9"}, _plan_all, AuditEntry(*ENTRY))
    ),
    "read_texts_audited": lambda we: we.write(
        lambda: transactions.read_texts_audited(we.key, lambda _id: AuditEntry(*ENTRY))
    ),
    "erase_texts": lambda we: we.write(lambda: transactions.erase_texts(we.key, we.pick * LEASE)),
    "keep_tenant": lambda we: we.write(
        lambda: transactions.keep_tenant(PLACE._replace(host=f"https://{we.pick}.test"), TENANT, spare=TENANT)
    ),
    "join_tenant": lambda we: we.write(lambda: transactions.join_tenant(PLACE, [f"https://{we.pick}.test"])),
    "move_tenant": lambda we: we.write(
        lambda: transactions.move_tenant(PLACE, TENANT, f"{we.pick}.test", AuditEntry(*ENTRY))
    ),
    **ERASE,
}
"""What writes, by the script's name, as our tenant runs it."""

READS: Final[dict[str, Any]] = {
    "look_up_everywhere": lambda we: we.read(
        lambda: transactions.look_up_everywhere(
            we.key._replace(client_log_id="new"), IDS, f"c-{we.pick % 2}", DAYS, with_facts=True
        )
    ),
    "look_up_plain": lambda we: we.read(lambda: transactions.look_up_plain(we.key, IDS)),
    "find_message": lambda we: we.read(lambda: transactions.find_message(we.key, IDS[0])),
    "find_holders": lambda we: we.read(lambda: transactions.find_holders(we.key, IDS)),
    "report_rows": lambda we: we.read(lambda: transactions.report_rows(we.key, IDS)),
    "find_links": lambda we: we.read(lambda: transactions.find_links(*OURS, IDS)),
    "find_entries": lambda we: _of_a_log(we, transactions.find_entries),
    "find_linked_activities": lambda we: _of_a_log(we, transactions.find_linked_activities),
    "find_user": lambda we: we.read(lambda: transactions.find_user(*OURS, "ada")),
    "find_tenant": lambda we: we.read(lambda: transactions.find_tenant(PLACE)),
    "find_hostnames": lambda we: we.read(lambda: transactions.find_hostnames(PLACE)),
    "find_contacts": lambda we: we.read(lambda: transactions.find_contacts(*OURS, NUMBER)),
    "read_settings": lambda we: we.read(lambda: transactions.read_settings(*OURS, "ada")),
    "find_logs_of_contact": lambda we: we.read(
        lambda: transactions.find_logs_of_contact(*OURS, f"c-{we.pick % 2}")
    ),
    "find_admin_settings": lambda we: we.read(lambda: transactions.find_admin_settings(*OURS)),
    "find_inbox_logs": lambda we: we.read(lambda: transactions.find_inbox_logs(LOGS)),
    "find_unlogged_rows": lambda we: we.read(lambda: transactions.find_unlogged_rows(we.key)),
    "list_attempts": lambda we: we.read(lambda: transactions.list_attempts(LogKey(*OURS, "log-of-eight"))),
}
"""What reads for a request or for its work."""

OF_ALL: Final = {
    "list_logs": "for the operator's command",
    "show_logs": "for the operator's command",
    "find_due_logs": "the sweep's: keys of logs, each of which is then claimed as its own tenant's",
    "walk_rows": "the erasing's: keys, of which it takes those of its tenant",
    "walk_logs": "as above",
    "list_inbox": "for operators, who see all tenants; of one tenant where she asks for it",
    "count_causes": "as above",
    "count_inbox": "as above",
    "count_logs": "for the operator's command: a number",
    "count_audit": "as above",
    "find_logs_to_erase": "the retention's: keys of logs, each of which is then erased by itself",
    "find_logs_to_drop": "as above",
    "drop_log": "the retention's, where it is wanted: by a key",
    "drop_old_attempts": "the retention's: whatever is too old, by whole keys",
    "read_audit": "for the operator's command",
    "run_audited": "what another script does, with an entry of its own",
    **dict.fromkeys(
        (
            *("add_operator", "find_operator", "list_operators", "change_password", "change_roles"),
            *("rehash_password", "remove_operator", "begin_session", "find_session", "touch_session"),
            *("end_session", "end_operator_sessions"),
        ),
        "of operators, who are the server's",
    ),
    "find_next_due": "the sweep's: a time",
    "find_misdated_logs": "the sweep's: keys of logs, each of which is then dated anew by itself",
    "redate_logs": "as above",
    "count_open": "for the metrics: numbers",
    "find_active_limiters": "the sweep's: which tenants' requests need a permit, in every process",
    "list_users": "for the operator's command",
    "list_tenants": "for operators, who see all tenants",
    "find_sealed": "for the operator's command, which writes each value back to where it was",
    "count_sealed": "for the operator's command: numbers",
    "find_keys": "the server's own keys of hashes",
    "read_journal_id": "the journal's own",
    "part_from_original": "for the operator's command, on a copy of a database: what is everybody's",
    "find_log_keys": "for operators: keys of logs, of which the one is taken that they name",
    "probe": "a row that is nobody's, and gone with its transaction",
}
"""What reads of all tenants, and why that shows no user anything."""


def test_it_is_known_of_every_script_whose_rows_it_reads_and_writes() -> None:
    exported = {name for name, value in vars(transactions).items() if inspect.isgeneratorfunction(value)}
    assert exported == {*WRITES, *READS, *OF_ALL} - {"attempt"}


async def _furnished(we: Ours) -> None:
    """Rows of ours in every table, so that the neighbours get as many: some waiting, some called, some done."""
    for pick, name in enumerate((*WRITES, *READS)):
        if name not in {"drop_contacts", "drop_new_contact", *ERASE}:
            we.pick = pick
            await {**WRITES, **READS}[name](we)


async def _played(
    url: str,
    steps: list[tuple[str, int]],
    more: dict[str, Any] | None = None,
    *,
    copy: Callable[[str], None] = copy_to_neighbours,
    rows: Callable[[str], dict[str, Any]] = rows_of_neighbours,
) -> None:
    """Run our steps beside `copy`, whose `rows` must stay as they are and be shown to no other tenant."""
    cases = {**WRITES, **READS, **(more or {})}
    clock = Clock()
    store = await open_store(url, clock=clock)
    try:
        we = Ours(Journal(store, clock))
        await _furnished(we)
        held = rows_of_ours(url)
        assert [name for name, rows in held.items() if not rows] == [], "every table is tried"
        copy(url)
        before = rows(url)
        assert all(before.values())
        for name, pick in steps:
            we.pick = pick
            if name == "time":
                clock.forward((1, SETTLE, LEASE, LEASE + SETTLE)[pick % 4])
                continue
            shown = await cases[name](we)
            assert THEIRS not in repr(shown), f"{name} showed a neighbour's row"
            assert rows(url) == before, f"{name} changed a neighbour's row"
    finally:
        await store.close()
        empty(url)


STEPS = st.tuples(st.sampled_from(("time", *WRITES, *READS)), st.integers(0, 9))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, min_size=1, max_size=10))
def test_no_order_of_scripts_touches_or_shows_a_neighbours_row(
    database_url: str, steps: list[tuple[str, int]]
) -> None:
    asyncio.run(_played(database_url, steps))


def test_every_script_leaves_the_neighbours_rows_alone(database_url: str) -> None:
    asyncio.run(_played(database_url, [(name, 1) for name in (*WRITES, *READS)]))


OF_ALL_KINDS: Final = {
    "sign_in": "all that waits for a user goes on",
    "erase_tenant": "all of a tenant's is erased",
    "find_linked_activities": "what the other logs of a contact have, whatever they are",
    "find_logs_of_contact": "what is held of a contact, as above",
    "find_links": "what holds a message, in a conversation or in groups",
}
"""What a script does in a tenant's conversations, threads and groups alike."""

OF_ONE_KIND: Final = [name for name in (*WRITES, *READS) if name not in OF_ALL_KINDS]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(OF_ONE_KIND), st.integers(0, 9)), min_size=1, max_size=10))
def test_no_order_of_scripts_touches_or_shows_a_row_of_another_kind(
    database_url: str, steps: list[tuple[str, int]]
) -> None:
    """A conversation, a thread and a group with the same ids are three logs, and so are their messages."""
    asyncio.run(_played(database_url, steps, copy=copy_to_other_kinds, rows=rows_of_other_kinds))


def test_every_script_leaves_rows_of_other_kinds_alone(database_url: str) -> None:
    steps = [(name, 1) for name in OF_ONE_KIND]
    asyncio.run(_played(database_url, steps, copy=copy_to_other_kinds, rows=rows_of_other_kinds))


def test_a_write_and_a_read_without_a_tenant_are_found(database_url: str) -> None:
    """That the tests above can fail."""

    async def forgetful_write(_we: Ours) -> None:
        run_sql(database_url, """UPDATE "messageLogs" SET "reason" = 'changed' WHERE "messageId" = '1'""")

    async def forgetful_read(_we: Ours) -> list[tuple[Any, ...]]:
        return run_sql(database_url, """SELECT * FROM "users" WHERE "id" = 'ada'""")

    with pytest.raises(AssertionError, match="written changed"):
        asyncio.run(_played(database_url, [("written", 0)], {"written": forgetful_write}))
    with pytest.raises(AssertionError, match="read showed"):
        asyncio.run(_played(database_url, [("read", 0)], {"read": forgetful_read}))
    of_kinds = partial(_played, copy=copy_to_other_kinds, rows=rows_of_other_kinds)
    with pytest.raises(AssertionError, match="written changed"):
        asyncio.run(of_kinds(database_url, [("written", 0)], {"written": forgetful_write}))
