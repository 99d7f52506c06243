"""What the end of a call means for the journal: tables to be read, and what holds for all of them.

An outcome is written as `state reason wait`: what the call's rows become, the first word of their reason, and after how
many milliseconds the log is taken up again (`now`: at once, or never by itself). What else happens stands behind it:
`+behind` (what waits of the user fails), `+out` (the user has to sign in), `+gone` (all is planned in a new activity),
`+continued` (the log goes on in another activity). Whatever parks the rows parks the log and all that waits, but for a
change, which parks and fails alone; what makes the rows wait for a sign-in makes the user's others wait too.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from messagelog import connectors
from messagelog.connectors import (
    AuthExpired,
    BodyFull,
    ConnectorError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
    errors,
)
from messagelog.connectors.errors import SignInRenewed, Throttled
from messagelog.core.delivery import outcomes
from messagelog.core.delivery.backoff import COUNTED, STEPS, Retry
from messagelog.core.delivery.faults import Interrupted, ServerFault
from messagelog.core.delivery.outcomes import (
    FailureReason,
    Outcome,
    Reconciliation,
    earlier_activities,
    failure_reason_of,
    first_reason,
    on_change_written,
    on_error,
    on_fault_after_success,
    on_nothing_to_change,
    on_reconcile_error,
    on_reconciled,
    on_save_failure,
    on_success,
    on_too_many_interruptions,
    to_unconfirmed,
)
from messagelog.core.delivery.runs import combine_outcomes, with_missing
from messagelog.core.errors import ConnectorBroke, NoLogId, NotPrepared
from messagelog.storage.records.journal import LogRow, LogState, RowChange, RowState
from support.journal import ACTIVITY, ADA, BEN, SETTLE_MS, abilities, log_row, message_row, message_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from messagelog.core.delivery.capabilities import Capabilities
    from messagelog.storage.records.journal import MessageRow

LUCK: Final = 0.5
"""So a try's wait is half of its step: 1 s after the first, 5 s after the second."""
LAST: Final = len(STEPS)
BODY: Final = "the answer quotes a customer"
OPEN_STATES: Final = {RowState.UNKNOWN, RowState.PARKED}

ERRORS: Final[dict[str, Callable[[], ConnectorError]]] = {
    "Unavailable": Unavailable,
    "RateLimited": RateLimited,
    "RateLimited(7)": lambda: RateLimited(retry_after=7),
    "Paced(3)": lambda: Throttled(retry_after=3),
    "Paced(3,down)": lambda: Throttled(retry_after=3, down=True),
    "Paced(0)": lambda: Throttled(retry_after=0),
    "AuthExpired": AuthExpired,
    "AuthExpired[401]": lambda: AuthExpired(status=401),
    "SignInRenewed": SignInRenewed,
    "NotFound": NotFound,
    "NotFound(gone)": lambda: NotFound(gone=True),
    "NotFound(hidden)": lambda: NotFound(gone=False),
    "Rejected": Rejected,
    "Rejected[403]": lambda: Rejected(status=403),
    "Rejected[422]": lambda: Rejected(status=422),
    "NotPrepared": NotPrepared,
    "BodyFull": BodyFull,
    "OutcomeUnknown": OutcomeUnknown,
    "OutcomeUnknown[500]": lambda: OutcomeUnknown(status=500),
    "ConnectorBroke": ConnectorBroke,
    "NoLogId": NoLogId,
    "ServerFault": ServerFault,
    "Interrupted": Interrupted,
}


def error_of(name: str, *, wrote: bool = True) -> ConnectorError:
    error = ERRORS[name]()
    error.wrote = wrote
    return error


def cells(table: str) -> list[dict[str, str]]:
    """The rows of a table, by the names of its columns."""
    lines = [line for line in table.strip().splitlines() if line.strip()]
    heads, *rows = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines)
    assert all(len(row) == len(heads) for row in rows)
    return [dict(zip(heads, row, strict=True)) for row in rows]


def told(before: LogRow, outcome: Outcome) -> str:
    """An outcome, as it is written in the tables. All rows share it."""
    (state,) = {change.state for change in outcome.changes}
    (reason,) = {change.reason for change in outcome.changes}
    words = [
        state,
        failure_reason_of(reason) or "-",
        "now" if outcome.wait_ms is None else str(outcome.wait_ms),
    ]
    behind, after = outcome.waiting, outcome.log
    alone = before.call == "change"
    assert (after.state is LogState.PARKED) is (state is RowState.PARKED and not alone)
    if alone and state is not RowState.WAITING:
        assert behind is None
    elif state in {RowState.PARKED, RowState.WAITING}:
        assert behind is not None
        assert (behind.user_id, behind.state) == (
            before.call_user if state is RowState.WAITING else None,
            state,
        )
    elif behind is not None:
        assert (behind.user_id, behind.state, state) == (before.call_user, RowState.FAILED, RowState.FAILED)
        words.append("+behind")
    flags = {
        "+out": outcome.signed_out,
        "+gone": outcome.recreate,
        "+continued": after.earlier != before.earlier,
    }
    return " ".join([*words, *(flag for flag, holds in flags.items() if holds)])


# ------------------------------------------------------------------------------- the end of a call

CAN: Final = {
    "create": {"nothing": (), "finds": ("finds",), "upserts": ("upserts",)},
    "update": {"nothing": (), "reads": ("reads_back",), "amends": ("amends",)},
    "change": {"nothing": (), "reads": ("reads_back",), "amends": ("amends",)},
}
"""What a connector can do that matters to a call. Another call is one more entry here, and one more table."""

