"""One run after the other: the servers take turns, so that a slow time of the machine is the same for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from bench.check import CrmContents, faults
from bench.load import LoadJob, LoadResult
from bench.processes import Failed, busy, resident, usage
from bench.servers import call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.options import Options
    from bench.postgres import Postgres
    from bench.processes import Child
    from bench.servers import Crm, Server

_TRIES: Final = 6
_SLOW: Final = 240.0  # seconds that the preparation of a run may take


@dataclass(frozen=True)
class Spent:
    """Seconds of processor time: of the whole machine, and of these processes."""

    machine: float
    server: float
    database: float
    crm: float

    def __sub__(self, before: Spent) -> Spent:
        return Spent(
            self.machine - before.machine,
            self.server - before.server,
            self.database - before.database,
            self.crm - before.crm,
        )


@dataclass(frozen=True)
class Measurement:
    """The result of one run.

    `processor`, `database` and `others` are seconds of processor time, `memory` is in megabytes.
    """

    server: str
    scenario: str
    rows: int
    result: LoadResult
    processor: float
    database: float
    others: float
    memory: float
    faults: tuple[str, ...]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.result.requests / self.result.seconds

    @property
    def disturbance(self) -> float:
        """How many processors other programs used meanwhile."""
        return max(0.0, self.others) / self.result.seconds


class Bench:
    """The load generator and the CRM, and the measurements with them."""

    def __init__(self, options: Options, load: Child, crm: Crm, postgres: Postgres) -> None:
        self._options = options
        self._load = load
        self._crm = crm
        self._postgres = postgres
        self._number = 1

    def warm_up(self, servers: Sequence[Server]) -> None:
        """Let every server work for a while, to warm up compilers and pools."""
        for server in servers:
            measure = self.measure(server, "new")
            if measure.faults:
                raise Failed(f"{server.name}: {' '.join(measure.faults)}")

    def rounds(self, servers: Sequence[Server]) -> Iterator[Measurement]:
        """Measure all scenarios on all servers, as often as the options say; every run begins with empty tables."""
        for _ in range(self._options.rounds):
            for scenario in self._options.scenarios:
                for server in servers:
                    yield self._measure_undisturbed(server, scenario, rows=0)

    def rounds_with_rows(self, servers: Sequence[Server], scenarios: Sequence[str]) -> Iterator[Measurement]:
        """Measure the same with many rows in the tables, which stay."""
        # All are emptied before any is filled: the two peers share one table.
        for server in servers:
            server.journal.empty()
        for journal in {type(server.journal): server.journal for server in servers}.values():
            journal.fill(self._options.rows)
        for _ in range(self._options.rounds):
            for scenario in scenarios:
                for server in servers:
                    yield self._measure_undisturbed(server, scenario, rows=self._options.rows)

    def _measure_undisturbed(self, server: Server, scenario: str, *, rows: int) -> Measurement:
        """Measure a run, repeatedly if other programs used too much of the machine, and return the least disturbed one.

        A run in which something was wrong is always returned.
        """
        most = self._options.undisturbed
        tries: list[Measurement] = []
        for _ in range(1 if most is None else _TRIES):
            if not rows:
                server.journal.empty()
            tries.append(self.measure(server, scenario, rows=rows))
            if most is None or tries[-1].disturbance <= most or tries[-1].faults:
                return tries[-1]
        return min(tries, key=lambda each: each.disturbance)

    def measure(
        self,
        server: Server,
        scenario: str,
        *,
        rows: int = 0,
        before: Callable[[], None] | None = None,
    ) -> Measurement:
        """Measure one run; `before` is called when the measurement is about to begin."""
        call(self._crm.port, "POST", "/forget", {})
        self._load.say(msgspec.json.encode(self._job(server, scenario, rows)))
        if not self._load.json_line(_SLOW).get("ready"):
            raise Failed("the load generator was not ready")
        if before is not None:
            before()
        began = self._spent(server)
        self._load.say(b"go")
        result = msgspec.convert(self._load.json_line(_SLOW), LoadResult)
        spent = self._spent(server) - began
        self._number = result.next_number
        return Measurement(
            server=server.name,
            scenario=scenario,
            rows=rows,
            result=result,
            processor=spent.server,
            database=spent.database,
            others=spent.machine - spent.server - spent.database - spent.crm - result.processor,
            memory=resident(server.child.pid),
            faults=self._faults(result),
        )

    def _spent(self, server: Server) -> Spent:
        return Spent(
            machine=busy(),
            server=usage(server.child.pid),
            database=self._postgres.usage,
            crm=usage(self._crm.child.pid),
        )

    def _job(self, server: Server, scenario: str, rows: int) -> LoadJob:
        options = self._options
        return LoadJob(
            port=server.port,
            token=server.token,
            scenario=scenario,
            connections=options.connections,
            seconds=options.seconds,
            warm_up=options.warm_up,
            number=self._number,
            rows=rows,
        )

    def _faults(self, result: LoadResult) -> tuple[str, ...]:
        """Return the problems of the answers, and of the CRM's contents."""
        answers = (
            [f"{result.problems} answers were wrong, such as {result.wrong}."] if result.problems else []
        )
        seen = msgspec.convert(call(self._crm.port, "GET", "/seen"), CrmContents)
        return (*answers, *faults(result.sent, seen))
