"""The load generator: a process of its own that keeps several requests under way, each on its own connection.

It reads jobs as lines of JSON and answers each with two: `{"ready": true}` once everything is prepared and warm, and
the result after another line from its caller, who reads the servers' processor times in between.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import uvloop

from bench.bodies import FIRST_CONVERSATION, FIRST_MESSAGE
from bench.rows import old_conversation
from bench.scenarios import SCENARIOS, Target
from bench.wire import NoLength, take

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.scenarios import Scenario

_PATIENCE: Final = 60.0  # seconds without any answer, after which a run is stopped
_PREPARED: Final = {Target.EXISTING: 64, Target.LOGGED: 16}  # conversations made before the measurement
_STRIDE: Final = 7_919  # a prime: conversations that follow each other are far apart in the table
_SAMPLES: Final = 3  # wrong answers that are printed


class LoadJob(msgspec.Struct, frozen=True):
    """One run: `number` is that of the next message and, from another start, conversation; none is used twice.

    `rows` is how many were filled in earlier.
    """

    port: int
    token: str
    scenario: str
    connections: int
    seconds: float
    warm_up: float
    number: int
    rows: int = 0


class LoadResult(msgspec.Struct, frozen=True):
    """The result of a run.

    `sent` has conversation, first message and number of messages of every request with new messages, also those of the
    preparation and the warm-up; `wrong` are samples of the `problems` answers that were not as expected. Times are in
    seconds.
    """

    requests: int
    seconds: float
    median: float
    slowest_hundredth: float
    processor: float
    problems: int
    wrong: list[str]
    sent: list[tuple[int, int, int]]
    next_number: int


class _Answer(msgspec.Struct):
    successful: bool
    log_ids: list[str] = msgspec.field(name="logIds", default_factory=list)


_ANSWER: Final = msgspec.json.Decoder(_Answer)


class SentMessages:
    """All requests of a run, and the problems of their answers."""

    def __init__(self, number: int) -> None:
        self.numbers = itertools.count(number)
        self.sent: list[tuple[int, int, int]] = []
        self.problems = 0
        self.wrong: list[str] = []

    def conversation(self) -> int:
        """Return the number of a new conversation."""
        return FIRST_CONVERSATION + next(self.numbers)

    def fill(self, scenario: Scenario, conversation: int) -> bytes:
        """Return a body with new messages of this conversation, and record them as sent."""
        count = scenario.template.messages
        first = FIRST_MESSAGE + next(self.numbers)
        for _ in range(count - 1):
            next(self.numbers)
        self.sent.append((conversation, first, count))
        return scenario.template.fill(conversation, first)

    def check(self, head: bytes, body: bytes, answered: int) -> None:
        """Check an answer."""
        try:
            answer = _ANSWER.decode(body)
            good = b" 200 " in head[:16] and answer.successful and len(answer.log_ids) == answered
        except msgspec.DecodeError:
            good = False
        if not good:
            self.problem(f"{head[:16].decode('latin-1')} {body[:300].decode(errors='replace')}")

    def problem(self, text: str) -> None:
        """Record a problem."""
        self.problems += 1
        if len(self.wrong) < _SAMPLES:
            self.wrong.append(text)


class Connection(asyncio.Protocol):
    """One connection, with one request under way at a time."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Take the answer, and send the next request."""
        self._buffer += data
        try:
            message = take(self._buffer)
        except NoLength as error:
            self._phase.on_broken(f"an answer without a length: {error}")
            return
        if message is not None:
            self._phase.on_answer(self._began, *message)
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the run: a server has closed the connection."""
        self._phase.on_broken(f"the connection was lost ({exc})")

    def _next(self) -> None:
        request = self._phase.request()
        if request is None or self._transport is None:
            self._phase.on_idle()
            return
        self._began = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


class Phase:
    """A phase of a run: requests on all connections, until there are none left or the time is over."""

    def __init__(
        self, sent_messages: SentMessages, requests: Iterator[bytes], answered: int, seconds: float
    ) -> None:
        self._sent_messages = sent_messages
        self._requests = requests
        self._answered = answered
        self._seconds = seconds
        self._open = 0
        self._until = 0.0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.began = self.last = 0.0

    async def run(self, port: int, connections: int) -> None:
        """Keep a request under way on each connection, until all are answered."""
        loop = asyncio.get_running_loop()
        self._open = connections
        self.began = self.last = time.perf_counter()
        self._until = self.began + self._seconds
        opened = [
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
            for _ in range(connections)
        ]
        try:
            while not self._done.done():
                seen = len(self.latencies)
                await asyncio.wait([self._done], timeout=_PATIENCE)
                if len(self.latencies) == seen and not self._done.done():
                    self.on_broken(f"no answer within {_PATIENCE:g} s")
        finally:
            self._open = 0
            for _, connection in opened:
                connection.close()

    def request(self) -> bytes | None:
        """Return the next request; None when this phase is over."""
        return None if time.perf_counter() >= self._until else next(self._requests, None)

    def on_answer(self, began: float, head: bytes, body: bytes) -> None:
        """Record the time of an answer, and check it."""
        self.last = time.perf_counter()
        self.latencies.append(self.last - began)
        self._sent_messages.check(head, body, self._answered)

    def on_idle(self) -> None:
        """Count a connection as idle."""
        self._open -= 1
        if self._open == 0 and not self._done.done():
            self._done.set_result(None)

    def on_broken(self, why: str) -> None:
        """End the run with the error of a connection."""
        if self._open and not self._done.done():
            self._sent_messages.problem(why)
            self._done.set_result(None)


class Run:
    """One job: what it sends, phase by phase."""

    def __init__(self, job: LoadJob) -> None:
        self._job = job
        self._scenario = SCENARIOS[job.scenario]
        self._sent_messages = SentMessages(job.number)
        self._head = (
            f"POST /messageLog HTTP/1.1\r\nHost: 127.0.0.1:{job.port}\r\nAuthorization: Bearer {job.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )

    async def prepare(self) -> Iterator[bytes]:
        """Make the conversations that must exist, and return the requests of the other phases."""
        scenario, sent_messages = self._scenario, self._sent_messages
        if scenario.target is Target.NEW:
            return self._requests(sent_messages.conversation() for _ in itertools.count())
        if scenario.target is Target.EXISTING and self._job.rows:
            return self._requests(self._old_conversations())
        conversations = [sent_messages.conversation() for _ in range(_PREPARED[scenario.target])]
        bodies = [sent_messages.fill(scenario, conversation) for conversation in conversations]
        making = Phase(sent_messages, map(self._request, bodies), _id_count(scenario), _PATIENCE)
        await making.run(self._job.port, min(4, len(bodies)))
        if scenario.target is Target.LOGGED:
            return itertools.cycle(map(self._request, bodies))
        # A conversation waits while others have their turn, so that two requests for it do not meet.
        return self._requests(itertools.cycle(conversations))

    def _old_conversations(self) -> Iterator[int]:
        """Yield conversations of rows that were filled in, from all parts of the table, each once."""
        seen = set()
        for row in range(self._job.number, self._job.number + self._job.rows):
            conversation = old_conversation(row * _STRIDE % self._job.rows + 1, self._job.rows)
            if conversation not in seen:
                seen.add(conversation)
                yield conversation

    def _requests(self, conversations: Iterable[int]) -> Iterator[bytes]:
        """Yield requests with new messages of these conversations, one for each."""
        return (self._request(self._sent_messages.fill(self._scenario, each)) for each in conversations)

    async def phase(self, requests: Iterator[bytes], seconds: float) -> Phase:
        """Send requests for this many seconds."""
        phase = Phase(self._sent_messages, requests, self._scenario.answered, seconds)
        if not self._sent_messages.problems:
            await phase.run(self._job.port, self._job.connections)
        return phase

    def result(self, phase: Phase, processor: float) -> LoadResult:
        """Return the result of the measured phase."""
        latencies = sorted(phase.latencies) or [0.0]
        return LoadResult(
            requests=len(phase.latencies),
            seconds=max(phase.last - phase.began, 1e-9),
            median=latencies[len(latencies) // 2],
            slowest_hundredth=latencies[len(latencies) * 99 // 100],
            processor=processor,
            problems=self._sent_messages.problems,
            wrong=self._sent_messages.wrong,
            sent=self._sent_messages.sent,
            next_number=next(self._sent_messages.numbers),
        )

    def _request(self, body: bytes) -> bytes:
        return (self._head % len(body)).encode() + body


def _id_count(scenario: Scenario) -> int:
    """Return how many ids the answer for a new conversation must name: for a thread, only its own."""
    return scenario.template.messages


async def _run_job(job: LoadJob) -> LoadResult:
    run = Run(job)
    requests = await run.prepare()
    await run.phase(requests, job.warm_up)
    _say({"ready": True})
    sys.stdin.readline()
    began = time.process_time()
    phase = await run.phase(requests, job.seconds)
    return run.result(phase, time.process_time() - began)


def _say(told: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.flush()


def main() -> None:
    """Run jobs until the input ends."""
    while line := sys.stdin.readline():
        _say(uvloop.run(_run_job(msgspec.json.decode(line, type=LoadJob))))


if __name__ == "__main__":
    main()