ENDS: Final = {
    "create": """
| error               | nothing                      | finds                        | upserts                      |
| Unavailable         | planned unavailable 1000     | planned unavailable 1000     | planned unavailable 1000     |
| RateLimited         | planned rate_limited 1000    | planned rate_limited 1000    | planned rate_limited 1000    |
| RateLimited(7)      | planned rate_limited 8000    | planned rate_limited 8000    | planned rate_limited 8000    |
| Paced(3)            | planned rate_limited 3000    | planned rate_limited 3000    | planned rate_limited 3000    |
| Paced(3,down)       | planned unavailable 3000     | planned unavailable 3000     | planned unavailable 3000     |
| Paced(0)            | planned rate_limited 100     | planned rate_limited 100     | planned rate_limited 100     |
| AuthExpired         | waiting sign_in now +out     | unknown sign_in 7000 +out    | unknown sign_in 7000 +out    |
| AuthExpired[401]    | waiting sign_in now +out     | unknown sign_in 7000 +out    | unknown sign_in 0 +out       |
| SignInRenewed       | planned no_answer 0          | unknown no_answer 7000       | unknown no_answer 7000       |
| NotFound            | failed not_found now +behind | failed not_found now +behind | failed not_found now +behind |
| NotFound(gone)      | failed not_found now +behind | failed not_found now +behind | failed not_found now +behind |
| NotFound(hidden)    | failed not_found now +behind | failed not_found now +behind | failed not_found now +behind |
| Rejected            | failed rejected now          | failed rejected now          | failed rejected now          |
| Rejected[403]       | failed rejected now          | unknown rejected 0           | unknown rejected 0           |
| Rejected[422]       | failed rejected now          | failed rejected now          | failed rejected now          |
| NotPrepared         | failed mistake now           | failed mistake now           | failed mistake now           |
| BodyFull            | failed too_long now          | failed too_long now          | failed too_long now          |
| OutcomeUnknown      | parked no_answer now         | unknown no_answer 7000       | unknown no_answer 7000       |
| OutcomeUnknown[500] | parked no_answer now         | unknown no_answer 7000       | unknown no_answer 0          |
| ConnectorBroke      | parked mistake now           | unknown mistake 7000         | unknown mistake 7000         |
| NoLogId             | parked no_log_id now         | unknown no_log_id 7000       | unknown no_log_id 0          |
| ServerFault         | parked fault now             | unknown fault 7000           | unknown fault 7000           |
| Interrupted         | parked interrupted now       | unknown interrupted 8000     | unknown interrupted 8000     |
""",
    "update": """
| error               | nothing                      | reads                        | amends                       |
| Unavailable         | planned unavailable 1000     | planned unavailable 1000     | planned unavailable 1000     |
| RateLimited         | planned rate_limited 1000    | planned rate_limited 1000    | planned rate_limited 1000    |
| RateLimited(7)      | planned rate_limited 8000    | planned rate_limited 8000    | planned rate_limited 8000    |
| Paced(3)            | planned rate_limited 3000    | planned rate_limited 3000    | planned rate_limited 3000    |
| Paced(3,down)       | planned unavailable 3000     | planned unavailable 3000     | planned unavailable 3000     |
| Paced(0)            | planned rate_limited 100     | planned rate_limited 100     | planned rate_limited 100     |
| AuthExpired         | waiting sign_in now +out     | unknown sign_in 7000 +out    | waiting sign_in now +out     |
| AuthExpired[401]    | waiting sign_in now +out     | unknown sign_in 0 +out       | waiting sign_in now +out     |
| SignInRenewed       | planned no_answer 0          | unknown no_answer 7000       | planned no_answer 0          |
| NotFound            | planned - now +gone          | planned - now +gone          | planned - now +gone          |
| NotFound(gone)      | planned - now +gone          | planned - now +gone          | planned - now +gone          |
| NotFound(hidden)    | failed not_found now +behind | failed not_found now +behind | failed not_found now +behind |
| Rejected            | failed rejected now          | failed rejected now          | failed rejected now          |
| Rejected[403]       | failed rejected now          | unknown rejected 0           | failed rejected now          |
| Rejected[422]       | failed rejected now          | failed rejected now          | failed rejected now          |
| NotPrepared         | failed mistake now           | failed mistake now           | failed mistake now           |
| BodyFull            | planned - now +continued     | planned - now +continued     | planned - now +continued     |
| OutcomeUnknown      | parked no_answer now         | unknown no_answer 7000       | unknown no_answer 7000       |
| OutcomeUnknown[500] | parked no_answer now         | unknown no_answer 0          | unknown no_answer 0          |
| ConnectorBroke      | parked mistake now           | unknown mistake 7000         | unknown mistake 7000         |
| NoLogId             | parked no_log_id now         | unknown no_log_id 0          | unknown no_log_id 0          |
| ServerFault         | parked fault now             | unknown fault 7000           | unknown fault 7000           |
| Interrupted         | parked interrupted now       | unknown interrupted 8000     | unknown interrupted 8000     |
""",
    "change": """
| error               | nothing                   | reads                     | amends                    |
| Unavailable         | planned unavailable 1000  | planned unavailable 1000  | planned unavailable 1000  |
| RateLimited         | planned rate_limited 1000 | planned rate_limited 1000 | planned rate_limited 1000 |
| RateLimited(7)      | planned rate_limited 8000 | planned rate_limited 8000 | planned rate_limited 8000 |
| Paced(3)            | planned rate_limited 3000 | planned rate_limited 3000 | planned rate_limited 3000 |
| Paced(3,down)       | planned unavailable 3000  | planned unavailable 3000  | planned unavailable 3000  |
| Paced(0)            | planned rate_limited 100  | planned rate_limited 100  | planned rate_limited 100  |
| AuthExpired         | waiting sign_in now +out  | unknown sign_in 7000 +out | waiting sign_in now +out  |
| AuthExpired[401]    | waiting sign_in now +out  | unknown sign_in 0 +out    | waiting sign_in now +out  |
| SignInRenewed       | planned no_answer 0       | unknown no_answer 7000    | planned no_answer 0       |
| NotFound            | logged - now              | logged - now              | logged - now              |
| NotFound(gone)      | logged - now              | logged - now              | logged - now              |
| NotFound(hidden)    | failed not_found now      | failed not_found now      | failed not_found now      |
| Rejected            | failed rejected now       | failed rejected now       | failed rejected now       |
| Rejected[403]       | failed rejected now       | unknown rejected 0        | failed rejected now       |
| Rejected[422]       | failed rejected now       | failed rejected now       | failed rejected now       |
| NotPrepared         | planned mistake 1000      | planned mistake 1000      | planned mistake 1000      |
| BodyFull            | logged - now              | logged - now              | logged - now              |
| OutcomeUnknown      | parked no_answer now      | unknown no_answer 7000    | unknown no_answer 7000    |
| OutcomeUnknown[500] | parked no_answer now      | unknown no_answer 0       | unknown no_answer 0       |
| ConnectorBroke      | parked mistake now        | unknown mistake 7000      | unknown mistake 7000      |
| NoLogId             | parked no_log_id now      | unknown no_log_id 0       | unknown no_log_id 0       |
| ServerFault         | parked fault now          | unknown fault 7000        | unknown fault 7000        |
| Interrupted         | parked interrupted now    | unknown interrupted 8000  | unknown interrupted 8000  |
""",
}
NOTHING_WRITTEN: Final = """
| error         | create                   | update                   | change                   |
| AuthExpired   | waiting sign_in now +out | waiting sign_in now +out | waiting sign_in now +out |
| SignInRenewed | planned no_answer 0      | planned no_answer 0      | planned no_answer 0      |
| Rejected[403] | failed rejected now      | failed rejected now      | failed rejected now      |
| ServerFault   | planned fault 1000       | planned fault 1000       | planned fault 1000       |
| Interrupted   | planned interrupted 1000 | planned interrupted 1000 | planned interrupted 1000 |
"""
"""What is told otherwise where it is certain that nothing was written, whatever the connector can do."""


def end(
    call: str,
    error: ConnectorError,
    capabilities: Capabilities,
    rows: Sequence[MessageRow] = (),
    retry: Retry = COUNTED,
    *,
    may_recreate: bool = True,
    **counts: Any,
) -> tuple[LogRow, Outcome]:
    log = log_row(call, **counts)
    given_rows = rows or [message_row()]
    return log, on_error(
        log, given_rows, error, capabilities, may_recreate=may_recreate, jitter=LUCK, retry=retry
    )


@pytest.mark.parametrize(
    ("call", "error", "can", "expected"),
    [
        pytest.param(call, row["error"], can, row[can], id=f"{call}-{row['error']}-{can}")
        for call, table in ENDS.items()
        for row in cells(table)
        for can in CAN[call]
    ],
)
def test_a_call_that_may_have_written_ends(call: str, error: str, can: str, expected: str) -> None:
    log, outcome = end(call, error_of(error), abilities(*CAN[call][can]))
    assert told(log, outcome) == expected


@pytest.mark.parametrize(
    ("call", "error", "can", "expected"),
    [
        pytest.param(call, row["error"], can, row[call], id=f"{call}-{row['error']}-{can}")
        for row in cells(NOTHING_WRITTEN)
        for call in CAN
        for can in CAN[call]
    ],
)
def test_a_call_that_has_written_nothing_ends(call: str, error: str, can: str, expected: str) -> None:
    log, outcome = end(call, error_of(error, wrote=False), abilities(*CAN[call][can]))
    assert told(log, outcome) == expected


