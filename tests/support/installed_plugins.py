"""Plugins as an installed package might have them, good ones and bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from messagelog.plugins import Plugin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.messages import LogRequest
    from messagelog.plugins import RequestContext


class One(Plugin):
    name = "one"

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__({})
        self.settings = settings

    async def on_request(self, context: RequestContext, request: LogRequest) -> LogRequest:
        return request


class OneTwo(One):
    name = "one-two"


class Picky(One):
    name = "picky"

    def __init__(self, settings: Mapping[str, str]) -> None:
        Plugin.__init__(self, settings)


class Failing(One):
    name = "failing"

    def __init__(self, settings: Mapping[str, str]) -> None:
        raise RuntimeError(f"cannot work with {dict(settings)}")


class Endless(One):
    name = "endless"
    seconds = float("inf")


class Hasty(One):
    name = "hasty"
    seconds = 0.0


class Abstract(Plugin):
    name = "abstract"


def function(_settings: Any) -> str:
    return "no plugin"
