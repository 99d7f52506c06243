"""Change all that people wrote in a request, and make a request without its secrets."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from messagelog.messages.fields import Record
from messagelog.messages.media import clean_uri, clients_link
from messagelog.messages.parts import Attachment, Party
from messagelog.messages.records import Message
from messagelog.messages.request import LogRequest
from messagelog.messages.threads import Entity, Owner

R = TypeVar("R", bound=Record)
M = TypeVar("M", Message, Entity)

Change = Callable[[str], str]

_WITH_TEXTS: dict[type[Record], tuple[str, ...]] = {
    Message: ("subject", "text", "transcript", "cover_page_text"),
    Entity: ("subject", "text", "body"),
}


def change_texts(
    request: LogRequest, change: Change, in_form: Change | None = None, in_line: Change | None = None
) -> LogRequest:
    """Return the request with each text that people wrote changed: messages, notes, transcripts, names of files.

    `in_form` changes the texts in the answers of the form (`additionalSubmission`), at any depth, and `in_line` those
    that are shown in one line: names of files, and reasons of a thread's status. Without them `change` does. Names of
    people, numbers, ids, links and times stay as they are. Records without a change are the same objects as before;
    so is the request.
    """
    info, changes = request.info, (change, in_line or change)
    changed = _replace_fields(
        info,
        messages=_each(info.messages, lambda message: _with_changed_texts(message, *changes)),
        entities=_each(info.entities, lambda entity: _with_changed_texts(entity, *changes)),
        status_reason=_maybe(info.status_reason, changes[1]),
    )
    form = request.additional_submission
    return _replace_fields(request, info=changed, additional_submission=change_form(form, in_form or change))


def change_names(request: LogRequest, change: Change) -> LogRequest:
    """Return the request with all names of people, queues and the chosen contact changed. Subjects have these names."""
    changed = _with_names(request, change)
    return _replace_fields(changed, contact_name=_maybe(request.contact_name, change))


def change_form(value: Any, change: Change) -> Any:
    """Return a form's answers, or another JSON value, with its texts changed; the names of its fields stay."""
    match value:
        case str():
            return change(value)
        case dict():
            return {name: change_form(each, change) for name, each in value.items()}
        case list():
            return [change_form(each, change) for each in value]
        case _:
            return value


def without_secrets(request: LogRequest) -> LogRequest:
    """Return the request without RingCentral's token, also in addresses of media.

    The form's answers are a copy: changing them does not change the given request.
    """
    info = request.info
    shown = _replace_fields(
        info,
        rc_access_token=None,
        messages=_each(info.messages, _without_tokens),
        entities=_each(info.entities, _without_tokens),
    )
    form = change_form(request.additional_submission, str)
    return msgspec.structs.replace(request, info=shown, additional_submission=form)


def _with_changed_texts(record: M, change: Change, in_line: Change) -> M:
    """Return a record with its texts and the names of its files changed."""
    new: dict[str, Any] = {
        name: change(text) for name in _WITH_TEXTS[type(record)] if (text := getattr(record, name))
    }
    files = _each(
        record.attachments, lambda file: _replace_fields(file, file_name=_maybe(file.file_name, in_line))
    )
    return _replace_fields(record, **new, attachments=files)


def _maybe(text: str | None, change: Change) -> str | None:
    return change(text) if text else text


def _with_names(record: R, change: Change) -> R:
    new: dict[str, Any] = {}
    for field in record.__struct_fields__:
        match getattr(record, field):
            case Record() as inner:
                new[field] = _with_names(inner, change)
            case (Record(), *_) as inners:
                new[field] = _each(inners, lambda inner: _with_names(inner, change))
    if isinstance(record, Party | Owner):
        new["name"] = _maybe(record.name, change)
    return _replace_fields(record, **new)


def _without_tokens(record: M) -> M:
    def clean(attachment: Attachment) -> Attachment:
        return _replace_fields(attachment, uri=clean_uri(attachment.uri), link=clients_link(attachment.link))

    return _replace_fields(record, attachments=_each(record.attachments, clean))


def _replace_fields(record: R, **fields: Any) -> R:
    """Return a copy of a record with these fields, or the same record if no field changes."""
    new = {name: value for name, value in fields.items() if getattr(record, name) != value}
    return msgspec.structs.replace(record, **new) if new else record


def _each(records: tuple[R, ...], change: Callable[[R], R]) -> tuple[R, ...]:
    changed = tuple(map(change, records))
    same = all(one is other for one, other in zip(records, changed, strict=True))
    return records if same else changed