@pytest.mark.parametrize(
    ("call", "error", "can", "expected"),
    [
        pytest.param(call, row["error"], can, row[can], id=f"{call}-{row['error']}-{can}")
        for call, table in ENDS.items()
        for row in cells(table)
        for can in CAN[call]
        if row["error"] not in {each["error"] for each in cells(NOTHING_WRITTEN)} | {"AuthExpired[401]"}
    ],
)
def test_all_other_errors_say_by_themselves_what_was_written(
    call: str, error: str, can: str, expected: str
) -> None:
    log, outcome = end(call, error_of(error, wrote=False), abilities(*CAN[call][can]))
    assert told(log, outcome) == expected


def test_every_error_is_in_each_table() -> None:
    modules = (connectors, errors, outcomes)
    types = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ConnectorError)
    } - {ConnectorError}
    assert {type(made()) for made in ERRORS.values()} == types
    for table in ENDS.values():
        assert [row["error"] for row in cells(table)] == list(ERRORS)


@pytest.mark.parametrize("error", ["NotPrepared", "ServerFault"])
def test_a_change_is_given_up_when_a_mistake_has_kept_it_back_thrice(error: str) -> None:
    """It is tried again at first, since it does not come again with its day."""
    log, row = log_row("change", rejection_count=2), message_row()
    states = []
    for _ in range(3):
        outcome = on_error(
            log, [row], error_of(error, wrote=False), abilities(), may_recreate=True, jitter=LUCK
        )
        (change,) = outcome.changes
        log, row = replace(outcome.log, call="change", call_user=ADA), replace(row, reason=change.reason)
        states.append(change.state)
    assert states == [RowState.PLANNED, RowState.PLANNED, RowState.FAILED]
    assert log.rejection_count == 2


def test_a_mistake_behind_an_outage_does_not_end_a_change() -> None:
    log, row = log_row("change", attempt_count=9), message_row(reason="unavailable: as it was")
    error = error_of("NotPrepared", wrote=False)
    outcome = on_error(log, [row], error, abilities(), may_recreate=True, jitter=LUCK)
    assert [change.state for change in outcome.changes] == [RowState.PLANNED]


@pytest.mark.parametrize(
    ("error", "user", "means_gone", "may_recreate", "expected"),
    [
        ("NotFound", ADA, False, True, "planned - now +gone"),
        ("NotFound", ADA, False, False, "failed not_found now +behind"),
        ("NotFound", BEN, False, True, "failed not_found now +behind"),
        ("NotFound", BEN, True, True, "planned - now +gone"),
        ("NotFound", BEN, True, False, "failed not_found now +behind"),
        ("NotFound(gone)", BEN, False, True, "planned - now +gone"),
        ("NotFound(gone)", BEN, False, False, "failed not_found now +behind"),
        ("NotFound(hidden)", ADA, True, True, "failed not_found now +behind"),
    ],
)
def test_a_missing_activity_is_gone_or_hidden(
    *, error: str, user: str, means_gone: bool, may_recreate: bool, expected: str
) -> None:
    capabilities = abilities("not_found_means_gone") if means_gone else abilities()
    log, outcome = end("update", error_of(error), capabilities, may_recreate=may_recreate, call_user=user)
    assert told(log, outcome) == expected
    if outcome.recreate:
        assert (outcome.log.third_party_log_id, outcome.log.created_by, outcome.log.generation) == (
            None,
            None,
            2,
        )


@pytest.mark.parametrize(
    ("can", "counted", "shared", "expected"),
    [
        (("amends",), True, False, "waiting sign_in now +out"),
        (("reads_back",), True, False, "unknown sign_in 7000 +out"),
        (("reads_back", "amends"), False, False, "waiting sign_in now +out"),
        (("reads_back", "amends"), True, False, "unknown sign_in 7000 +out"),
        (("reads_back", "amends"), True, True, "waiting sign_in now +out"),
    ],
)
def test_an_update_whose_text_was_counted_is_asked_about(
    *, can: tuple[str, ...], counted: bool, shared: bool, expected: str
) -> None:
    log, outcome = end(
        "update", AuthExpired(), abilities(*can), shared=shared, call_before="1" if counted else None
    )
    assert told(log, outcome) == expected


COUNTS: Final = """
| error         | tries | refusals | rows | expected                        | tries after | refusals after |
| Unavailable   | 0     | 0        | 1    | planned unavailable 1000        | 1           | 0              |
| Unavailable   | 1     | 2        | 2    | planned unavailable 5000        | 2           | 2              |
| Unavailable   | 42    | 0        | 1    | planned unavailable 7200000     | 43          | 0              |
| Unavailable   | 43    | 0        | 1    | failed unavailable now +behind  | 0           | 0              |
| RateLimited   | 43    | 1        | 2    | failed rate_limited now +behind | 0           | 1              |
| Paced(3)      | 43    | 2        | 1    | planned rate_limited 3000       | 43          | 2              |
| Rejected      | 5     | 0        | 1    | failed rejected now             | 0           | 1              |
| Rejected      | 5     | 1        | 1    | failed rejected now             | 0           | 2              |
| Rejected      | 5     | 2        | 1    | failed rejected now +behind     | 0           | 0              |
| Rejected      | 5     | 0        | 3    | planned rejected now            | 5           | 1              |
| Rejected      | 5     | 1        | 3    | planned rejected now            | 5           | 2              |
| Rejected      | 5     | 2        | 3    | failed rejected now +behind     | 0           | 0              |
| NotPrepared   | 0     | 1        | 2    | planned mistake now             | 0           | 2              |
| NotPrepared   | 0     | 2        | 1    | failed mistake now +behind      | 0           | 0              |
| NotFound      | 3     | 1        | 2    | failed not_found now +behind    | 0           | 1              |
| BodyFull      | 3     | 1        | 1    | failed too_long now             | 0           | 1              |
| ServerFault   | 0     | 0        | 2    | planned fault 1000              | 1           | 1              |
| ServerFault   | 1     | 1        | 2    | planned fault 5000              | 2           | 2              |
| ServerFault   | 2     | 2        | 2    | failed fault now                | 0           | 0              |
| ServerFault   | 43    | 0        | 1    | failed fault now +behind        | 0           | 1              |
| Interrupted   | 42    | 2        | 1    | planned interrupted 7200000     | 43          | 2              |
| Interrupted   | 43    | 2        | 1    | failed interrupted now +behind  | 0           | 2              |
| SignInRenewed | 0     | 0        | 1    | planned no_answer 0             | 1           | 0              |
| SignInRenewed | 1     | 0        | 1    | planned no_answer 5000          | 2           | 0              |
| SignInRenewed | 43    | 0        | 1    | failed no_answer now +behind    | 0           | 0              |
| AuthExpired   | 4     | 1        | 2    | waiting sign_in now +out        | 4           | 1              |
"""


@pytest.mark.parametrize("row", [pytest.param(row, id="-".join(row.values())) for row in cells(COUNTS)])
def test_the_counts_of_a_create_that_has_written_nothing(row: dict[str, str]) -> None:
    log, outcome = end(
        "create",
        error_of(row["error"], wrote=False),
        abilities("finds"),
        message_rows(int(row["rows"])),
        attempt_count=int(row["tries"]),
        rejection_count=int(row["refusals"]),
    )
    assert told(log, outcome) == row["expected"]
    assert (outcome.log.attempt_count, outcome.log.rejection_count) == (
        int(row["tries after"]),
        int(row["refusals after"]),
    )


