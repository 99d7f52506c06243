"""Requests of `POST /messageLog` as the client sends them, with what a test is about in them."""

from __future__ import annotations

from typing import Any

import msgspec

from messagelog.messages import LogRequest, parse_log_request

START = 1_783_998_000_000
MAYA = {"phoneNumber": "+14155550142", "name": "Maya Patel"}
LATER = 90_000
"""How long after a message was sent its record says that it failed, in ms."""
OMAR = {"phoneNumber": "+14155550177", "name": "Omar Reyes"}
JORDAN = {"phoneNumber": "+14155550101", "name": "Jordan Lee"}


def message(id_: int | str, text: str | None = None, *, at: int | None = None, **more: Any) -> dict[str, Any]:
    """One inbound SMS; without `at` (epoch ms) the number of the id tells its minute."""
    sent = START + 60_000 * (int(id_) % 100_000) if at is None else at
    return {
        "id": id_,
        "type": "SMS",
        "direction": "Inbound",
        "creationTime": sent,
        "lastModifiedTime": sent,
        "subject": f"text {id_}" if text is None else text,
        "from": MAYA,
        "to": [JORDAN],
        "attachments": [],
        **more,
    }


def sent(
    id_: int, text: str | None = None, *, status: str = "Queued", after: int = 0, **more: Any
) -> dict[str, Any]:
    """An SMS of ours with this status; `after` is when its record was modified, in ms after it was sent."""
    made = message(id_, text, direction="Outbound", messageStatus=status, **more)
    return made | {"from": JORDAN, "to": [MAYA], "lastModifiedTime": made["creationTime"] + after}


def failed(id_: int, text: str | None = None, **more: Any) -> dict[str, Any]:
    """The same, and it was not delivered."""
    return sent(id_, text, **{"status": "DeliveryFailed", "after": LATER, **more})


def voicemail(transcript: str | None = None, status: str = "InProgress", **more: Any) -> dict[str, Any]:
    """A voice message; without a transcript none is there yet."""
    return message(
        1, "Voice message", type="VoiceMail", transcript=transcript, vmTranscriptionStatus=status, **more
    )


def body(
    *messages: dict[str, Any],
    conversation: str = "conv",
    day: str = "7/13/2026",
    contact: str = "c-1",
    name: str = "Maya Patel",
    correspondents: tuple[dict[str, Any], ...] = (MAYA,),
    submission: dict[str, Any] | None = None,
    **info: Any,
) -> dict[str, Any]:
    """A request body with these messages, given oldest first and sent newest first."""
    return {
        "logInfo": {
            "conversationLogId": f"{conversation}/{day}",
            "conversationId": conversation,
            "type": "SMS",
            "messages": list(reversed(messages)),
            "self": JORDAN,
            "correspondents": list(correspondents),
            **info,
        },
        "additionalSubmission": submission or {},
        "overridingFormat": [],
        "contactId": contact,
        "contactType": "contact",
        "contactName": name,
    }


def thread(*texts: str, id_: str = "thread-1", contact: str = "c-1") -> dict[str, Any]:
    """A shared thread with these inbound messages, a minute apart."""
    entities = [
        {
            "id": f"e{number}",
            "recordType": "AliveMessage",
            "direction": "Inbound",
            "text": text,
            "creationTime": START + 60_000 * number,
            "lastModifiedTime": START + 60_000 * number,
        }
        for number, text in enumerate(texts)
    ]
    made = body(conversation=id_, contact=contact, messages=entities, entities=entities)
    made["logInfo"].update(
        conversationLogId=id_,
        type="Thread",
        status="Open",
        owner={"name": "Support Queue", "extensionType": "Department", "extensionId": "9"},
        lastModifiedTime=START + 60_000 * len(texts),
        guestParty=MAYA,
    )
    return made


def to_log_request(made: dict[str, Any]) -> LogRequest:
    """A body as the core takes it."""
    return parse_log_request(msgspec.json.encode(made))
