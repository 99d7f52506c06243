"""Passes each request through the plugins, in order and within their time, and checks what they return."""

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
    from messagelog.messages import LogInfo
    from messagelog.plugins import Plugin, RequestContext

T = TypeVar("T")

LEFT_BY_PLUGINS: Final = 0.25
"""The part of the time to answer that plugins leave to the CRM."""

_LONGEST_SENTENCE = 300

_log = structlog.get_logger(__name__)


class PluginBlocked(MessagelogError):
    """A plugin keeps the request from being logged; the text says so to the user."""


class RefusedByPlugin(PluginBlocked):
    """A plugin has decided that the request must not be logged."""


class RequiredPluginFailed(PluginBlocked):
    """A required plugin has failed. The same request may succeed later."""


class BadPluginAnswer(MessagelogError):
    """A plugin has changed what it must not, has not returned a request, or was cancelled from within."""


@dataclass(frozen=True, slots=True)
class FilteredRequest:
    """A request as the plugins have left it, and the warnings for the user."""

    request: LogRequest
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FilteredContact:
    """A new contact as the plugins have left it, and the warnings for the user."""

    contact: NewContact
    warnings: tuple[str, ...] = ()


class Plugins:
    """A server's plugins, in their order. `required` names those that must succeed whatever they say themselves."""

    def __init__(self, plugins: Sequence[Plugin], required: frozenset[str] = frozenset()) -> None:
        self._plugins = tuple(plugins)
        self._required = required | {plugin.name for plugin in plugins if plugin.required}

    async def apply(self, context: RequestContext, request: LogRequest, until: float) -> FilteredRequest:
        """Return the request after all plugins, by `until` (the event loop's time). Raises `PluginBlocked`.

        A plugin that fails leaves the request as it was; if a required plugin fails, nothing is logged.
        """
        return FilteredRequest(
            *await self._after_all(request, "logged", lambda *each: _call_plugin(context, until, *each))
        )

    async def apply_to_contact(
        self, context: RequestContext, contact: NewContact, until: float
    ) -> FilteredContact:
        """Return the new contact after all plugins, as `apply` does for requests."""
        after = await self._after_all(
            contact, "created", lambda *each: _call_plugin_for_contact(context, until, *each)
        )
        return FilteredContact(*after)

    async def _after_all(
        self, value: T, done: str, answer: Callable[[Plugin, T], Awaitable[T]]
    ) -> tuple[T, tuple[str, ...]]:
        """Return what is left of a value after all plugins, and a warning for each that failed."""
        warnings = []
        for plugin in self._plugins:
            try:
                value = await answer(plugin, value)
            except Refused as error:
                # On one line, and of a length that a notice holds.
                sentence = " ".join(str(error.sentence).split())[:_LONGEST_SENTENCE]
                raise RefusedByPlugin(sentence or f"The plugin {plugin.name} has refused this.") from None
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the plugin's, and logged
                # Its own mistake, or its time was over. The error's text may quote the messages.
                name, place = type(error).__name__, error_location(error)
                _log.error("plugin_failed", plugin=plugin.name, error=name, place=place)
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
    """Return the request that a plugin returns, with RingCentral's token, which the plugin is not shown, put back."""
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
    """Return the contact with the name and the form fields that a plugin returns."""
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


async def _in_time(plugin: Plugin, until: float, call: Callable[[], Awaitable[T]]) -> T:
    """Return what a plugin returns in its time. A cancellation from within the plugin is a failure of the plugin."""
    end = min(until, asyncio.get_running_loop().time() + plugin.seconds)
    try:
        async with asyncio.timeout_at(end):
            return await call()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BadPluginAnswer("cancelled") from error


def _read_answer(shown: LogRequest, answered: Any) -> LogRequest:
    """Return a plugin's request, decoded again; raise if no client could send it, or if it is not the one shown."""
    if not isinstance(answered, LogRequest):
        raise BadPluginAnswer("no request")
    # Records are checked when they are decoded: a plugin may have put anything into them.
    read = msgspec.json.decode(msgspec.json.encode(answered), type=LogRequest)
    if _identity(read) != _identity(shown):
        raise BadPluginAnswer("another request")
    kept, before = _entity_identities(read.info), _entity_identities(shown.info)
    rest = iter(before)
    if not all(each in rest for each in kept) or (before and not kept):
        raise BadPluginAnswer("other entities")
    return read


def _identity(request: LogRequest) -> tuple[Any, ...]:
    """Return what a plugin must leave alone: it identifies the request, and its log is found and ordered by it."""
    info = request.info
    return (
        request.contact_id,
        request.contact_type,
        (info.conversation_id, info.conversation_log_id, info.date, info.type),
        (info.creation_time, info.last_modified_time, info.is_shared),
        tuple(party.phone_number for party in info.correspondents),
        tuple(
            (
                message.id,
                message.kind,
                message.direction,
                message.conversation_id,
                message.creation_time,
                message.last_modified_time,
            )
            for message in info.messages
        ),
    )


def _entity_identities(info: LogInfo) -> list[tuple[Any, ...]]:
    return [
        (
            entity.id,
            entity.record_type,
            entity.direction,
            entity.creation_time,
            entity.last_modified_time,
        )
        for entity in info.entities
    ]
