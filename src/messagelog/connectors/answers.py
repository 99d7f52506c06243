"""Reads what another server answers, up to a limit: a user who names a CRM's host also decides how much it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.errors import MessagelogError

if TYPE_CHECKING:
    import aiohttp

LONGEST: Final = 20_000_000
"""Bytes of one answer, unpacked: many times a CRM's longest activity, and few enough for many answers at once."""


class AnswerTooLong(MessagelogError):
    """An answer was longer than its limit, and was not read on."""


async def read_answer(answer: aiohttp.ClientResponse, limit: int = LONGEST) -> bytes:
    """Read the body of an answer. Raise `AnswerTooLong`, and what `answer.read()` raises."""
    content = answer.content
    if content.is_eof() and content.total_bytes <= limit:  # most answers come in one piece, with their head
        return content.read_nowait()
    chunks, size = [], 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > limit:
            raise AnswerTooLong(f"the answer is longer than {limit:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