@pytest.mark.parametrize(
    ("error", "tries", "probe_ms", "wait_ms"),
    [
        ("OutcomeUnknown", 0, None, 7_000),
        ("OutcomeUnknown", 1, None, 8_000),
        ("OutcomeUnknown", 2, None, 12_000),
        ("OutcomeUnknown", LAST + 9, None, 7_207_000),
        ("OutcomeUnknown", 2, 30_000, 30_000),
        ("OutcomeUnknown", 2, 1_000, 7_000),
        ("NoLogId", 2, 30_000, 30_000),
        ("ConnectorBroke", 2, 30_000, 12_000),
        ("AuthExpired", 2, 30_000, 7_000),
        ("Rejected[403]", 2, 30_000, 0),
        ("Interrupted", 1, None, 12_000),
    ],
)
def test_when_a_create_of_unknown_outcome_is_asked_about(
    error: str, tries: int, probe_ms: int | None, wait_ms: int
) -> None:
    _, outcome = end(
        "create", error_of(error), abilities("finds"), retry=Retry(probe_ms=probe_ms), attempt_count=tries
    )
    assert outcome.wait_ms == wait_ms


@pytest.mark.parametrize(
    ("error", "retry", "tries", "wait_ms"),
    [
        ("Unavailable", Retry(probe_ms=30_000), 2, 30_000),
        ("Unavailable", Retry(early=True), 2, 5_000),
        ("RateLimited", Retry(probe_ms=30_000), 3, 15_000),  # it answers, so it is not away
        ("RateLimited", Retry(early=True), 2, 5_000),
        ("ServerFault", Retry(probe_ms=30_000), 3, 15_000),  # whatever the CRM is
        ("Interrupted", Retry(early=True), 3, 15_000),
    ],
)
def test_how_a_failure_is_taken_at_the_moment(error: str, retry: Retry, tries: int, wait_ms: int) -> None:
    _, outcome = end("create", error_of(error, wrote=False), abilities(), retry=retry, attempt_count=2)
    assert (outcome.log.attempt_count, outcome.wait_ms) == (tries, wait_ms)


# -------------------------------------------------------------------- what reconciling found

RECOVERED: Final = """
| reason      | finding      | tries | refusals | expected                       | tries after | refusals after |
| no_answer   | NOT_THERE    | 0     | 1        | planned no_answer now          | 1           | 1              |
| no_answer   | NOT_THERE    | 41    | 0        | planned no_answer now          | 42          | 0              |
| no_answer   | NOT_THERE    | 42    | 0        | failed no_answer now +behind   | 0           | 0              |
| no_answer   | REPEATABLE   | 41    | 2        | planned no_answer now          | 42          | 2              |
| no_answer   | REPEATABLE   | 42    | 0        | parked no_answer now           | 42          | 0              |
| no_answer   | NOBODY_KNOWS | 0     | 0        | parked no_answer now           | 0           | 0              |
| no_log_id   | NOT_THERE    | 0     | 0        | planned no_log_id now          | 1           | 0              |
| no_log_id   | NOBODY_KNOWS | 0     | 0        | parked no_log_id now           | 0           | 0              |
| sign_in     | NOT_THERE    | 3     | 0        | planned sign_in now            | 4           | 0              |
| sign_in     | REPEATABLE   | 3     | 0        | planned sign_in now            | 4           | 0              |
| interrupted | NOT_THERE    | 42    | 0        | planned interrupted now        | 42          | 0              |
| interrupted | NOT_THERE    | 43    | 0        | failed interrupted now +behind | 0           | 0              |
| interrupted | REPEATABLE   | 43    | 0        | parked interrupted now         | 43          | 0              |
| mistake     | NOT_THERE    | 0     | 0        | planned mistake now            | 1           | 1              |
| mistake     | NOT_THERE    | 42    | 1        | planned mistake now            | 43          | 2              |
| mistake     | NOT_THERE    | 0     | 2        | failed mistake now             | 0           | 0              |
| mistake     | REPEATABLE   | 0     | 2        | parked mistake now             | 0           | 0              |
| fault       | NOT_THERE    | 0     | 1        | planned fault now              | 1           | 2              |
| fault       | NOT_THERE    | 0     | 2        | failed fault now               | 0           | 0              |
| fault       | REPEATABLE   | 0     | 2        | parked fault now               | 0           | 0              |
| rejected    | REPEATABLE   | 0     | 0        | planned rejected now           | 1           | 0              |
| rejected    | NOBODY_KNOWS | 0     | 0        | parked rejected now            | 0           | 0              |
| rejected    | NOT_THERE    | 3     | 0        | failed rejected now            | 0           | 1              |
| rejected    | NOT_THERE    | 3     | 2        | failed rejected now +behind    | 0           | 0              |
"""


RECOVERED_CHANGE: Final = """
| reason      | finding      | tries | refusals | expected               | tries after | refusals after |
| no_answer   | NOT_THERE    | 0     | 1        | planned no_answer now  | 1           | 1              |
| no_answer   | NOT_THERE    | 42    | 0        | failed no_answer now   | 0           | 0              |
| no_answer   | REPEATABLE   | 42    | 2        | parked no_answer now   | 0           | 2              |
| no_answer   | NOBODY_KNOWS | 7     | 0        | parked no_answer now   | 0           | 0              |
| interrupted | NOT_THERE    | 43    | 0        | failed interrupted now | 0           | 0              |
| mistake     | NOT_THERE    | 4     | 2        | planned mistake now    | 5           | 2              |
| mistake     | NOT_THERE    | 5     | 1        | failed mistake now     | 0           | 1              |
| mistake     | REPEATABLE   | 5     | 1        | parked mistake now     | 0           | 1              |
| fault       | NOT_THERE    | 4     | 2        | planned fault now      | 5           | 2              |
| fault       | REPEATABLE   | 5     | 2        | parked fault now       | 0           | 2              |
| rejected    | REPEATABLE   | 0     | 0        | planned rejected now   | 1           | 0              |
| rejected    | NOBODY_KNOWS | 0     | 0        | parked rejected now    | 0           | 0              |
| rejected    | NOT_THERE    | 3     | 2        | failed rejected now    | 0           | 2              |
"""
"""A change does not touch the refusals of its log's messages, whose next create may depend on them."""


@pytest.mark.parametrize(
    ("call", "row"),
    [
        pytest.param(call, row, id="-".join([call, *row.values()]))
        for call in CAN
        for row in cells(RECOVERED_CHANGE if call == "change" else RECOVERED)
    ],
)
def test_what_was_found_out_about_a_call(row: dict[str, str], call: str) -> None:
    """The same for each call of a message; a create is found by a search that does not lag."""
    reason = f"{row['reason']}: as it was"
    log = log_row(
        call,
        reason=reason,
        probe_count=4,
        attempt_count=int(row["tries"]),
        rejection_count=int(row["refusals"]),
    )
    capabilities = abilities("finds", "upserts", "reads_back", "amends", settle_ms=0)
    outcome = on_reconciled(log, [message_row()], Reconciliation[row["finding"]], capabilities)
    assert told(log, outcome) == row["expected"]
    assert outcome.changes[0].reason == reason
    assert (outcome.log.attempt_count, outcome.log.rejection_count) == (
        int(row["tries after"]),
        int(row["refusals after"]),
    )
    if outcome.changes[0].state is RowState.PLANNED:
        assert outcome.log.call is None
        assert outcome.log.probe_count == 0, "the next call's questions are its own"


