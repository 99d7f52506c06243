"""Shows each request to the plugins, in their order and in their time, and sees to it that none breaks a promise."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import structlog

from messagelog.core.contacts.resolve import clean_contact
from messagelog.errors import MessagelogError, error_location
from messagelog.messages import LogRequest, without_secrets
from messagelog.plugins import ContactForm, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from messagelog.connectors import NewContact
    from messagelog.messages import Entity, LogInfo, Message
    from messagelog.plugins import Plugin, RequestContext

T = TypeVar("T")

LEFT_BY_PLUGINS: Final = 0.25
"""How much of the time to answer is the CRM's."""

_LONGEST_SENTENCE = 300

_log = structlog.get_logger(__name__)


class PluginBlocked(MessagelogError):
    """A plugin keeps the request from being logged; the text says so to the user."""


class RefusedByPlugin(PluginBlocked):
    """A plugin has decided that it must not be logged."""


class RequiredPluginFailed(PluginBlocked):
    """A plugin without which nothing may be logged did not do its work. The same request may be taken later."""


class BadPluginAnswer(MessagelogError):
    """A plugin has changed what it must not, has answered no request, or was cancelled from within."""


@dataclass(frozen=True, slots=True)
class FilteredRequest:
    """A request as the plugins have left it, and what to warn the user of."""

    request: LogRequest
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FilteredContact:
    """A contact that is to be made as the plugins have left it, and what to warn the user of."""

    contact: NewContact
    warnings: tuple[str, ...] = ()


class Plugins:
    """The plugins of a server, in their order. `required` are names of those that are, whatever they say themselves."""

    def __init__(self, plugins: Sequence[Plugin], required: frozenset[str] = frozenset()) -> None:
        self._plugins = tuple(plugins)
        self._required = required | {plugin.name for plugin in plugins if plugin.required}

    async def apply(self, context: RequestContext, request: LogRequest, until: float) -> FilteredRequest:
        """The request after all plugins, by `until` (the event loop's time). Raises `PluginBlocked`.

        A plugin that fails leaves it as it was before; if that one is required, nothing is taken.
        """
        return FilteredRequest(
            *await self._after_all(request, "logged", lambda *each: _call_plugin(context, until, *each))
        )

    async def apply_to_contact(
        self, context: RequestContext, contact: NewContact, until: float
    ) -> FilteredContact:
        """The contact that is to be made after all plugins, as `seen` does for requests."""
        after = await self._after_all(
            contact, "created", lambda *each: _call_plugin_for_contact(context, until, *each)
        )
        return FilteredContact(*after)

    async def _after_all(
        self, value: T, done: str, answer: Callable[[Plugin, T], Awaitable[T]]
    ) -> tuple[T, tuple[str, ...]]:
        warnings = []
        for plugin in self._plugins:
            try:
                value = await answer(plugin, value)
            except Refused as error:
                raise RefusedByPlugin(_for_people(error.sentence, plugin)) from None
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the plugin's, and told of
                # Its own mistake, or its time was over. What it says may quote the messages.
                _report(plugin, error)
                if plugin.name in self._required:
                    again = "log" if done == "logged" else "try"
                    raise RequiredPluginFailed(
                        f"Nothing was {done}, since the plugin {plugin.name} did not run. Please {again} again later."
                    ) from None
                warnings.append(f"The plugin {plugin.name} did not run")
        return value, tuple(warnings)


async def _call_plugin(
    context: RequestContext, until: float, plugin: Plugin, request: LogRequest
) -> LogRequest:
    """The request that a plugin answers, with RingCentral's token, which it is not shown, put back."""
    shown = without_secrets(request)
    answered = await _in_time(plugin, until, lambda: plugin.on_request(context, shown))
    if answered is shown and not shown.additional_submission:
        return request
    read = _read_answer(shown, answered)
    info = msgspec.structs.replace(read.info, rc_access_token=request.info.rc_access_token)
    return msgspec.structs.replace(read, info=info)


async def _call_plugin_for_contact(
    context: RequestContext, until: float, plugin: Plugin, contact: NewContact
) -> NewContact:
    """The contact with the name and the answers that a plugin answers."""
    shown = ContactForm(contact.name, copy.deepcopy(contact.additional_submission))
    answered: Any = await _in_time(plugin, until, lambda: plugin.on_contact(context, shown))
    if not isinstance(answered, ContactForm):
        raise BadPluginAnswer("no form")
    # As if the client had sent it.
    read = msgspec.json.decode(
        msgspec.json.encode((answered.name, answered.additional_submission)),
        type=tuple[str, dict[str, Any] | None],
    )
    return clean_contact(msgspec.structs.replace(contact, name=read[0], additional_submission=read[1]))


async def _in_time(plugin: Plugin, until: float, asked: Callable[[], Awaitable[T]]) -> T:
    """What it answers. When something within it was cancelled, that is its failure, and not the end of our own task."""
    end = min(until, asyncio.get_running_loop().time() + plugin.seconds)
    try:
        async with asyncio.timeout_at(end):
            return await asked()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BadPluginAnswer("cancelled") from error


def _read_answer(shown: LogRequest, answered: Any) -> LogRequest:
    """What was answered, read anew; raises when no client could have sent it, or when it is not what was shown."""
    if not isinstance(answered, LogRequest):
        raise BadPluginAnswer("no request")
    # Records are checked when they are read: a plugin may have put anything into them.
    read = msgspec.json.decode(msgspec.json.encode(answered), type=LogRequest)
    if _identity(read) != _identity(shown):
        raise BadPluginAnswer("another request")
    kept, before = _entity_identities(read.info), _entity_identities(shown.info)
    rest = iter(before)
    if not all(each in rest for each in kept) or (before and not kept):
        raise BadPluginAnswer("other entities")
    return read


def _identity(request: LogRequest) -> tuple[Any, ...]:
    """What a plugin must leave alone: by this a request is told from others, and its log is found and ordered."""
    info = request.info
    return (
        request.contact_id,
        request.contact_type,
        (info.conversation_id, info.conversation_log_id, info.date, info.type),
        (info.creation_time, info.last_modified_time, info.is_shared),
        tuple(party.phone_number for party in info.correspondents),
        tuple(_message_identity(message) for message in info.messages),
    )


def _message_identity(message: Message) -> tuple[Any, ...]:
    times = (message.creation_time, message.last_modified_time)
    return (message.id, message.kind, message.direction, message.conversation_id, *times)


def _entity_identities(info: LogInfo) -> list[tuple[Any, ...]]:
    return [_entity_identity(entity) for entity in info.entities]


def _entity_identity(entity: Entity) -> tuple[Any, ...]:
    return (entity.id, entity.record_type, entity.direction, entity.creation_time, entity.last_modified_time)


def _report(plugin: Plugin, error: Exception) -> None:
    _log.error("plugin_failed", plugin=plugin.name, error=type(error).__name__, place=error_location(error))


def _for_people(sentence: object, plugin: Plugin) -> str:
    """The sentence of a refusal on one line, and of a length that a notice holds."""
    text = " ".join(str(sentence).split())
    return text[:_LONGEST_SENTENCE] or f"The plugin {plugin.name} has refused this."
