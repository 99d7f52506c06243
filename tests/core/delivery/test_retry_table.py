"""The table of docs/reference/retries.md, cell by cell, at a real runtime."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from docs.pages import DOCS, code, table
from messagelog import connectors
from messagelog.connectors import ConnectorError, Credentials, OutcomeUnknown, RateLimited, Rejected
from messagelog.core import Times
from messagelog.core.delivery import backoff
from support.live_server import SQLITE_ONLY
from support.memory_crm import Call, Crm, Finding
from support.requests import body, message
from support.runtime_fixture import RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from messagelog.connectors import Contact, Session
    from messagelog.core import Answer

PAGE = DOCS / "reference" / "retries.md"
BRISK = Times(answer=0.3, call=5.0, lease=60.0)
ASKED = 7
LUCK = 0.5
ASKING = {"find", "read"}
WAITS = {"table": 1_000, "asked": 8_000, "settle": 5_000}

CELLS = [
    pytest.param(operation, row[1].strip("`"), *row[2:], id=f"{operation}-{row[1]}")
    for row in table(PAGE, "What each error leads to")
    for operation in code(row[0])
]


class Clock:
    """The database's clock, in a test's hands."""

    now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


class Failing(Finding):
    """A CRM that fails at one operation, in one way."""

    settle_seconds = 5.0

    def __init__(self, crm: Crm) -> None:
        super().__init__(crm)
        self.operation = ""
        self.error: Exception | None = None
        self.once = False

    def fails(self, call: Call) -> ConnectorError | None:
        if call.kind == self.operation:
            self.fail()
        return None

    def fail(self) -> NoReturn:
        assert self.error is not None
        if self.once:
            self.operation = ""
        raise self.error

    def auth_headers(self, credentials: Credentials) -> dict[str, str]:
        if self.operation == "session":
            self.fail()
        return super().auth_headers(credentials)

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        if self.operation == "contact":
            self.fail()
        return await super().find_contact(session, phone_number)


def error_of(name: str) -> Exception:
    """The error that a row of the table names."""
    if name == "RateLimited":
        return RateLimited(retry_after=ASKED)
    if name == "HTTP 403":
        return Rejected("HTTP 403", status=403)
    return RuntimeError("a slip") if name == "anything else" else getattr(connectors, name)()


async def prepared(here: RuntimeFixture, clock: Clock, operation: str) -> str:
    """Everything that comes before the operation; the id of the message that it is about."""
    if operation in {"update", "read"}:
        await here.send(body(message(1)))
    if operation in ASKING:
        here.crm.after = lambda call: OutcomeUnknown() if call.kind in {"create", "update"} else None
        await here.send(asked(operation))
        await here.runtime.idle()
        here.crm.after = None
        clock.now += 5_001
    if operation == "session":
        user = await here.user()
        here.context.users.invalidate(user.tenant, user.platform, user.id)
    return "2" if operation in {"update", "read"} else "1"


def asked(operation: str) -> dict[str, Any]:
    if operation == "contact":
        return body(message(1), contact="createNewContact")
    return body(message(1), message(2)) if operation in {"update", "read"} else body(message(1))


@SQLITE_ONLY
@pytest.mark.parametrize(("operation", "error", "state", "reason", "next_try", "words"), CELLS)
async def test_each_cell_is_as_told(
    database_url: str, *, operation: str, error: str, state: str, reason: str, next_try: str, words: str
) -> None:
    clock, crm = Clock(), Crm()
    failing = Failing(crm)
    async with runtime_fixture(
        database_url, lambda _: failing, crm=crm, clock=clock, settings=BRISK, jitter=lambda: LUCK
    ) as here:
        await here.user()
        id_ = await prepared(here, clock, operation)
        failing.operation, failing.error, crm.before = operation, error_of(error), failing.fails
        failing.once = "anew" in next_try  # the new activity is there
        sending = swept_and_sent(here, operation) if operation in ASKING else here.send(asked(operation))
        answer = await sending
        assert words in re.sub(r" \([^)]*\)", "", answer.return_message.message)
        rows = await here.rows()
        if state == "none":
            assert not rows
            assert not answer.successful
            return
        assert answer.successful is (state != "`failed`")
        assert rows[id_].state == state.strip("`")
        assert (rows[id_].reason or "").partition(":")[0] == reason.strip("`")
        (log,) = await here.logs()
        due_in = None if log.due_at is None else log.due_at - clock.now
        assert due_in == WAITS.get(next_try.strip("`"))
        await over(here, failing, clock, signs_in="sign_in" in reason)
        if error == "HTTP 403":
            assert (await here.states())[id_] == "failed"
        elif state != "`failed`":
            assert set((await here.states()).values()) == {"logged"}
            newest = list(crm.activities.values())[-1]
            assert newest.body.count(f"text {id_}") == 1


async def swept_and_sent(here: RuntimeFixture, operation: str) -> Answer:
    """The CRM is asked what became of the call; then the client sends its request again."""
    await here.runtime.sweep()
    await here.runtime.idle()
    return await here.send(asked(operation))


async def over(here: RuntimeFixture, failing: Failing, clock: Clock, *, signs_in: bool) -> None:
    """The trouble is over, and what was left goes on by itself."""
    failing.operation = ""
    if signs_in:
        here.users.clear()
        await here.user()
    else:
        clock.now += 60_000
    for _ in range(2):
        await here.runtime.sweep()
        await here.runtime.idle()
        clock.now += 60_000


def test_every_error_is_there_for_every_operation() -> None:
    errors = {
        name
        for name, value in vars(connectors).items()
        if isinstance(value, type) and issubclass(value, ConnectorError) and value is not ConnectorError
    } | {"anything else"}
    found = {(cell.values[0], cell.values[1]) for cell in CELLS}
    assert {
        (operation, error) for operation in ("create", "update", "find", "read") for error in errors
    } <= found


def test_the_table_of_waits_is_as_told() -> None:
    seconds = {"s": 1, "min": 60, "h": 3600}
    told: list[int] = []
    for tries, wait in table(PAGE, "The table of waits"):
        first, _, last = tries.partition(" to ")
        number, unit = wait.split()
        told += [int(number) * seconds[unit]] * (int(last or first) - int(first) + 1)
    assert tuple(told) == backoff.STEPS
    assert 5.5 < sum(told) / 86_400 < 6.5
