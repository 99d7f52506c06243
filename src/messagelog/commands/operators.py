"""`messagelog operators`: the accounts of the people who run the server."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from messagelog.commands.common import database_url_of, print_line, refuse, run_in_store
from messagelog.commands.identity import current_operator
from messagelog.commands.options import DataOption, JsonOption
from messagelog.commands.tables import print_json, print_table, time_text
from messagelog.core.operators.accounts import Operators, OperatorTaken, OperatorUnknown, Role, check_name
from messagelog.core.operators.passwords import Passwords, check_password
from messagelog.messages import BadRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from messagelog.storage import OperatorRow, Store

operators_app = typer.Typer(
    help="Manage the accounts of the people who run the server, their roles and sessions.",
    no_args_is_help=True,
)

_HEADS: Final = ("name", "roles", "sessions", "createdAt")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The operator's name.")]
RoleOption = Annotated[
    list[Role] | None, typer.Option("--role", help="What they may do; once for each role, none: see states.")
]


@operators_app.command("list")
def list_operators(*, json_: JsonOption = False, data: DataOption = None) -> None:
    """List the accounts, with their roles and the number of their sessions."""
    rows: list[OperatorRow] = _with_operators(data, Operators.all)
    if json_:
        print_json(
            [
                {
                    "name": row.name,
                    "roles": row.roles.split(),
                    "sessions": row.sessions,
                    "createdAt": row.created_at,
                }
                for row in rows
            ]
        )
    else:
        lines = [(row.name, row.roles, str(row.sessions), time_text(row.created_at)) for row in rows]
        print_table(_HEADS, lines)


@operators_app.command("add")
def add(name: NameArgument, role: RoleOption = None, data: DataOption = None) -> None:
    """Add an account. The password is asked for, or read from a pipe."""
    password = _ask_password(name)
    _with_operators(data, lambda operators: operators.add(current_operator(), name, password, role or ()))
    print_line(f"{name.lower()} can sign in.")


@operators_app.command("password")
def change_password(name: NameArgument, data: DataOption = None) -> None:
    """Change a password, and end all sessions of the account. The new one is asked for, or read from a pipe."""
    password = _ask_password(name)
    _with_operators(data, lambda operators: operators.change_password(current_operator(), name, password))
    print_line(f"{name.lower()} has a new password, and has to sign in again.")


@operators_app.command("roles")
def change_roles(name: NameArgument, role: RoleOption = None, data: DataOption = None) -> None:
    """Give an account these roles and no others, at once."""
    _with_operators(data, lambda operators: operators.change_roles(current_operator(), name, role or ()))
    print_line(f"{name.lower()} has the roles: {' '.join(sorted(set(role or ()))) or 'none'}.")


@operators_app.command("remove")
def remove(name: NameArgument, data: DataOption = None) -> None:
    """Remove an account and end its sessions. Its audit records stay."""
    _with_operators(data, lambda operators: operators.remove(current_operator(), name))
    print_line(f"{name.lower()} is removed.")


@operators_app.command("end-sessions")
def end_sessions(name: NameArgument, data: DataOption = None) -> None:
    """End all sessions of an account, at once."""
    count = _with_operators(data, lambda operators: operators.end_sessions(current_operator(), name))
    print_line(f"{count} sessions of {name.lower()} have ended.")


def _ask_password(name: str) -> str:
    """Read a new password: twice from the terminal without an echo, or the first line of a pipe.

    It is never an argument, which others on the machine could read.
    """
    try:
        lower = check_name(name)
        if sys.stdin.isatty():
            password = getpass.getpass("Password: ")
            check_password(lower, password)
            if getpass.getpass("The same again: ") != password:
                refuse("The two are not the same.")
        else:
            password = sys.stdin.readline().rstrip("\r\n")
            check_password(lower, password)
    except BadRequest as error:
        refuse(f"{error}.")
    return password


def _with_operators(data: Path | None, work: Callable[[Operators], Awaitable[Any]]) -> Any:
    async def run(store: Store) -> Any:
        passwords = Passwords()
        try:
            return await work(Operators(store, passwords))
        finally:
            passwords.close()

    try:
        return run_in_store(database_url_of(data), run)
    except BadRequest as error:
        refuse(f"{error}.")
    except OperatorTaken as error:
        refuse(f"There is an operator {error} already.")
    except OperatorUnknown as error:
        refuse(f"There is no operator {error}.")
