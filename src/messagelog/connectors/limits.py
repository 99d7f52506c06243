"""How much a CRM allows: what a connector declares, what an answer's headers tell, and who lets requests pass."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE: Final = 60.0
DAY: Final = 86_400.0

_PREFIXES: Final = ("X-RateLimit-", "RateLimit-", "X-Rate-Limit-")
_NUMBER: Final = re.compile(r"\s*([0-9]{1,15})(?:\.[0-9]*)?(?![0-9])")
_ITEM: Final = re.compile(r";\s*(r|t)\s*=\s*([0-9]{1,15})(?![0-9])", re.ASCII)
_EPOCH: Final = 1_000_000_000  # a reset that is larger than this is a time, not a span
_EPOCH_MS: Final = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many requests in any so many seconds, for all users of a tenant together. Raises `ValueError` for nonsense."""

    requests: int
    seconds: float

    def __post_init__(self) -> None:
        if self.requests < 1:
            raise ValueError("requests: a limit of less than one request lets nothing pass")
        if not 0 < self.seconds <= DAY:
            raise ValueError("seconds: a limit is of more than no time, and of a day at most")


def check_limits(limits: tuple[RateLimit, ...]) -> None:
    """Raises `ValueError` unless there is at most one limit of up to a minute and one of up to a day."""
    if len(limits) > 2 or len({limit.seconds <= MINUTE for limit in limits}) < len(limits):  # noqa: PLR2004 - seconds and day
        raise ValueError("rate_limits: at most one limit of up to a minute, and one of up to a day")


@dataclass(frozen=True, slots=True)
class Left:
    """What a CRM says is left: so many requests within the next seconds. `limit` is how many there were, if told."""

    requests: int
    seconds: float
    limit: int | None = None


class Permit(Protocol):
    """The right to send one request. Of these the first that is called counts: it says how the request ended."""

    @property
    def goes_on(self) -> bool:
        """Whether the request is of a call that has written before, so that it must not be turned away any more."""

    def report_answer(self, status: int, headers: Mapping[str, str]) -> None:
        """The CRM has answered."""

    def report_unsent(self) -> None:
        """There was no connection to send it over."""

    def report_unused(self) -> None:
        """It was not sent after all, for reasons of our own."""

    def report_broken(self) -> None:
        """The connection ended before there was an answer."""

    def report_lost(self) -> None:
        """Nobody knows: it may be under way still."""


class Gate(Protocol):
    """Lets the requests of a tenant pass, at the pace that the CRM allows."""

    async def permit(self, *, writes: bool) -> Permit:
        """Waits until a request may be sent; raises `Paced` when that would take too long. Nothing is sent then."""

    def refused(self, retry_after: float | None) -> None:
        """The CRM asks for patience, in a way that only its connector understands."""


def read_left(headers: Mapping[str, str], *, now: float | None = None) -> Left | None:
    """What the common headers say: `X-RateLimit-Limit`, `-Remaining` and `-Reset`, `RateLimit-*`, or `RateLimit`.

    A reset is a number of seconds, or a time (Unix, in seconds or milliseconds) that `now` is compared with. None
    when they say nothing, or nothing that can be understood.
    """
    for prefix in _PREFIXES:
        left = headers.get(f"{prefix}Remaining")
        if left is not None:
            requests, reset = _number(left), _number(headers.get(f"{prefix}Reset"))
            limit = _number(headers.get(f"{prefix}Limit"))
            return None if requests is None or reset is None else _left(requests, reset, limit, now)
    listed = headers.get("RateLimit")
    if listed is None:
        return None
    told = {name: int(value) for name, value in _ITEM.findall(listed.partition(",")[0])}
    return _left(told["r"], told["t"], None, now) if told.keys() >= {"r", "t"} else None


def _left(requests: int, reset: int, limit: int | None, now: float | None) -> Left | None:
    seconds = float(reset)
    if reset >= _EPOCH:
        at = reset / 1000 if reset >= _EPOCH_MS else reset
        seconds = at - (time.time() if now is None else now)
    return Left(requests, seconds, limit) if 0 < seconds <= DAY else None


def _number(text: str | None) -> int | None:
    """The number that a header begins with; some go on with a policy (`100;w=60`)."""
    found = None if text is None else _NUMBER.match(text)
    return None if found is None else int(found[1])
