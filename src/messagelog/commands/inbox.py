"""`messagelog logs …`: conversation logs that failed, are parked or wait, with their reasons and details."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from messagelog.commands.common import database_url_of, refuse, run_in_store
from messagelog.commands.identity import current_operator, database_and_sealer
from messagelog.commands.options import DataOption, JsonOption
from messagelog.commands.tables import print_json, print_table, printable_json, report_omitted, time_text
from messagelog.core.admin.inbox import CAUSES, Inbox, NotThere, check_cause
from messagelog.messages import BadRequest
from messagelog.storage import transactions
from messagelog.storage.records.inbox import InboxFilter
from messagelog.storage.records.journal import LogKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.core.admin.inbox_models import FailedCall, InboxEntry, InboxRow
    from messagelog.storage import LogKey, Store

_HEADS: Final = (
    *("conversationLogId", "tenant", "platform", "contact", "state", "rows", "users", "attempts", "nextTry"),
    *("since", "reason"),
)
_CAUSE_HEADS: Final = ("cause", "state", "tenant", "platform", "messages", "logs", "first", "last")
_ROW_HEADS: Final = ("id", "state", "userId", "sentAt", "text", "reason")
_ATTEMPT_HEADS: Final = ("at", "call", "error", "status", "reason", "answer")


class InboxState(StrEnum):
    """The states of the inbox."""

    FAILED = "failed"
    PARKED = "parked"
    WAITING = "waiting"


class LogSelector(NamedTuple):
    """The user's choice of a conversation log: its id or a message's, and options that tell it from others."""

    id: str
    tenant: str | None = None
    platform: str | None = None
    kind: LogKind | None = None
    group_contact: str | None = None

    def matches(self, key: LogKey) -> bool:
        """Whether this log fits the choice."""
        selected = (self.tenant, self.platform, self.kind, self.group_contact)
        found = (key.tenant, key.platform, key.kind, key.group_contact_id)
        return all(each in {None, of_key} for each, of_key in zip(selected, found, strict=True))


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A conversation log's id, or a message's.")]
TenantOption = Annotated[str | None, typer.Option(help="Of this tenant alone.")]
PlatformOption = Annotated[str | None, typer.Option(help="Of this connector alone.")]


def _validate_cause(cause: str | None) -> str | None:
    try:
        return check_cause(cause)
    except BadRequest as error:
        refuse(f"--{error}.")


CauseOption = Annotated[
    str | None,
    typer.Option(
        help="The first word of the reason, such as rejected.",
        callback=_validate_cause,
        autocompletion=lambda: list(CAUSES),
    ),
]
KindOption = Annotated[
    LogKind | None,
    typer.Option(help="Of this kind, where several have the id: a conversation, group or thread."),
]
GroupContactOption = Annotated[
    str | None, typer.Option(help="Of a group, for this contact, where several have the id.")
]
StateOption = Annotated[InboxState | None, typer.Option(help="In this state alone.")]
LimitOption = Annotated[int, typer.Option(min=1, help="How many, the last changed first.")]
TextOption = Annotated[
    bool, typer.Option("--text", help="Show text too. The audit record notes who looked at it.")
]


STATES: Final = {
    InboxState.FAILED: "List what is known not to be in the CRM, and is not tried again by itself.",
    InboxState.PARKED: "List what only a person can tell: whether the CRM has it.",
    InboxState.WAITING: "List what goes on by itself: at its next try, or when its user has signed in.",
}


def list_command(state: InboxState) -> Callable[..., None]:
    """Return the command that lists the logs in a state."""

    def list_logs(  # noqa: PLR0917 - the options of a command
        context: typer.Context,
        tenant: TenantOption = None,
        platform: PlatformOption = None,
        cause: CauseOption = None,
        limit: LimitOption = 50,
        data: DataOption = None,
        *,
        json_: JsonOption = False,
    ) -> None:
        wanted = InboxFilter(tenant, platform, state, cause)

        async def read(store: Store) -> tuple[list[InboxEntry], int]:
            inbox = Inbox(store, current_operator())
            page = await inbox.entries(wanted, limit=limit)
            return page.entries, len(page.entries) if page.next is None else await inbox.count(wanted)

        entries, total = run_in_store(database_url_of(data or context.obj), read)
        if json_:
            print_json(entries)
        else:
            print_table(_HEADS, [_entry_values(entry) for entry in entries])
        report_omitted(len(entries), total)

    return list_logs


def causes(
    context: typer.Context,
    tenant: TenantOption = None,
    data: DataOption = None,
    *,
    json_: JsonOption = False,
) -> None:
    """Count what failed, is parked or waits, by its cause."""
    found = run_in_store(
        database_url_of(data or context.obj), lambda store: Inbox(store, current_operator()).causes(tenant)
    )
    if json_:
        print_json(found)
        return
    print_table(
        _CAUSE_HEADS,
        [
            (
                *(each.cause, each.state, each.tenant, each.platform, str(each.messages), str(each.logs)),
                *(_time(each.first_at), _time(each.last_at)),
            )
            for each in found
        ],
    )


def why(
    context: typer.Context,
    id_: IdArgument,
    *,
    tenant: TenantOption = None,
    platform: PlatformOption = None,
    kind: KindOption = None,
    group_contact: GroupContactOption = None,
    text: TextOption = False,
    json_: JsonOption = False,
    data: DataOption = None,
) -> None:
    """Show which messages of a conversation log are not logged, and the calls that failed."""
    data = data or context.obj
    database_url, sealer = database_and_sealer(data) if text else (database_url_of(data), None)

    async def read(store: Store) -> None:
        key = await find_log(store, LogSelector(id_, tenant, platform, kind, group_contact))
        try:
            details = await Inbox(store, current_operator(), sealer).entry(key, text=text)
        except NotThere:
            refuse(f"There is no conversation log with the id {id_} any more.")
        if json_:
            print_json(details)
            return
        print_table(_HEADS, [_entry_values(details.entry)])
        print_table(_ROW_HEADS, [_row_values(row) for row in details.rows])
        print_table(_ATTEMPT_HEADS, [_attempt_values(attempt) for attempt in details.attempts])

    run_in_store(database_url, read)


def export(
    context: typer.Context,
    *,
    state: StateOption = None,
    tenant: TenantOption = None,
    platform: PlatformOption = None,
    cause: CauseOption = None,
    text: TextOption = False,
    data: DataOption = None,
) -> None:
    """Print all that failed, is parked or waits: a line of JSON for each conversation log."""
    from messagelog.commands.progress import progress  # noqa: PLC0415 - Rich takes its time to load

    data = data or context.obj
    database_url, sealer = database_and_sealer(data) if text else (database_url_of(data), None)
    wanted = InboxFilter(tenant, platform, state, cause)

    async def read(store: Store) -> None:
        inbox = Inbox(store, current_operator(), sealer)
        with progress("exported", await inbox.count(wanted)) as advance:
            done = 0
            async for details in inbox.export(wanted, text=text):
                sys.stdout.buffer.write(f"{printable_json(details)}\n".encode())
                done += 1
                advance(done)

    run_in_store(database_url, read)


async def find_log(store: Store, which: LogSelector) -> LogKey:
    """Return the key of the selected conversation log, or end the command if there is none or more than one."""
    keys = [
        log.key
        for log, _ in await store.read(lambda: transactions.show_logs(which.id))
        if which.matches(log.key)
    ]
    if not keys:
        refuse(f"There is no conversation log or message with the id {which.id}.")
    if len(keys) > 1:
        values_of: dict[str, set[str]] = {
            "--tenant": {key.tenant for key in keys},
            "--platform": {key.platform for key in keys},
            "--kind": {key.kind for key in keys},
            "--group-contact": {key.group_contact_id for key in keys if key.group_contact_id},
        }
        telling = [option for option, values in values_of.items() if len(values) > 1]
        several = "; ".join(
            f"{key.tenant} at {key.platform}, a {key.kind}"
            + (f" for {key.group_contact_id}" if key.group_contact_id else "")
            for key in keys
        )
        refuse(f"Several have this id: say {' and '.join(telling)} ({several}).")
    return keys[0]


def _entry_values(entry: InboxEntry) -> tuple[str, ...]:
    return (
        *(entry.conversation_log_id, entry.tenant, entry.platform),
        f"{entry.contact_name} ({entry.contact_id})",
        entry.state,
        ", ".join(f"{count} {state}" for state, count in sorted(entry.states.items())),
        ", ".join(entry.users),
        str(entry.attempts),
        _time(entry.due_at),
        _time(entry.since),
        entry.reason,
    )


def _row_values(row: InboxRow) -> tuple[str, ...]:
    text = "kept" if row.has_text else "erased"
    if row.text is not None:
        text = printable_json(row.text)
    return row.id, row.state, row.user_id, _time(row.sent_at), text, row.reason or ""


def _attempt_values(attempt: FailedCall) -> tuple[str, ...]:
    status = "" if attempt.status is None else str(attempt.status)
    return _time(attempt.at), attempt.call, attempt.error, status, attempt.reason or "", attempt.body or ""


def _time(at: int | None) -> str:
    return "" if at is None else time_text(at)
