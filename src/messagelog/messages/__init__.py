"""RingCentral's records: messages, threads of shared inboxes, parties and media. Pure: no I/O, no clock."""

from messagelog.messages.errors import BadRequest, MediaUnavailable
from messagelog.messages.media import DownloadLink, Media, MediaAttachment, Opener
from messagelog.messages.parse import parse_log_request
from messagelog.messages.parts import Attachment, MessageKind, Party
from messagelog.messages.peek import MessageIds, peek
from messagelog.messages.records import Message, message_order
from messagelog.messages.request import CREATE_NEW_CONTACT, Conversation, LogInfo, LogRequest
from messagelog.messages.texts import change_form, change_names, change_texts, without_secrets
from messagelog.messages.threads import Entity, Owner, Thread

__all__ = [
    "CREATE_NEW_CONTACT",
    "Attachment",
    "BadRequest",
    "Conversation",
    "DownloadLink",
    "Entity",
    "LogInfo",
    "LogRequest",
    "Media",
    "MediaAttachment",
    "MediaUnavailable",
    "Message",
    "MessageIds",
    "MessageKind",
    "Opener",
    "Owner",
    "Party",
    "Thread",
    "change_form",
    "change_names",
    "change_texts",
    "message_order",
    "parse_log_request",
    "peek",
    "without_secrets",
]
