"""`messagelog logs …`: an operator's decisions about conversation logs that failed, are parked or wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from messagelog.commands.common import database_url_of, print_line, refuse, run_in_store
from messagelog.commands.identity import current_operator, database_and_sealer
from messagelog.commands.inbox import (
    CauseOption,
    GroupContactOption,
    IdArgument,
    KindOption,
    LogSelector,
    PlatformOption,
    StateOption,
    TenantOption,
    find_log,
)
from messagelog.commands.options import DataOption
from messagelog.core.admin.inbox import DecisionRefused, Inbox, NotThere
from messagelog.messages import BadRequest
from messagelog.storage.records.inbox import InboxFilter
from messagelog.storage.records.journal import LogKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from messagelog.core.admin.inbox_models import Decided
    from messagelog.storage import LogKey, Store

_NOT_IN_CRM = "--not-in-crm"

NotInCrmOption = Annotated[
    bool,
    typer.Option(_NOT_IN_CRM, help="Confirm for what is parked that you have looked, and it is not there."),
]


def retry(
    context: typer.Context,
    id_: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A conversation log's id, or a message's.")
    ] = None,
    *,
    cause: CauseOption = None,
    state: StateOption = None,
    tenant: TenantOption = None,
    platform: PlatformOption = None,
    kind: KindOption = None,
    group_contact: GroupContactOption = None,
    not_in_crm: NotInCrmOption = False,
    data: DataOption = None,
) -> None:
    """Try again what failed, and at once what waits: one conversation log, or all of a cause or state."""
    data = data or context.obj
    if id_ is not None:
        which = LogSelector(id_, tenant, platform, kind, group_contact)
        outcome = _decide(data, which, lambda inbox, key: inbox.retry(key, not_in_crm=not_in_crm))
        _print_outcome(outcome)
    elif cause is None and state is None:
        refuse("Say which: an ID, or all of a --cause or a --state.")
    else:
        _retry_all(data, InboxFilter(tenant, platform, state, cause), not_in_crm=not_in_crm)


def link(
    context: typer.Context,
    id_: IdArgument,
    contact_id: Annotated[str, typer.Argument(metavar="CONTACT", help="The contact's id in the CRM.")],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The contact's name, as the activity will say it.")
    ],
    *,
    type_: Annotated[
        str, typer.Option("--type", help="The contact's type, where the CRM has several.")
    ] = "contact",
    tenant: TenantOption = None,
    platform: PlatformOption = None,
    kind: KindOption = None,
    group_contact: GroupContactOption = None,
    data: DataOption = None,
) -> None:
    """Link a conversation log to another contact, when nothing of it is in the CRM. Nothing is sent: see retry.

    A group's log gets another id. Its texts are sealed for its contact, so this needs the secret key.
    """
    outcome = _decide(
        data or context.obj,
        LogSelector(id_, tenant, platform, kind, group_contact),
        lambda inbox, key: inbox.link(key, contact_id, name, type_),
        moves=True,
    )
    print_line(f"{outcome.conversation_log_id} goes to {name} ({contact_id}) when it is tried again.")


def done(
    context: typer.Context,
    id_: IdArgument,
    *,
    activity: Annotated[
        str | None, typer.Option(help="The activity's id in the CRM: what follows is added there.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Also what was only held back, and never sent.")
    ] = False,
    tenant: TenantOption = None,
    platform: PlatformOption = None,
    kind: KindOption = None,
    group_contact: GroupContactOption = None,
    data: DataOption = None,
) -> None:
    """Mark it as done: the CRM has it. Without an activity, the next message makes a new one."""
    outcome = _decide(
        data or context.obj,
        LogSelector(id_, tenant, platform, kind, group_contact),
        lambda inbox, key: inbox.mark_done(key, activity, everything=everything),
    )
    _print_outcome(outcome)


def _decide(
    data: Path | None,
    which: LogSelector,
    decide: Callable[[Inbox, LogKey], Awaitable[Decided]],
    *,
    moves: bool = False,
) -> Decided:
    """Return the outcome of a decision about a log. If it `moves` a group's log, its texts must be sealed again."""
    database_url = database_url_of(data)
    key = run_in_store(database_url, lambda store: find_log(store, which))
    sealer = database_and_sealer(data)[1] if moves and key.kind is LogKind.GROUP else None
    try:
        return run_in_store(database_url, lambda store: decide(Inbox(store, current_operator(), sealer), key))
    except (BadRequest, DecisionRefused) as error:
        refuse(f"{error}")
    except NotThere:
        refuse(f"There is no conversation log with the id {which.id} any more.")


def _retry_all(data: Path | None, wanted: InboxFilter, *, not_in_crm: bool) -> None:
    from messagelog.commands.progress import progress  # noqa: PLC0415 - Rich takes its time to load

    async def retry_each(store: Store) -> None:
        inbox = Inbox(store, current_operator())
        last = None
        with progress("retried", await inbox.count(wanted)) as advance:
            async for last in inbox.retry_all(wanted, not_in_crm=not_in_crm):
                advance(last.done)
        if last is None:
            print_line("There is nothing to retry.")
            return
        print_line(f"{last.planned} messages of {last.done} conversation logs are tried again.")
        if last.without_text:
            print_line(f"{last.without_text} messages have lost their text: they have to be sent again.")
        if last.refused:
            print_line(f"{last.refused} conversation logs were left alone: look at them one by one.")

    run_in_store(database_url_of(data), retry_each)


def _print_outcome(outcome: Decided) -> None:
    if outcome.logged:
        print_line(f"{outcome.logged} messages count as logged.")
    if outcome.planned:
        print_line(f"{outcome.planned} messages are tried again.")
    if outcome.without_text:
        print_line(f"{outcome.without_text} messages have lost their text: they have to be sent again.")
    if not (outcome.logged or outcome.planned or outcome.without_text):
        print_line("What waits is tried as soon as it may be.")
