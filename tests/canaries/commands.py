"""Every command, with canaries in its settings, its input and its database."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperGroup
from typer.main import get_command

from canaries.locations import OUTPUT, TEXT_OUTPUT
from messagelog.cli import app
from support.cli_process import command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from canaries.locations import Locations
    from canaries.search import Canaries


@dataclass(frozen=True)
class Case:
    """A command's arguments, input and exit code, and the place of its output."""

    arguments: str = ""
    stdin: str = ""
    code: int = 0
    place: str = OUTPUT


_AT: Final = "--tenant acme --platform demo"
CASES: Final[dict[str, Case]] = {
    "migrate": Case(),
    "backup": Case(
        "/dev/null", code=2
    ),  # the file exists already, or PostgreSQL's tools do it; see `locations.backup`
    "restore": Case("/dev/null --yes", code=2),
    "manifest": Case(),
    "preview": Case("-", '{"logInfo": {"x": "{text}"}}', 2),
    "logs": Case(),
    "logs show": Case("'{failed with 400}'"),
    "logs failed": Case(),
    "logs parked": Case(),
    "logs waiting": Case(),
    "logs causes": Case(),
    "logs why": Case("'{failed with 400}' --text", place=TEXT_OUTPUT),
    "logs export": Case("--text", place=TEXT_OUTPUT),
    "logs link": Case("'{failed with 400}' c-2 Omar"),
    "logs retry": Case("'{failed with 400}'"),
    "logs done": Case("'{failed with 404}' --activity a-7"),
    "settings show": Case(_AT),
    "settings load": Case(f"- {_AT}", '{"x": "{text}"}', 2),
    "settings set": Case(f"note 1 {_AT}"),
    "settings hide": Case(f"note {_AT}"),
    "settings unset": Case(f"note {_AT}"),
    "users list": Case(),
    "users sign-out": Case("acme demo u-ada"),
    "tenants list": Case(),
    "tenants move": Case("acme demo crm.test --yes"),
    "operators add": Case("grace --role text", "{operator_password}\n"),
    "operators list": Case(),
    "operators password": Case("grace", "new-{operator_password}\n"),
    "operators roles": Case("grace"),
    "operators end-sessions": Case("grace"),
    "operators remove": Case("grace"),
    "config check": Case(code=2),  # as for `serve`
    "keys list": Case(),
    "keys rotate": Case(),
    "export contact": Case("acme demo --phone {phone}", place=TEXT_OUTPUT),
    "journal show": Case(),
    "erase user": Case("acme oauth-crm u-ada --yes"),
    "erase tenant": Case("acme --yes"),
    "journal new-id": Case("--yes"),
    "audit": Case(),
    "serve": Case(code=2),
}
"""In this order: what is erased was shown earlier. `serve` refuses, since its port is not valid."""

SERVERS: Final = {"demo", "demo-crm"}
"""Commands that serve without users' data."""


def every_command() -> set[str]:
    """Yield all commands, except groups that do nothing themselves."""
    return set(_below(get_command(app), ""))


def _below(found: Any, path: str) -> Iterator[str]:
    if not isinstance(found, TyperGroup) or (path and found.invoke_without_command):
        yield path
    if isinstance(found, TyperGroup):
        for name, each in found.commands.items():
            yield from _below(each, f"{path} {name}".strip())


def run_commands(
    database_url: str, folder: Path, canaries: Canaries, locations: Locations, values: Mapping[str, str]
) -> None:
    """Run all commands, with a setting that makes only `serve` end; then some with a lost database."""
    assert sorted(every_command()) == sorted(CASES.keys() | SERVERS)
    env = {
        "MESSAGELOG_DATABASE_URL": database_url,
        "MESSAGELOG_SECRET_KEY": canaries["secret_key"],
        "MESSAGELOG_OLD_SECRET_KEYS": canaries["old_secret_key"],
        "MESSAGELOG_PUBLIC_URL": "https://messagelog.test/",
        "MESSAGELOG_CONNECTORS": "demo",
        "MESSAGELOG_DEMO_CRM_URL": "https://crm.test/demo-crm",
        "MESSAGELOG_PORT": "-1",
        "MESSAGELOG_METRICS_TOKEN": canaries["metrics_token"],
    }

    def fill(text: str) -> str:
        for name in ("text", "operator_password"):
            text = text.replace(f"{{{name}}}", canaries[name])
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    for name, case in CASES.items():
        arguments = (fill(each) for each in shlex.split(case.arguments))
        done = command(*name.split(), *arguments, env=env, stdin=fill(case.stdin).encode())
        locations.note(case.place, done.out, done.err)
        assert done.code == case.code, f"{name}: {done.out} {done.err}"
    _with_lost_database(env, folder, canaries, locations)


def _with_lost_database(env: dict[str, str], folder: Path, canaries: Canaries, locations: Locations) -> None:
    lost = f"postgresql://someone:{canaries['database_password']}@/none?host={folder}"
    for name in ("migrate", "logs", "keys list"):
        done = command(*name.split(), env={**env, "MESSAGELOG_DATABASE_URL": lost})
        locations.note(OUTPUT, done.out, done.err)
        assert done.code == 2, done.out
