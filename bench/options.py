"""The options of `make bench ARGS="…"`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUICK: Final = ("new", "existing", "twenty", "logged")


@dataclass(frozen=True)
class Options:
    """One benchmark. Times are in seconds; `profile` names the scenario to profile, if any.

    `undisturbed` is how many processors other programs may use during a run before it is repeated.
    """

    scenarios: tuple[str, ...]
    rounds: int
    seconds: float
    warm_up: float
    connections: int
    rows: int
    databases: tuple[str, ...]
    peer: bool
    profile: str | None
    undisturbed: float | None


def read_options(arguments: Sequence[str]) -> Options:
    """Return the options of a command line; end the process with a text when they are not valid."""
    given = _parser().parse_args(arguments)
    quick = given.quick
    seconds = given.seconds or (1.5 if quick else 4.0)
    scenarios = given.scenarios or (_QUICK if quick else tuple(SCENARIOS))
    return Options(
        scenarios=() if "none" in scenarios else tuple(scenarios),
        rounds=given.rounds or (1 if quick else 3),
        seconds=seconds,
        warm_up=min(1.0, seconds / 3),
        connections=given.connections,
        rows=given.rows,
        databases=("postgres", "sqlite") if given.database == "both" else (given.database,),
        peer=not given.no_peer and given.profile is None,
        profile=given.profile,
        undisturbed=given.undisturbed,
    )


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(SCENARIOS)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="about a minute: four scenarios, one short round")
    add("--seconds", type=_positive, help="how long each run is measured (4, quick: 1.5)")
    add("--rounds", type=int, help="how often all of it is repeated (3, quick: 1)")
    add("--scenarios", type=_scenarios, help=f"with commas, of: {names}; or none")
    add("--connections", type=int, default=16, help="requests under way at a time (16)")
    add("--rows", type=int, default=0, help="then repeat those of one message with so many rows")
    add("--database", choices=("postgres", "sqlite", "both"), default="postgres", help="what ours runs on")
    add("--no-peer", action="store_true", help="only our side")
    add("--undisturbed", type=float, metavar="PROCESSORS", help="repeat runs in which others used more")
    add("--profile", nargs="?", const="new", choices=tuple(SCENARIOS), help="profile ours in a scenario")
    return parser


def _scenarios(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in {*SCENARIOS, "none"}]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
    return names


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("expected a number of seconds above zero")
    return value
