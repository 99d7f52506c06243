"""`python -m bench`: start everything, measure, print the results, and end everything.

It exits with 1 when a check fails.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec
from rich.console import Console

from bench import profile, report
from bench.journals import PostgresJournal, SqliteJournal
from bench.options import read_options
from bench.postgres import running_postgres
from bench.processes import CACHE, Failed
from bench.run import Bench, Measurement
from bench.sampler import Sampled
from bench.scenarios import OF_ONE_MESSAGE
from bench.servers import (
    OURS,
    OURS_SQLITE,
    install_peer,
    start_crm,
    start_load,
    start_ours,
    start_peer,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.options import Options
    from bench.postgres import Postgres
    from bench.servers import Crm, Server

_WIDE: Final = 250


def main() -> int:
    """Run the benchmark of the command line, and return the exit code."""
    options = read_options(sys.argv[1:])
    # In a file or a pipe, tables are not wrapped to fit a screen.
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, markup=False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit_on_signal)
    try:
        with ExitStack() as stack:
            work = _profile if options.profile else _compare
            faults = work(options, console, stack)
    except Failed as error:
        console.print(f"The benchmark could not go on: {error}")
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    for fault in faults:
        console.print(f"WRONG: {fault}")
    return 1 if faults else 0


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    """Exit through every `finally`, so that no process is left behind."""
    sys.exit(128 + number)


def _compare(options: Options, console: Console, stack: ExitStack) -> list[str]:
    """Measure all servers in turn; return what was wrong."""
    console.print(f"Load of this machine before: {_load()}, of {os.cpu_count()} processors.")
    peer = _peer(options, console)
    postgres = stack.enter_context(running_postgres())
    crm = start_crm(stack)
    load = start_load(stack)
    servers: list[Server] = []
    if peer is not None:
        servers += [start_peer(stack, peer, crm, postgres, mended=mended) for mended in (False, True)]
    servers += _ours(options, stack, crm, postgres)
    bench = Bench(options, load, crm, postgres)
    bench.warm_up(servers)
    done = _print_each(console, bench.rounds(servers))
    if options.rows:
        console.print(f"Filling the tables with {options.rows:,} rows …")
        done += _print_each(console, bench.rounds_with_rows(servers, OF_ONE_MESSAGE))
    for table in report.Results(done).tables():
        console.print(table)
    console.print(report.others(done))
    return [f"{report.line(each)}" for each in done if each.faults]


def _print_each(console: Console, measurements: Iterable[Measurement]) -> list[Measurement]:
    done = []
    for measurement in measurements:
        console.print(report.line(measurement), soft_wrap=True)
        done.append(measurement)
    return done


def _peer(options: Options, console: Console) -> Path | None:
    """Return the peer's packages; None when it is skipped, or there is no Node."""
    if not options.peer:
        return None
    try:
        console.print("Looking for the peer's packages (from npm at the first time) …")
        return install_peer()
    except Failed as error:
        console.print(f"Only our side is measured: {error}")
        return None


def _ours(options: Options, stack: ExitStack, crm: Crm, postgres: Postgres) -> list[Server]:
    servers = []
    if "postgres" in options.databases:
        servers.append(start_ours(stack, OURS, crm, PostgresJournal(postgres)))
    if "sqlite" in options.databases:
        servers.append(start_ours(stack, OURS_SQLITE, crm, _sqlite(stack)))
    return servers


def _sqlite(stack: ExitStack) -> SqliteJournal:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mlbench-"))
    return SqliteJournal(Path(folder) / "journal.sqlite")


def _profile(options: Options, console: Console, stack: ExitStack) -> list[str]:
    """Sample our server during one scenario; return what was wrong."""
    profile_file = CACHE / "profile.json"
    profile_file.unlink(missing_ok=True)
    postgres = stack.enter_context(running_postgres())
    crm = start_crm(stack)
    load = start_load(stack)
    journal = PostgresJournal(postgres) if "postgres" in options.databases else _sqlite(stack)
    server = start_ours(stack, OURS, crm, journal, profile=profile_file)
    bench = Bench(options, load, crm, postgres)
    scenario = options.profile or "new"
    measure = bench.measure(server, scenario, before=lambda: server.child.signal(signal.SIGUSR1))
    server.child.signal(signal.SIGUSR2)
    server.child.end()
    console.print(report.line(measure))
    sampled = msgspec.json.decode(profile_file.read_bytes(), type=Sampled)
    for table in profile.tables(sampled, measure.result.requests, measure.processor):
        console.print(table)
    return list(measure.faults)


def _load() -> str:
    return ", ".join(f"{each:.2f}" for each in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main())
