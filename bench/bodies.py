"""Bodies of `POST /messageLog` as App Connect's client sends them, each with ids of its own.

A body is made from a template, so that the load generator itself works little: JSON encoded once, with placeholders
for the ids. Every message has its number in its text (`ref-9000000000042`): the stub CRM finds it there in the text of
either server.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

FIRST_MESSAGE: Final = 9_000_000_000_000
"""The first message's number: 13 digits, like those of conversations, which begin with 8."""

FIRST_CONVERSATION: Final = 8_000_000_000_000

THREAD_ENTRIES: Final = 100

_STARTED: Final = 1_783_998_000_000  # the first message, in epoch milliseconds
_MINUTE: Final = 60_000
_HOLE: Final = re.compile(r'"#(?P<number>\d+)#"|@(?P<text>\d+)@|(?P<conversation>@C@)|(?P<time>"#T#")')
_CONVERSATION, _TIME = -1, -2  # placeholders that are not the number of a message


class Template:
    """A body with placeholders. `messages` is how many new messages it has."""

    def __init__(self, body: dict[str, Any], messages: int) -> None:
        text = json.dumps(body, separators=(",", ":"))
        self.messages = messages
        self._parts: list[bytes] = []
        self._holes: list[int] = []
        end = 0
        for hole in _HOLE.finditer(text):
            self._parts.append(text[end : hole.start()].encode())
            self._holes.append(_kind(hole))
            end = hole.end()
        self._tail = text[end:].encode()

    def fill(self, conversation: int, first: int) -> bytes:
        """Return the body for this conversation, whose oldest message has the number `first`."""
        values = {_CONVERSATION: b"%d" % conversation, _TIME: b"%d" % (_STARTED + first - FIRST_MESSAGE)}
        values.update((index, b"%d" % (first + index)) for index in range(self.messages))
        parts = [piece for part, hole in zip(self._parts, self._holes, strict=True)
                 for piece in (part, values[hole])]  # fmt: skip
        return b"".join([*parts, self._tail])


def _kind(hole: re.Match[str]) -> int:
    if hole["conversation"]:
        return _CONVERSATION
    if hole["time"]:
        return _TIME
    return int(hole["number"] or hole["text"])


def conversation(messages: int) -> Template:
    """So many text messages of one conversation, the newest first."""
    return Template(
        _body([_message(index) for index in reversed(range(messages))], "@C@/7/13/2026"), messages
    )


def thread() -> Template:
    """Return a snapshot of a shared thread: a hundred entries, only the newest of them new."""
    entries = [_entry(index) for index in range(THREAD_ENTRIES - 1)] + [_newest()]
    body = _body([_newest()], "@C@")
    body["logInfo"] |= {
        "type": "Thread",
        "entities": entries,
        "lastModifiedTime": "#T#",
        "owner": {"name": "Support Queue", "extensionType": "Department", "extensionId": "178020001"},
        "assignee": {"extensionId": "178010006", "name": "Sam Ortiz"},
        "status": "Open",
    }
    return Template(body, 1)


def _body(messages: list[dict[str, Any]], log_id: str) -> dict[str, Any]:
    return {
        "logInfo": {
            "conversationLogId": log_id,
            "conversationId": "@C@",
            "creationTime": _STARTED,
            "date": "7/13/2026",
            "type": "SMS",
            "messages": messages,
            "conversationLogMatches": [],
            "self": {"phoneNumber": "+14155550101", "name": "Jordan Lee"},
            "correspondents": [{"phoneNumber": "+14155550142", "name": "Maya Patel"}],
        },
        "additionalSubmission": {},
        "overridingFormat": [],
        "contactId": "c-1",
        "contactType": "contact",
        "contactName": "Maya Patel",
    }


def _message(index: int) -> dict[str, Any]:
    number, text = f"#{index}#", f"@{index}@"
    media = (
        "https://platform.ringcentral.com/restapi/v1.0/account/178009004/extension/178010005/message-store"
    )
    attachment = {
        "id": number,
        "uri": f"{media}/{text}/content/{text}",
        "type": "Text",
        "contentType": "text/plain",
    }
    return {
        "id": number,
        "creationTime": _STARTED + index * 1000,
        "readStatus": "Unread",
        "priority": "Normal",
        "direction": "Inbound",
        "availability": "Alive",
        "lastModifiedTime": _STARTED + index * 1000,
        "to": [{"phoneNumber": "+14155550101", "name": "Jordan Lee"}],
        "from": {"phoneNumber": "+14155550142", "name": "Maya Patel", "location": "San Mateo, CA"},
        "type": "SMS",
        "attachments": [attachment],
        "subject": f"Can you send the renewal options? (ref-{text})",
        "messageStatus": "Received",
        "conversationId": "@C@",
    }


def _entry(index: int) -> dict[str, Any]:
    """One of the older entries of a thread: mostly messages, now and then a note or a hand-over."""
    at = _STARTED - (THREAD_ENTRIES - index) * _MINUTE
    entry: dict[str, Any] = {
        "threadId": "@C@",
        "availability": "Alive",
        "id": f"@C@-{index}",
        "creationTime": at,
        "lastModifiedTime": at,
    }
    agent = {"extensionId": f"17801000{index % 4}", "name": f"Agent {index % 4}"}
    if index % 10 == 5:  # noqa: PLR2004 - every tenth
        return entry | {"recordType": "ThreadAssignedHint", "initiator": agent, "assignee": agent}
    if index % 10 == 9:  # noqa: PLR2004 - every tenth
        return entry | {"recordType": "AliveNote", "author": agent, "text": f"Note {index}: call back"}
    text = f"Message {index} of the thread: can you send the renewal options?"
    entry |= {"recordType": "AliveMessage", "text": text, "subject": text}
    if index % 2:
        return entry | {"direction": "Outbound", "messageStatus": "Sent", "author": agent}
    return entry | {"direction": "Inbound", "messageStatus": "Received"}


def _newest() -> dict[str, Any]:
    text = "And the prices, please? (ref-@0@)"
    return {
        "threadId": "@C@",
        "availability": "Alive",
        "id": "@0@",
        "recordType": "AliveMessage",
        "direction": "Inbound",
        "messageStatus": "Received",
        "text": text,
        "subject": text,
        "creationTime": "#T#",
        "lastModifiedTime": "#T#",
        "to": [{"phoneNumber": "+14155550900"}],
    }
