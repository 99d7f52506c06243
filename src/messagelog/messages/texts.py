"""All that people wrote in a request, to be changed in one go, and a request without its secrets."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from messagelog.messages.fields import Record
from messagelog.messages.media import clean_uri, clients_link
from messagelog.messages.parts import Attachment
from messagelog.messages.records import Message
from messagelog.messages.request import LogRequest
from messagelog.messages.threads import Entity

R = TypeVar("R", bound=Record)
M = TypeVar("M", Message, Entity)

Change = Callable[[str], str]

_WITH_TEXTS: dict[type[Record], tuple[str, ...]] = {
    Message: ("subject", "text", "transcript"),
    Entity: ("subject", "text"),
    Attachment: ("file_name",),
}


def change_texts(request: LogRequest, change: Change, in_form: Change | None = None) -> LogRequest:
    """The request with each text that people wrote changed: messages, notes, transcripts, names of files.

    `in_form` changes the texts in the answers of the form (`additionalSubmission`), at any depth; without it `change`
    does. Names of people, numbers, ids, links and times stay as they are. Records in which nothing changes are the
    same objects afterwards; so is the request.
    """
    info = request.info
    changed = _replaced(
        info,
        messages=_each(info.messages, lambda message: _changed(message, change)),
        entities=_each(info.entities, lambda entity: _changed(entity, change)),
        status_reason=info.status_reason and change(info.status_reason),
    )
    form = request.additional_submission
    return _replaced(request, info=changed, additional_submission=_in_depth(form, in_form or change))


def without_secrets(request: LogRequest) -> LogRequest:
    """The request without RingCentral's token, and with addresses of media that hold none.

    The form's answers are a copy: nothing that is done to it is done to the request.
    """
    info = request.info
    shown = _replaced(
        info,
        rc_access_token=None,
        messages=_each(info.messages, _without_tokens),
        entities=_each(info.entities, _without_tokens),
    )
    form = _in_depth(request.additional_submission, str)
    return msgspec.structs.replace(request, info=shown, additional_submission=form)


def _changed(record: R, change: Change) -> R:
    """A record with its texts changed, and those of its attachments."""
    new: dict[str, Any] = {
        name: change(text) for name in _WITH_TEXTS[type(record)] if (text := getattr(record, name))
    }
    if isinstance(record, Message | Entity):
        new["attachments"] = _each(record.attachments, lambda attachment: _changed(attachment, change))
    return _replaced(record, **new)


def _without_tokens(record: M) -> M:
    return _replaced(record, attachments=_each(record.attachments, _tokenless))


def _tokenless(attachment: Attachment) -> Attachment:
    return _replaced(attachment, uri=clean_uri(attachment.uri), link=clients_link(attachment.link))


def _replaced(record: R, **fields: Any) -> R:
    """A copy of a record with these fields; the same record where nothing is new."""
    new = {name: value for name, value in fields.items() if getattr(record, name) != value}
    return msgspec.structs.replace(record, **new) if new else record


def _each(records: tuple[R, ...], change: Callable[[R], R]) -> tuple[R, ...]:
    changed = tuple(map(change, records))
    same = all(one is other for one, other in zip(records, changed, strict=True))
    return records if same else changed


def _in_depth(value: Any, change: Change) -> Any:
    """A JSON value with its texts changed; the names of its fields stay."""
    match value:
        case str():
            return change(value)
        case dict():
            return {name: _in_depth(each, change) for name, each in value.items()}
        case list():
            return [_in_depth(each, change) for each in value]
        case _:
            return value