@pytest.mark.parametrize(
    ("call", "can", "settle_ms", "asks", "expected"),
    [
        ("create", "finds", 7_000, 0, "unknown rejected 7000"),
        ("create", "finds", 7_000, 1, "failed rejected now"),
        ("create", "finds", 0, 0, "failed rejected now"),
        ("create", "upserts", 7_000, 0, "failed rejected now"),
        ("update", "reads_back", 7_000, 0, "failed rejected now"),
    ],
)
def test_a_search_that_lags_is_asked_once_more_about_a_refused_create(
    call: str, can: str, settle_ms: int, asks: int, expected: str
) -> None:
    log = log_row(call, reason="rejected: HTTP 403", probe_count=asks)
    outcome = on_reconciled(
        log, [message_row()], Reconciliation.NOT_THERE, abilities(can, settle_ms=settle_ms)
    )
    assert told(log, outcome) == expected


@pytest.mark.parametrize("retry", [Retry(early=True), Retry(probe_ms=30_000)])
def test_a_failure_that_does_not_count_is_no_try_once_it_is_found_out_about(retry: Retry) -> None:
    log = log_row(attempt_count=3, reason="no_answer: the answer was lost")
    outcome = on_reconciled(log, [message_row()], Reconciliation.NOT_THERE, abilities("finds"), retry)
    assert outcome.log.attempt_count == 3


# --------------------------------------------------------------------------- a question that failed

ASKED: Final = """
| error               | lost answer               | refusal                   | asks after |
| Unavailable         | unknown no_answer 1000    | unknown rejected 7000     | 1          |
| RateLimited         | unknown no_answer 1000    | unknown rejected 7000     | 1          |
| RateLimited(7)      | unknown no_answer 8000    | unknown rejected 8000     | 1          |
| Paced(3)            | unknown no_answer 3000    | unknown rejected 7000     | 1          |
| Paced(3,down)       | unknown no_answer 3000    | unknown rejected 7000     | 1          |
| Paced(0)            | unknown no_answer 100     | unknown rejected 7000     | 1          |
| AuthExpired         | unknown sign_in 1000 +out | unknown sign_in 7000 +out | 1          |
| AuthExpired[401]    | unknown sign_in 1000 +out | unknown sign_in 7000 +out | 1          |
| SignInRenewed       | unknown no_answer 1000    | unknown rejected 7000     | 1          |
| NotFound            | unknown no_answer 1000    | failed rejected now       | 1          |
| NotFound(gone)      | unknown no_answer 1000    | failed rejected now       | 1          |
| NotFound(hidden)    | unknown no_answer 1000    | failed rejected now       | 1          |
| Rejected            | unknown no_answer 1000    | failed rejected now       | 1          |
| Rejected[403]       | unknown no_answer 1000    | failed rejected now       | 1          |
| Rejected[422]       | unknown no_answer 1000    | failed rejected now       | 1          |
| NotPrepared         | unknown no_answer 1000    | failed rejected now       | 1          |
| BodyFull            | unknown no_answer 1000    | failed rejected now       | 1          |
| OutcomeUnknown      | unknown no_answer 1000    | unknown rejected 7000     | 1          |
| OutcomeUnknown[500] | unknown no_answer 1000    | unknown rejected 7000     | 1          |
| ConnectorBroke      | unknown no_answer 1000    | unknown rejected 7000     | 1          |
| NoLogId             | unknown no_answer 1000    | unknown rejected 7000     | 1          |
| ServerFault         | unknown fault 1000        | unknown fault 7000        | 1          |
| Interrupted         | unknown interrupted 1000  | unknown interrupted 7000  | 1          |
"""
ASKED_ABOUT: Final = {"lost answer": "no_answer: the answer was lost", "refusal": "rejected: HTTP 403"}


@pytest.mark.parametrize("call", list(CAN))
@pytest.mark.parametrize("about", list(ASKED_ABOUT))
@pytest.mark.parametrize("row", [pytest.param(row, id=row["error"]) for row in cells(ASKED)])
def test_the_first_question_about_a_call_failed(row: dict[str, str], about: str, call: str) -> None:
    log = log_row(call, reason=ASKED_ABOUT[about])
    outcome = on_reconcile_error(
        log, [message_row()], error_of(row["error"]), abilities("finds"), jitter=LUCK
    )
    assert told(log, outcome) == row[about]
    open_ = outcome.changes[0].state is RowState.UNKNOWN
    assert outcome.log.probe_count == (int(row["asks after"]) if open_ else 0)
    assert outcome.log.reason == ASKED_ABOUT[about] or not open_, "what the call ended with stays"


def test_every_error_can_end_a_question() -> None:
    assert [row["error"] for row in cells(ASKED)] == list(ERRORS)


LIMITS: Final = """
| error          | asks | before    | lost answer                  | refusal                      |
| Unavailable    | 99   | no_answer | unknown no_answer 7200000    | unknown rejected 7200000     |
| Rejected       | 99   | no_answer | unknown no_answer 7200000    | failed rejected now          |
| Paced(3)       | 99   | no_answer | unknown no_answer 3000       | unknown no_answer 7000       |
| AuthExpired    | 99   | no_answer | unknown sign_in 7200000 +out | unknown sign_in 7200000 +out |
| ConnectorBroke | 1    | no_answer | unknown no_answer 5000       | unknown rejected 7000        |
| ConnectorBroke | 2    | no_answer | unknown no_answer 15000      | failed rejected now          |
| ConnectorBroke | 41   | no_answer | unknown no_answer 7200000    | failed rejected now          |
| ConnectorBroke | 42   | no_answer | parked no_answer now         | failed rejected now          |
| ServerFault    | 0    | no_answer | unknown fault 1000           | unknown fault 7000           |
| ServerFault    | 1    | fault     | unknown fault 5000           | unknown fault 7000           |
| ServerFault    | 2    | fault     | parked fault now             | failed rejected now          |
| ServerFault    | 2    | no_answer | unknown fault 1000           | unknown fault 7000           |
| ServerFault    | 99   | sign_in   | unknown fault 1000           | unknown fault 7000           |
| Interrupted    | 41   | no_answer | unknown interrupted 7200000  | unknown interrupted 7200000  |
| Interrupted    | 42   | no_answer | parked interrupted now       | failed rejected now          |
"""
"""`asks` is how often it was asked in vain, `before` what the rows say of the last question."""


@pytest.mark.parametrize("about", list(ASKED_ABOUT))
@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=f"{row['error']}-{row['asks']}-{row['before']}") for row in cells(LIMITS)],
)
def test_how_often_it_is_asked(row: dict[str, str], about: str) -> None:
    log = log_row(reason=ASKED_ABOUT[about], probe_count=int(row["asks"]))
    rows = [message_row(reason=f"{row['before']}: as it was")]
    outcome = on_reconcile_error(log, rows, error_of(row["error"]), abilities("finds"), jitter=LUCK)
    assert told(log, outcome) == row[about]


@pytest.mark.parametrize("about", ["no_answer", "fault", "rejected"])
def test_faults_are_counted_in_a_row_whatever_the_call_ended_with(about: str) -> None:
    """Of a call that a fault of ours has ended, too: the rows say whether the last question has."""
    log, rows = log_row(reason=f"{about}: as it was"), [message_row(reason=f"{about}: as it was")]

    def ask(error: ConnectorError) -> RowState:
        nonlocal log, rows
        outcome = on_reconcile_error(log, rows, error, abilities("finds"), jitter=LUCK)
        log = outcome.log
        rows = [replace(rows[0], state=change.state, reason=change.reason) for change in outcome.changes]
        return rows[0].state

    passing = [Unavailable(), OutcomeUnknown(), ServerFault(), Unavailable(), ServerFault(), ServerFault()]
    assert [ask(error) for error in passing] == [RowState.UNKNOWN] * len(passing)
    assert ask(Throttled(retry_after=3)) is RowState.UNKNOWN, "it was not asked"
    assert ask(ServerFault()) in {RowState.PARKED, RowState.FAILED}


