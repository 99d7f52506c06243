"""The calls of the REST API: each reads its request, runs its work in the store, and answers."""

import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from messagelog.testing.demo_crm.activities import (
    ActivityChange,
    ActivityDraft,
    Entry,
    append_entry,
    change_activity,
    create_activity,
    delete_activity,
    find_activities,
    get_activity,
)
from messagelog.testing.demo_crm.attachments import Attachment, attach, get_attachment
from messagelog.testing.demo_crm.contacts import ContactDraft, create_contact, find_contacts, get_contact
from messagelog.testing.demo_crm.people import User
from messagelog.testing.demo_crm.records import View
from messagelog.testing.demo_crm.store import DemoCrmStore
from messagelog.testing.demo_crm.switch import Switch
from messagelog.testing.demo_crm.wire import FILE_LIMIT, RefusedError, json_answer, read_bytes, read_json

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request with a valid key, and what is needed to answer it."""

    request: Request
    user: User
    switch: Switch
    store: DemoCrmStore
    clock: Callable[[], float]

    async def do(self, work: Callable[Concatenate[View, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `work` on the rows that the user may see, and return its result once that is on the disk."""
        now = self.clock()

        def within(connection: sqlite3.Connection) -> _T:
            return work(View(connection, self.user, self.switch, now), *args, **kwargs)

        return await self.store.run(within)

    def query(self, name: str) -> str | None:
        """Return a parameter of the URL, or None."""
        return self.request.query_params.get(name)

    @property
    def id(self) -> str:
        """The id in the URL's path."""
        return str(self.request.path_params["id"])


async def me(call: Call) -> Response:
    """Answer with the user, and the features of the CRM by its switch."""
    features = {key: getattr(call.switch, key) for key in ("external_ids", "append_only", "body_limit")}
    return json_answer(asdict(call.user) | {"features": features})


async def list_contacts(call: Call) -> Response:
    """Answer with contacts by `phone` or part of a `name`, or all."""
    return json_answer(await call.do(find_contacts, call.query("phone"), call.query("name")))


async def show_contact(call: Call) -> Response:
    """Answer with a contact."""
    return json_answer(await call.do(get_contact, call.id))


async def add_contact(call: Call) -> Response:
    """Create a contact."""
    draft = await read_json(call.request, ContactDraft)
    return json_answer(await call.do(create_contact, draft), 201)


async def list_activities(call: Call) -> Response:
    """Answer with activities by `id`, `contact_id` and `external_id`, newest last."""
    found = await call.do(
        find_activities,
        activity_id=call.query("id"),
        contact_id=call.query("contact_id"),
        external_id=call.query("external_id"),
    )
    return json_answer(found)


async def show_activity(call: Call) -> Response:
    """Answer with an activity."""
    return json_answer(await call.do(get_activity, call.id))


async def add_activity(call: Call) -> Response:
    """Create an activity (201), or answer with the one that has its external id already (200)."""
    draft = await read_json(call.request, ActivityDraft)
    created, activity = await call.do(create_activity, draft)
    return json_answer(activity, 201 if created else 200)


async def edit_activity(call: Call) -> Response:
    """Change an activity."""
    change = await read_json(call.request, ActivityChange)
    return json_answer(await call.do(change_activity, call.id, change))


async def remove_activity(call: Call) -> Response:
    """Delete an activity and its files."""
    await call.do(delete_activity, call.id)
    return Response(status_code=204)


async def add_entry(call: Call) -> Response:
    """Append a text to an activity's body."""
    entry = await read_json(call.request, Entry)
    return json_answer(await call.do(append_entry, call.id, entry), 201)


async def add_attachment(call: Call) -> Response:
    """Store the request's body as a file of an activity."""
    file_name = call.query("file_name")
    if not file_name:
        raise RefusedError(422, "file_name: the URL has to name the file")
    content_type = call.request.headers.get("content-type", "application/octet-stream")
    content = await read_bytes(call.request, FILE_LIMIT)
    return json_answer(await call.do(attach, call.id, Attachment(file_name, content_type, content)), 201)


async def send_attachment(call: Call) -> Response:
    """Answer with a file's bytes, as a download: an uploaded file is never shown as a page of this server."""
    attachment = await call.do(get_attachment, call.id)
    headers = {
        "Content-Type": attachment.content_type,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(attachment.file_name, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(attachment.content, headers=headers)
