"""The scenarios: the kinds of request, and the expected result of each in the CRM."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench import bodies

if TYPE_CHECKING:
    from bench.bodies import Template


class Target(enum.Enum):
    """The conversation of a request."""

    NEW = enum.auto()  # one of its own
    EXISTING = enum.auto()  # one that has an activity
    LOGGED = enum.auto()  # one whose messages are all logged: nothing is left to do


@dataclass(frozen=True)
class Scenario:
    """One kind of request. `answered` is how many ids its answer must name as newly logged."""

    name: str
    title: str
    target: Target
    template: Template
    answered: int


def _conversation(name: str, title: str, target: Target, messages: int) -> Scenario:
    answered = 0 if target is Target.LOGGED else messages
    return Scenario(name, title, target, bodies.conversation(messages), answered)


def _thread(name: str, title: str, target: Target) -> Scenario:
    return Scenario(name, title, target, bodies.thread(), 1 if target is Target.NEW else 0)


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        _conversation("new", "1 new message", Target.NEW, 1),
        _conversation("existing", "1 new message, existing conversation", Target.EXISTING, 1),
        _conversation("twenty", "20 new messages, one call each", Target.NEW, 20),
        _conversation("logged", "100 messages, all logged", Target.LOGGED, 100),
        _thread("thread-new", "new thread of 100 entries", Target.NEW),
        _thread("thread-existing", "1 new entry in a thread of 100", Target.EXISTING),
    )
}

OF_ONE_MESSAGE: Final = ("new", "existing")
"""Scenarios that are repeated with many rows in the databases."""
