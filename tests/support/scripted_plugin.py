"""A plugin that does what a test tells it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from messagelog.plugins import ContactForm, Plugin, RequestContext

if TYPE_CHECKING:
    from messagelog.messages import LogRequest

Does = Callable[[Any], Any]


class ScriptedPlugin(Plugin):
    """Answers what `does` makes of the request or the form of a new contact; a coroutine is awaited."""

    name = "told"

    def __init__(
        self, does: Does, *, name: str = "told", seconds: float = 5.0, required: bool = False
    ) -> None:
        super().__init__({})
        self.__dict__.update(name=name, seconds=seconds, required=required)
        self.does = does
        self.saw: list[tuple[RequestContext, LogRequest]] = []
        self.saw_contacts: list[tuple[RequestContext, ContactForm]] = []

    async def on_request(self, context: RequestContext, request: LogRequest) -> LogRequest:
        self.saw.append((context, request))
        answer = self.does(request)
        answered: LogRequest = await answer if isinstance(answer, Awaitable) else answer
        return answered

    async def on_contact(self, context: RequestContext, form: ContactForm) -> ContactForm:
        self.saw_contacts.append((context, form))
        answer = self.does(form)
        answered: ContactForm = await answer if isinstance(answer, Awaitable) else answer
        return answered


def with_info(request: LogRequest, **info: Any) -> LogRequest:
    """The request with other fields in its `logInfo`."""
    return msgspec.structs.replace(request, info=msgspec.structs.replace(request.info, **info))


def to_capitals(request: LogRequest) -> LogRequest:
    """The request with its messages in capitals."""
    messages = tuple(
        msgspec.structs.replace(each, subject=(each.subject or "").upper()) for each in request.info.messages
    )
    return with_info(request, messages=messages)
