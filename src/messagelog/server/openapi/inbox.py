"""What the OpenAPI description says of the inbox's routes."""

from __future__ import annotations

from typing import Any, Final

from messagelog.core.admin.inbox_models import Decided, InboxDetails, InboxExport, InboxPage, RetriedBatch
from messagelog.server.openapi.schemas import (
    CausesAnswer,
    CausesForm,
    DoneForm,
    EntryForm,
    ExportInboxForm,
    InboxForm,
    LinkForm,
    RetryForm,
    RetrySomeForm,
)

INBOX_TYPES: Final = (
    *(InboxForm, InboxPage, CausesForm, CausesAnswer, EntryForm, InboxDetails, ExportInboxForm, InboxExport),
    *(RetryForm, RetrySomeForm, RetriedBatch, LinkForm, DoneForm, Decided),
)

_KEY: Final = {"tenant": "acme", "platform": "demo", "conversationLogId": "8031152018338945839/7/13/2026"}
_ENTRY: Final = {
    **_KEY,
    "kind": "conversation",
    "groupContactId": None,
    "contactId": "c-1",
    "contactName": "Maya Patel",
    "thirdPartyLogId": None,
    "state": "failed",
    "cause": "rejected",
    "reason": "rejected: The CRM refused it. (HTTP 422)",
    "states": {"failed": 2},
    "withoutText": 0,
    "users": ["u-ada"],
    "attempts": 1,
    "tries": 0,
    "dueAt": None,
    "since": 1_783_998_000_000,
    "changedAt": 1_783_998_001_000,
    "fence": 1,
}
_DETAILS: Final = {
    "entry": _ENTRY,
    "rows": [
        {
            "id": "6424569001",
            "state": "failed",
            "reason": "rejected: The CRM refused it. (HTTP 422)",
            "userId": "u-ada",
            "sentAt": 1_783_998_000_000,
            "updatedAt": 1_783_998_001_000,
            "hasText": True,
            "text": None,
        }
    ],
    "attempts": [
        {
            "at": 1_783_998_001_000,
            "call": "create",
            "error": "Rejected",
            "status": 422,
            "reason": "rejected",
            "body": None,
        }
    ],
}
_CAUSE: Final = {
    "tenant": "acme",
    "platform": "demo",
    "state": "failed",
    "cause": "rejected",
    "messages": 2,
    "logs": 1,
    "firstAt": 1_783_998_001_000,
    "lastAt": 1_783_998_001_000,
}
_NONE: Final = {
    "conversationLogId": _KEY["conversationLogId"],
    "planned": 0,
    "logged": 0,
    "withoutText": 0,
}
_DECIDED: Final = (404, 409)

INBOX: Final[dict[str, dict[str, Any]]] = {
    "POST /operators/inbox": {
        "body": InboxForm,
        "body_example": {"state": "failed", "limit": 50},
        "answer": InboxPage,
        "example": {"entries": [_ENTRY], "next": None},
    },
    "POST /operators/inbox/causes": {
        "body": CausesForm,
        "body_example": {"tenant": "acme"},
        "answer": CausesAnswer,
        "example": {"causes": [_CAUSE]},
    },
    "POST /operators/inbox/entry": {
        "body": EntryForm,
        "body_example": _KEY,
        "answer": InboxDetails,
        "example": _DETAILS,
        "refuses": _DECIDED,
    },
    "POST /operators/inbox/export": {
        "body": ExportInboxForm,
        "body_example": {"state": "parked", "text": False},
        "answer": InboxExport,
        "example": {"logs": [_DETAILS], "next": None},
    },
    "POST /operators/inbox/retry": {
        "body": RetryForm,
        "body_example": {**_KEY, "fence": 1},
        "answer": Decided,
        "example": {**_NONE, "planned": 2},
        "refuses": _DECIDED,
    },
    "POST /operators/inbox/retry-some": {
        "body": RetrySomeForm,
        "body_example": {"cause": "unavailable"},
        "answer": RetriedBatch,
        "example": {"done": 1, "planned": 2, "withoutText": 0, "refused": 0, "next": None},
    },
    "POST /operators/inbox/link": {
        "body": LinkForm,
        "body_example": {**_KEY, "contactId": "c-2", "contactName": "Omar Reyes"},
        "answer": Decided,
        "example": _NONE,
        "refuses": _DECIDED,
    },
    "POST /operators/inbox/done": {
        "body": DoneForm,
        "body_example": {**_KEY, "thirdPartyLogId": "a-1"},
        "answer": Decided,
        "example": {**_NONE, "logged": 1, "planned": 1},
        "refuses": _DECIDED,
    },
}
"""What is said of each route, by its method and path. All are an operator's."""
