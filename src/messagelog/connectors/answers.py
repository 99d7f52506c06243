"""What another server answers, read up to a limit: whoever names a CRM's host also says how much it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.errors import MessagelogError

if TYPE_CHECKING:
    import aiohttp

LONGEST: Final = 20_000_000
"""Bytes of one answer, unpacked: many times a CRM's longest activity, and few enough for many answers at once."""


class AnswerTooLong(MessagelogError):
    """An answer went on behind its limit, and was not read on."""


async def read_answer(answer: aiohttp.ClientResponse, limit: int = LONGEST) -> bytes:
    """The body of an answer. Raises `AnswerTooLong`, and what `answer.read()` raises."""
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