def test_a_call_that_is_done_is_parked_when_it_could_not_be_settled_thrice_in_a_row() -> None:
    log = log_row(reason=ASKED_ABOUT["lost answer"], probe_count=5)
    rows = [message_row(state=RowState.UNKNOWN, reason=log.reason)]
    states = []
    for _ in range(3):
        outcome = on_fault_after_success(log, rows, ACTIVITY, ServerFault(), jitter=LUCK)
        log, (change,) = outcome.log, outcome.changes
        rows = [
            replace(
                rows[0],
                state=change.state,
                reason=change.reason,
                third_party_log_id=change.third_party_log_id,
            )
        ]
        states.append(change.state)
    assert states == [RowState.UNKNOWN, RowState.UNKNOWN, RowState.PARKED]


# --------------------------------------------------------------------------- a call that was done


def test_what_was_brought_is_logged_in_its_activity_and_its_text_erased() -> None:
    log = log_row(reason="unavailable: x", attempt_count=5, probe_count=2, rejection_count=2, version=3)
    outcome = on_success(log, message_rows(2), "a-9", {"1": b"h"}, 4, 120)
    assert outcome.changes == (
        RowChange("1", RowState.LOGGED, None, "a-9", b"h", erase=True),
        RowChange("2", RowState.LOGGED, None, "a-9", None, erase=True),
    )
    after = outcome.log
    assert (after.third_party_log_id, after.created_by, after.version, after.body_size) == (
        "a-9",
        ADA,
        4,
        120,
    )
    assert (after.reason, after.attempt_count, after.probe_count, after.rejection_count) == (None, 0, 0, 0)
    assert (outcome.waiting, outcome.wait_ms, outcome.error) == (None, None, None)


def test_a_change_in_place_gives_its_message_the_hash_of_its_new_entry() -> None:
    log, row = (
        log_row("change", reason="x: y", attempt_count=5, probe_count=2, rejection_count=2),
        message_row(id="7\x1f2"),
    )
    given: dict[str, Any] = {"entry_hash": b"new", "line_hash": None, "body_size": 120}
    outcome = on_change_written(log, row, "a-0", **given)
    assert outcome.entry == ("7", b"new")
    assert outcome.changes == (RowChange("7\x1f2", RowState.LOGGED, None, "a-0", None, erase=True),)
    after = outcome.log
    assert (after.third_party_log_id, after.body_size) == (ACTIVITY, 120), "its activity may be another one"
    assert (after.reason, after.attempt_count, after.probe_count, after.rejection_count) == (None, 0, 0, 2)


def test_a_status_line_keeps_its_hash_with_the_change() -> None:
    log, row = log_row("change"), message_row(id="7\x1f2")
    outcome = on_change_written(log, row, ACTIVITY, entry_hash=None, line_hash=b"line", body_size=0)
    assert outcome.entry is None
    assert outcome.changes == (RowChange("7\x1f2", RowState.LOGGED, None, ACTIVITY, b"line", erase=True),)


def test_a_change_that_has_no_place_is_done_in_no_activity() -> None:
    outcome = on_nothing_to_change(log_row("change"), [message_row(id="7\x1f2")])
    assert outcome.changes == (RowChange("7\x1f2", RowState.LOGGED, erase=True),)
    assert outcome.entry is None


def test_an_older_snapshot_does_not_set_the_version_back() -> None:
    assert on_success(log_row(version=9), [message_row()], "a-9", {}, 4).log.version == 9


def test_an_update_keeps_who_made_the_activity() -> None:
    log = log_row("update", call_user=BEN)
    assert on_success(log, [message_row()], ACTIVITY, {}, 0).log.created_by == ADA


def test_a_thread_that_fills_its_activity_goes_on_in_another() -> None:
    log = log_row(shared=True, version=3)
    outcome = on_success(log, [message_row()], "a-9", {}, 7, 50, has_more=True)
    assert outcome.changes == (RowChange("1", RowState.PLANNED, None, "a-9"),)
    assert earlier_activities(outcome.log) == ["a-9"]
    assert (outcome.log.third_party_log_id, outcome.log.generation, outcome.log.version) == (None, 2, 3)


def test_full_activities_are_kept_in_their_order() -> None:
    log = log_row("update", earlier='["a-0"]', body_size=9_000)
    _, outcome = log, on_error(log, [message_row()], BodyFull(), abilities(), may_recreate=True, jitter=LUCK)
    assert earlier_activities(outcome.log) == ["a-0", ACTIVITY]
    assert (outcome.log.third_party_log_id, outcome.log.body_size, outcome.log.call) == (None, 0, None)


def test_what_an_earlier_create_may_have_made_is_given_what_this_one_brought() -> None:
    log = log_row(version=3)
    outcome = to_unconfirmed(on_success(log, message_rows(2), "a-9", {"1": b"h"}, 8), log)
    assert outcome.changes == tuple(RowChange(id_, RowState.PLANNED, None, "a-9") for id_ in "12")
    assert (outcome.log.third_party_log_id, outcome.log.version) == ("a-9", 3)


def test_of_two_calls_of_a_step_the_second_goes_on_from_the_first() -> None:
    log = log_row("update")
    first = on_success(log, message_rows(1), ACTIVITY, {}, 0)
    second = on_success(first.log, [message_row(2)], ACTIVITY, {}, 0)
    both = combine_outcomes(first, second)
    assert both.log == second.log
    assert [(change.id, change.state) for change in both.changes] == [
        ("1", RowState.LOGGED),
        ("2", RowState.LOGGED),
    ]


def test_what_the_first_brought_into_an_activity_that_is_gone_is_planned_again() -> None:
    log = log_row("update")
    first = on_success(log, message_rows(1), ACTIVITY, {}, 0)
    second = on_error(first.log, [message_row(2)], NotFound(), abilities(), may_recreate=True, jitter=LUCK)
    both = combine_outcomes(first, second)
    assert both.recreate
    assert both.changes == (RowChange("1", RowState.PLANNED), RowChange("2", RowState.PLANNED))


@pytest.mark.parametrize("error", ["Unavailable", "OutcomeUnknown", "Rejected", "AuthExpired"])
def test_what_the_first_brought_stays_logged_whatever_the_second_meets(error: str) -> None:
    log = log_row("update")
    first = on_success(log, message_rows(1), ACTIVITY, {}, 0)
    second = on_error(
        first.log, [message_row(2)], error_of(error), abilities(), may_recreate=True, jitter=LUCK
    )
    both = combine_outcomes(first, second)
    assert both.changes[0] == first.changes[0]
    assert both.changes[1:] == second.changes


def test_what_is_not_there_of_a_step_is_planned_again() -> None:
    rows = message_rows(3)
    there = on_success(log_row("update"), rows[:1], ACTIVITY, {}, 0)
    outcome = with_missing(there, rows[1:])
    assert [change.state for change in outcome.changes] == [RowState.LOGGED] + [RowState.PLANNED] * 2
    assert {failure_reason_of(change.reason) for change in outcome.changes[1:]} == {FailureReason.NO_ANSWER}
    assert outcome.wait_ms is None


