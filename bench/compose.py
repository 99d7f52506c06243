"""The time of composing: `python -m bench.compose` prints processor time in milliseconds, the least of several runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table

from messagelog.compose import (
    Entry,
    LogFormat,
    Participants,
    TextSettings,
    amend,
    compose_log,
    compose_thread,
    entries,
    replace_thread,
    thread_blocks,
)
from messagelog.messages import Conversation, Entity, Message, Owner, Party, Thread

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY: Final = b"k" * 32
_START: Final = 1_783_998_000_000
_MINUTE: Final = 60_000
_RUNS: Final = 15
_FEW, _MANY = 100, 1_000

_MAYA: Final = Party(name="Maya Patel", phone_number="+14155550142")
_JORDAN: Final = Party(name="Jordan Lee", phone_number="+14155550101")
_PEOPLE: Final = Participants("Maya Patel", "+14155550142", "Jordan Lee")
_TALK: Final = Conversation(conversation_id="1", self_party=_JORDAN, correspondents=(_MAYA,))


def main() -> None:
    """Print a line for each format."""
    table = Table(box=box.SIMPLE, title="Composing, ms of processor time")
    table.add_column("format")
    for what in (f"{_FEW} entries", f"thread of {_FEW}", f"the same again, +1 to {_FEW}", f"+1 to {_MANY:,}"):
        table.add_column(what, justify="right")
    for format_ in (LogFormat.PLAIN, LogFormat.HTML, LogFormat.MARKDOWN):
        table.add_row(format_.value, *[f"{milliseconds:.2f}" for milliseconds in _measure(format_)])
    Console().print(table)


def _measure(format_: LogFormat) -> list[float]:
    text_settings = TextSettings(format_, "America/Los_Angeles")
    messages = [_message(number) for number in range(_MANY)]
    written = entries(text_settings, _PEOPLE, messages, _TALK, _KEY)
    body = compose_log(text_settings, _PEOPLE, messages[:-1], _TALK, _KEY).body
    known = [(entry.sent_at, entry.hash) for entry in written[:-1]]

    thread = Thread(entities=tuple(map(_entity, range(_FEW))), owner=Owner(name="Support"), status="Open")
    before = Thread(entities=thread.entities[:-1], owner=Owner(name="Support"), status="Open")
    stored = compose_thread(text_settings, _PEOPLE, before, _KEY).body
    sent = {block.hash for block in thread_blocks(text_settings, _PEOPLE, before, _KEY)}

    def replace() -> str:
        blocks: list[Entry] = thread_blocks(text_settings, _PEOPLE, thread, _KEY)
        return replace_thread(stored, text_settings, blocks, sent, _KEY)

    return [
        _least(lambda: compose_log(text_settings, _PEOPLE, messages[:_FEW], _TALK, _KEY)),
        _least(lambda: compose_thread(text_settings, _PEOPLE, thread, _KEY)),
        _least(replace),
        _least(lambda: amend(body, text_settings, written[-1:], known, _KEY)),
    ]


def _message(number: int) -> Message:
    outbound = number % 2 == 1
    return Message(
        id=str(number),
        type="SMS",
        creation_time=_START + number * 7 * _MINUTE,
        direction="Outbound" if outbound else "Inbound",
        subject=f"Hello, this is number {number}: can you send me the options & prices?\nGracias, señor {number}",
        from_=_JORDAN if outbound else _MAYA,
        to=(_MAYA if outbound else _JORDAN,),
        message_status="Delivered",
    )


def _entity(number: int) -> Entity:
    outbound = number % 2 == 1
    return Entity(
        id=str(number),
        record_type="AliveMessage",
        direction="Outbound" if outbound else "Inbound",
        text=f"Message number {number} of the thread, it's about <prices>",
        creation_time=_START + number * 7 * _MINUTE,
        author=Party(name="Sam Ortiz", extension_id="6") if outbound else None,
    )


def _least(work: Callable[[], object]) -> float:
    work()
    took = []
    for _ in range(_RUNS):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took) * 1_000


if __name__ == "__main__":
    main()
