"""How much a CRM allows: what a connector declares, what the headers of answers say, and the gate of requests."""

from __future__ import annotations

import enum
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
    """At most `requests` in any `seconds`, for all users of a tenant together. Raises `ValueError` for nonsense."""

    requests: int
    seconds: float

    def __post_init__(self) -> None:
        if self.requests < 1:
            raise ValueError("requests: a limit of less than one request lets nothing pass")
        if not 0 < self.seconds <= DAY:
            raise ValueError("seconds: a limit is of more than no time, and of a day at most")


def check_limits(limits: tuple[RateLimit, ...]) -> None:
    """Raise `ValueError` unless there is at most one limit of up to a minute and one of up to a day."""
    if len(limits) > 2 or len({limit.seconds <= MINUTE for limit in limits}) < len(limits):  # noqa: PLR2004 - seconds and day
        raise ValueError("rate_limits: at most one limit of up to a minute, and one of up to a day")


@dataclass(frozen=True, slots=True)
class Left:
    """What a CRM says is left: so many requests within the next seconds. `limit` is how many there were, if told."""

    requests: int
    seconds: float
    limit: int | None = None


class RequestEnd(enum.Enum):
    """How a request ended."""

    ANSWERED = enum.auto()
    UNSENT = enum.auto()  # there was no connection to send it over
    UNUSED = enum.auto()  # it was not sent, for reasons of our own
    BROKEN = enum.auto()  # the connection ended before there was an answer
    LOST = enum.auto()  # unknown: it may still be under way


class Permit(Protocol):
    """The right to send one request."""

    @property
    def goes_on(self) -> bool:
        """Whether the request belongs to a call that has written before, so that it must not be turned away."""

    def finish(
        self, end: RequestEnd, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """Report how the request ended, with the status and headers of an answer. Only the first report counts."""


class Gate(Protocol):
    """Lets the requests of a tenant pass, at the pace that the CRM allows."""

    async def permit(self, *, writes: bool) -> Permit:
        """Wait until a request may be sent. Raise `Throttled` if that would take too long; nothing is sent then."""

    def hold_back(self, retry_after: float | None) -> None:
        """Hold back further requests for `retry_after` seconds: the CRM has asked for patience in its own way."""


class CountingGate:
    """A gate and permit that let everything pass, and count it in `requests`.

    It is for requests whose tenant is not known yet, and for a client of one tenant alone.
    """

    goes_on = False

    def __init__(self) -> None:
        self.requests = 0

    async def permit(self, *, writes: bool) -> CountingGate:  # noqa: ARG002 - a request is a request
        """Let a request pass."""
        self.requests += 1
        return self

    def hold_back(self, retry_after: float | None) -> None:
        """Do nothing: there is no tenant yet that could wait."""

    def finish(
        self,
        end: RequestEnd,
        status: int | None = None,  # noqa: ARG002 - an answer is an answer
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 - as above
    ) -> None:
        """Take back a request that did not reach the CRM."""
        self.requests -= end in {RequestEnd.UNSENT, RequestEnd.UNUSED}


def read_left(headers: Mapping[str, str], *, now: float | None = None) -> Left | None:
    """Read the common headers: `X-RateLimit-Limit`, `-Remaining` and `-Reset`, `RateLimit-*`, or `RateLimit`.

    A reset is a number of seconds, or a time (Unix, in seconds or milliseconds) that is compared with `now`. Return
    None if they say nothing, or nothing that can be understood.
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
    """Return the number that a header begins with; some go on with a policy (`100;w=60`)."""
    found = None if text is None else _NUMBER.match(text)
    return None if found is None else int(found[1])