@pytest.mark.parametrize("call", list(CAN))
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("reason", [None, "interrupted: again"])
def test_a_call_that_is_given_up_is_parked(call: str, reason: str | None, *, shared: bool) -> None:
    log = log_row(call, reason=reason, attempt_count=LAST + 1, shared=shared)
    outcome = on_too_many_interruptions(log, message_rows(2))
    word = "interrupted" if reason else "no_answer"
    assert told(log, outcome) == f"parked {word} now"


@pytest.mark.parametrize(
    ("fault", "asks", "expected"),
    [
        (ServerFault, 0, "unknown fault 1000"),
        (ServerFault, 1, "unknown fault 5000"),
        (ServerFault, 2, "parked fault now"),
        (Interrupted, 0, "unknown interrupted 1000"),
        (Interrupted, 2, "parked interrupted now"),
    ],
)
@pytest.mark.parametrize("call", list(CAN))
def test_a_call_that_is_done_and_could_not_be_settled_keeps_its_activity(
    call: str, fault: type[ServerFault], asks: int, expected: str
) -> None:
    log = log_row(call, probe_count=asks)
    before: dict[str, Any] = {"reason": "fault: as it was", "third_party_log_id": ACTIVITY} if asks else {}
    outcome = on_fault_after_success(
        log, message_rows(2, state=RowState.UNKNOWN, **before), ACTIVITY, fault(), jitter=LUCK
    )
    assert told(log, outcome) == expected
    assert {change.third_party_log_id for change in outcome.changes} == {ACTIVITY}
    if outcome.log.state is LogState.PARKED:
        assert (outcome.log.third_party_log_id, outcome.log.created_by) == (ACTIVITY, ADA)


SALVAGED: Final = """
| outcome                 | expected           | activity |
| logged                  | unknown fault 8000 | a-1      |
| planned, in an activity | unknown fault 8000 | a-1      |
| unknown                 | unknown fault 8000 |          |
| parked                  | unknown fault 8000 |          |
| planned                 | planned fault 1000 |          |
| failed                  | planned fault 1000 |          |
| waiting                 | planned fault 1000 |          |
"""


@pytest.mark.parametrize("call", list(CAN))
@pytest.mark.parametrize("row", [pytest.param(row, id=row["outcome"]) for row in cells(SALVAGED)])
def test_what_is_left_of_an_outcome_that_was_not_written(row: dict[str, str], call: str) -> None:
    state, _, where = row["outcome"].partition(",")
    id_ = ACTIVITY if where or state == "logged" else None
    log, rows = log_row(call), message_rows(2)
    outcome = Outcome(log, tuple(RowChange(each.id, RowState(state), None, id_) for each in rows))
    outcome = on_save_failure(log, rows, outcome, ServerFault(), abilities("finds"), LUCK)
    assert told(log, outcome) == row["expected"]
    assert {change.third_party_log_id or "" for change in outcome.changes} == {row["activity"]}
    assert isinstance(outcome.error, ServerFault)
    assert outcome.log.attempt_count == 1


def test_of_a_run_that_was_not_written_each_row_keeps_what_is_known_of_it() -> None:
    log, rows = log_row("update"), message_rows(4)
    outcome = Outcome(
        log,
        (
            RowChange("1", RowState.LOGGED, None, ACTIVITY),
            RowChange("2", RowState.UNKNOWN),
            RowChange("3", RowState.PLANNED),
        ),
    )
    outcome = on_save_failure(log, rows, outcome, ServerFault(), abilities("reads_back"), LUCK)
    assert {change.id: (change.state, change.third_party_log_id) for change in outcome.changes} == {
        "1": (RowState.UNKNOWN, ACTIVITY),
        "2": (RowState.UNKNOWN, None),
        "3": (RowState.PLANNED, None),
        "4": (RowState.PLANNED, None),  # it was never sent
    }


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (None, None),
        ("", None),
        ("fault: x", FailureReason.FAULT),
        ("fault", FailureReason.FAULT),
        ("faults: x", None),
        ("behind: one before it is parked (fault: x)", FailureReason.BEHIND),
    ],
)
def test_the_word_of_a_reason(reason: str | None, expected: FailureReason | None) -> None:
    assert failure_reason_of(reason) is expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("rejected: no (HTTP 422)", "rejected: no (HTTP 422)"),
        ("behind: one before it is parked (rejected: no (HTTP 422))", "rejected: no (HTTP 422)"),
    ],
)
def test_the_reason_behind_another(reason: str, expected: str) -> None:
    assert first_reason(reason) == expected


# ------------------------------------------------------------------------- what holds for all of them

FLAGS: Final = ("upserts", "finds", "reads_back", "amends", "not_found_means_gone", "in_runs")
MAY_BE_DONE: Final = (OutcomeUnknown, ServerFault)
"""The types of errors that leave open whether a write was done, whatever the connector can do."""


def check(before: LogRow, rows: Sequence[MessageRow], outcome: Outcome) -> None:
    """Check what the journal relies on, for every outcome of a call."""
    changes, after = outcome.changes, outcome.log
    states = {change.state for change in changes}
    assert sorted(change.id for change in changes) == sorted(row.id for row in rows), "each in one change"
    alone = before.call == "change"
    assert alone or all(change.third_party_log_id for change in changes if change.state is RowState.LOGGED)
    assert (after.state is LogState.PARKED) is (RowState.PARKED in states and not alone)
    if alone:  # whatever becomes of it, the messages of its log go on, as they would have
        assert outcome.waiting is None or outcome.waiting.state is RowState.WAITING
        assert (after.rejection_count, after.third_party_log_id) == (
            before.rejection_count,
            before.third_party_log_id,
        )
    if after.state is LogState.PARKED:
        assert states == {RowState.PARKED}
        assert outcome.waiting is not None
        assert outcome.waiting.user_id is None
    assert outcome.wait_ms is None or outcome.wait_ms >= 0
    if RowState.UNKNOWN in states:
        assert outcome.wait_ms is not None, "else its call would be forgotten"
        assert (after.call, after.call_user) == (before.call, before.call_user), "it is asked about later"
    elif outcome.wait_ms is not None:
        assert states == {RowState.PLANNED}
        assert after.call is None, "nothing is left to be asked about"
    assert after.rejection_count < 3
    assert after.fence == before.fence
    for reason in [after.reason, *(change.reason for change in changes)]:
        assert reason is None or (failure_reason_of(reason) is not None and BODY not in reason)
    if outcome.waiting is not None:
        assert BODY not in outcome.waiting.reason


def check_end(
    log: LogRow,
    rows: Sequence[MessageRow],
    error: ConnectorError,
    capabilities: Capabilities,
    retry: Retry = COUNTED,
    *,
    may_recreate: bool = True,
) -> None:
    error.body, error.detail = BODY, "HTTP 599"
    outcome = on_error(log, rows, error, capabilities, may_recreate=may_recreate, jitter=LUCK, retry=retry)
    check(log, rows, outcome)
    states = {change.state for change in outcome.changes}
    assert RowState.LOGGED not in states or log.call == "change"
    if isinstance(error, MAY_BE_DONE) and error.wrote:
        assert states <= OPEN_STATES, "a call that may have been done is not planned"
    if RowState.PLANNED in states and outcome.wait_ms is not None:
        assert outcome.log.attempt_count <= LAST
    if outcome.recreate:
        assert may_recreate
        assert log.call == "update"
    texts = {error.meaning} | {f"{error.meaning} (HTTP 599)"}
    for change in outcome.changes:
        assert change.reason is None or change.reason.partition(": ")[2] in texts
    if outcome.waiting is not None and RowState.WAITING not in states:
        assert first_reason(outcome.waiting.reason) == outcome.changes[0].reason


