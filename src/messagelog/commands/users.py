"""`messagelog users`: who has signed in, and the end of sessions."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Final

import typer

from messagelog.commands.common import database_url_of, print_line, refuse, run_in_store
from messagelog.commands.options import DataOption, JsonOption
from messagelog.commands.tables import print_json, print_table, time_text
from messagelog.storage import transactions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from messagelog.storage import Store, UserSummary

users_app = typer.Typer(help="List users, and end their sessions.", no_args_is_help=True)

_BATCH: Final = 200
_HEADS: Final = ("tenant", "platform", "id", "name", "connected", "updatedAt", "hostname")

_Key = tuple[str, str, str]


@users_app.command("list")
def list_users(
    tenant: Annotated[str | None, typer.Argument(help="One tenant's alone; all when it is left out.")] = None,
    *,
    json_: JsonOption = False,
    data: DataOption = None,
) -> None:
    """List users in the order of their ids; those who are not connected have to sign in again."""

    async def fetch(store: Store) -> list[UserSummary]:
        return [user async for users in _batches(store, tenant) for user in users]

    users = run_in_store(database_url_of(data), fetch)
    if json_:
        print_json(users)
    else:
        lines = [
            (
                *(user.tenant, user.platform, user.id, user.name, "yes" if user.connected else "no"),
                *(time_text(user.updated_at), user.hostname),
            )
            for user in users
        ]
        print_table(_HEADS, lines)


@users_app.command("sign-out")
def sign_out(
    whose: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TENANT PLATFORM ID]", help="One user, as `list` shows them."),
    ] = None,
    *,
    tenant: Annotated[str | None, typer.Option(help="All users of a tenant.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All users of all tenants.")] = False,
    forget: Annotated[bool, typer.Option(help="Delete their credentials as well.")] = False,
    data: DataOption = None,
) -> None:
    """End sessions: no earlier session token is valid any more, in any browser."""
    if [bool(whose), tenant is not None, everybody].count(True) != 1:
        refuse("Name one user by TENANT PLATFORM ID, or else --tenant TENANT, or else --all.")
    session_id = uuid.uuid4().hex
    database_url = database_url_of(data)
    if whose:
        try:
            tenant, platform, id_ = whose
        except ValueError:
            refuse("Name a user by three: TENANT PLATFORM ID.")
        key = (tenant, platform, id_)
        count = run_in_store(
            database_url, lambda store: _end_sessions(store, [key], session_id, forget=forget)
        )
        if not count:
            refuse(f"There is no user {id_} of {tenant} at {platform}.")
    else:
        count = run_in_store(
            database_url, lambda store: _end_all_sessions(store, tenant, session_id, forget=forget)
        )
    print_line(f"The sessions of {count} users have ended.")


async def _batches(store: Store, tenant: str | None) -> AsyncIterator[list[UserSummary]]:
    """Yield all users of one tenant, or of all, a batch at a time."""
    last: UserSummary | None = None
    while users := await _fetch_batch(store, tenant, last):
        yield users
        last = users[-1]


async def _fetch_batch(store: Store, tenant: str | None, last: UserSummary | None) -> list[UserSummary]:
    return await store.read(lambda: transactions.list_users(tenant, last, limit=_BATCH))


async def _end_all_sessions(store: Store, tenant: str | None, session_id: str, *, forget: bool) -> int:
    count = 0
    async for users in _batches(store, tenant):
        keys = [(user.tenant, user.platform, user.id) for user in users]
        count += await _end_sessions(store, keys, session_id, forget=forget)
    return count


async def _end_sessions(store: Store, keys: list[_Key], session_id: str, *, forget: bool) -> int:
    return await store.write(lambda: transactions.end_sessions(keys, session_id=session_id, forget=forget))
