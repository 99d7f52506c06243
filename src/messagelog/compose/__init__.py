"""The text that a person reads in the CRM: a conversation as plain text, HTML or Markdown. Pure: no I/O, no clock."""

from messagelog.compose.amend import amend, append_text
from messagelog.compose.catalog import DEFAULT_LANGUAGE, LANGUAGES, pick_language
from messagelog.compose.changes import (
    Change,
    amend_change,
    append_change,
    change_hashes,
    compose_change,
    count_change,
)
from messagelog.compose.detect import count_entries
from messagelog.compose.facts import facts_of
from messagelog.compose.limits import fit_blocks, fit_log
from messagelog.compose.log import compose_log, entries, subject_of
from messagelog.compose.model import (
    LINE_MARK,
    Content,
    Entry,
    KnownEntry,
    LogFormat,
    Measure,
    Participants,
    TextSettings,
    read_text_settings,
    write_text_settings,
)
from messagelog.compose.replace import append_thread_text, replace_thread
from messagelog.compose.request import compose_request
from messagelog.compose.thread import compose_thread, continuation_heading, thread_blocks, thread_subject
from messagelog.compose.times import pick_zone, zone_of

__all__ = [
    "DEFAULT_LANGUAGE",
    "LANGUAGES",
    "LINE_MARK",
    "Change",
    "Content",
    "Entry",
    "KnownEntry",
    "LogFormat",
    "Measure",
    "Participants",
    "TextSettings",
    "amend",
    "amend_change",
    "append_change",
    "append_text",
    "append_thread_text",
    "change_hashes",
    "compose_change",
    "compose_log",
    "compose_request",
    "compose_thread",
    "continuation_heading",
    "count_change",
    "count_entries",
    "entries",
    "facts_of",
    "fit_blocks",
    "fit_log",
    "pick_language",
    "pick_zone",
    "read_text_settings",
    "replace_thread",
    "subject_of",
    "thread_blocks",
    "thread_subject",
    "write_text_settings",
    "zone_of",
]