def test_every_end_of_every_call_keeps_the_journal_whole() -> None:
    ables = [
        abilities(*(flag for flag, has in zip(FLAGS, chosen, strict=False) if has))
        for chosen in product((False, True), repeat=4)
    ]
    for call, count, tries, refusals in product(CAN, (1, 2), (0, LAST), (0, 2)):
        log, rows = log_row(call, attempt_count=tries, rejection_count=refusals), message_rows(count)
        for name, wrote, capabilities in product(ERRORS, (True, False), ables):
            check_end(log, rows, error_of(name, wrote=wrote), capabilities)


ables_drawn = st.builds(
    lambda names, settle_ms: abilities(*names, settle_ms=settle_ms),
    st.sets(st.sampled_from(FLAGS)),
    st.sampled_from([0, SETTLE_MS]),
)
errors_drawn = st.builds(
    lambda name, wrote: error_of(name, wrote=wrote), st.sampled_from(list(ERRORS)), st.booleans()
)
retries_drawn = st.builds(Retry, early=st.booleans(), probe_ms=st.sampled_from([None, 1_000, 60_000]))
reasons_drawn = st.sampled_from([None, *(f"{word}: HTTP 599" for word in FailureReason)])
logs_drawn = st.builds(
    lambda call, shared, user, tries, asks, refusals, counted, reason: log_row(
        call,
        shared=shared,
        call_user=user,
        attempt_count=tries,
        probe_count=asks,
        rejection_count=refusals,
        call_before=counted,
        reason=reason,
    ),
    st.sampled_from(list(CAN)),
    st.booleans(),
    st.sampled_from([ADA, BEN]),
    st.sampled_from([0, 1, LAST - 1, LAST]),
    st.sampled_from([0, 1, 2, LAST - 1, LAST, 99]),
    st.integers(0, 2),
    st.sampled_from([None, "1"]),
    reasons_drawn,
)
rows_drawn = st.integers(1, 3).map(message_rows)
lucks_drawn = st.floats(0, 1, exclude_max=True)


@settings(max_examples=300)
@given(logs_drawn, rows_drawn, errors_drawn, ables_drawn, retries_drawn, st.booleans())
def test_every_end_of_a_call_keeps_the_journal_whole(  # noqa: PLR0917 - the whole product
    log: LogRow,
    rows: list[MessageRow],
    error: ConnectorError,
    capabilities: Capabilities,
    retry: Retry,
    may_recreate: bool,
) -> None:
    check_end(log, rows, error, capabilities, retry, may_recreate=may_recreate)


@settings(max_examples=300)
@given(logs_drawn, rows_drawn, st.sampled_from(Reconciliation), ables_drawn, retries_drawn)
def test_what_is_found_out_keeps_the_journal_whole(
    log: LogRow, rows: list[MessageRow], finding: Reconciliation, capabilities: Capabilities, retry: Retry
) -> None:
    outcome = on_reconciled(log, rows, finding, capabilities, retry)
    check(log, rows, outcome)
    states = {change.state for change in outcome.changes}
    if finding is Reconciliation.NOBODY_KNOWS:
        assert states == {RowState.PARKED}
    if RowState.FAILED in states:
        assert finding is Reconciliation.NOT_THERE, "what may have been done does not fail"
    if RowState.PLANNED in states:
        assert outcome.log.attempt_count <= LAST or failure_reason_of(log.reason) in {
            FailureReason.MISTAKE,
            FailureReason.FAULT,
        }


@settings(max_examples=300)
@given(logs_drawn, rows_drawn, errors_drawn, ables_drawn, retries_drawn, lucks_drawn)
def test_a_question_that_failed_decides_nothing_but_after_a_refusal(  # noqa: PLR0917 - the whole product
    log: LogRow,
    rows: list[MessageRow],
    error: ConnectorError,
    capabilities: Capabilities,
    retry: Retry,
    jitter: float,
) -> None:
    error.body, error.detail = BODY, "HTTP 599"
    outcome = on_reconcile_error(log, rows, error, capabilities, jitter=jitter, retry=retry)
    check(log, rows, outcome)
    if failure_reason_of(log.reason) is not FailureReason.REJECTED:
        assert {change.state for change in outcome.changes} <= OPEN_STATES
    if outcome.wait_ms is not None:
        assert outcome.log.probe_count >= 1


@settings(max_examples=300)
@given(logs_drawn, rows_drawn, st.sampled_from([ServerFault, Interrupted]), lucks_drawn)
def test_what_is_done_is_never_planned(
    log: LogRow, rows: list[MessageRow], fault: type[ServerFault], jitter: float
) -> None:
    error = fault("HTTP 599")
    outcome = on_fault_after_success(log, rows, ACTIVITY, error, jitter=jitter)
    check(log, rows, outcome)
    assert outcome.error is error
    assert {change.state for change in outcome.changes} <= OPEN_STATES
    assert {change.third_party_log_id for change in outcome.changes} == {ACTIVITY}


@settings(max_examples=300)
@given(logs_drawn, rows_drawn, errors_drawn, ables_drawn, st.booleans(), lucks_drawn)
def test_what_is_salvaged_is_planned_only_where_it_is_not_done(  # noqa: PLR0917 - the whole product
    log: LogRow,
    rows: list[MessageRow],
    error: ConnectorError,
    capabilities: Capabilities,
    done: bool,
    jitter: float,
) -> None:
    if done:
        outcome = on_success(log, rows, ACTIVITY, {}, 0)
    else:
        outcome = on_error(log, rows, error, capabilities, may_recreate=True, jitter=jitter)
    outcome = on_save_failure(log, rows, outcome, ServerFault("HTTP 599"), capabilities, jitter)
    check(log, rows, outcome)
    was = {change.id: change.state for change in outcome.changes}
    for change in outcome.changes:
        if was[change.id] in OPEN_STATES | {RowState.LOGGED}:
            assert change.state is RowState.UNKNOWN
        else:
            assert change.state in {RowState.PLANNED, RowState.FAILED}


@given(logs_drawn, rows_drawn)
def test_what_is_done_or_given_up_keeps_the_journal_whole(log: LogRow, rows: list[MessageRow]) -> None:
    check(log, rows, on_too_many_interruptions(log, rows))
    if log.call == "change":
        check(log, rows, on_nothing_to_change(log, rows))
        check(
            log,
            rows[:1],
            on_change_written(log, rows[0], ACTIVITY, entry_hash=b"h", line_hash=None, body_size=0),
        )
        return
    check(log, rows, on_success(log, rows, ACTIVITY, {}, 0))
    check(log, rows, to_unconfirmed(on_success(log, rows, ACTIVITY, {}, 0), log))


@pytest.mark.parametrize("name", list(ERRORS))
def test_a_reason_holds_our_words_and_the_errors_detail(name: str) -> None:
    error = error_of(name)
    error.detail, error.body = "HTTP 599", BODY
    _, outcome = end("create", error, abilities("finds"))
    reason = outcome.changes[0].reason
    assert reason is not None
    assert re.fullmatch(r"[a-z_]+: " + re.escape(error.meaning) + r" \(HTTP 599\)", reason)
    word = failure_reason_of(reason)
    assert word is not None
    assert word is not FailureReason.BEHIND


def test_nothing_given_is_changed() -> None:
    log = log_row("update", attempt_count=1, rejection_count=1, probe_count=1, blocks=b"")
    copy = replace(log)
    for name in ERRORS:
        end("update", error_of(name), abilities())
        on_error(log, message_rows(2), error_of(name), abilities(), may_recreate=True, jitter=LUCK)
    assert log == copy
