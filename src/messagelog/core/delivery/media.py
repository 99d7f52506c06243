"""Fetches media from RingCentral for connectors. The token travels in a header, to RingCentral's hosts only."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from messagelog.connectors.outbound import find_refusal
from messagelog.messages import MediaUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from messagelog.messages import MediaAttachment, Opener


class MediaFetcher:
    """Opens media as streams. `hosts` are further hosts (`name` or `name:port`) that may be given the token."""

    def __init__(self, client: aiohttp.ClientSession, hosts: Collection[str] = ()) -> None:
        self._client = client
        self._hosts = frozenset(hosts)

    def opener(self, token: str | None) -> Opener | None:
        """Return a function that opens attachments with this token; None without one: RingCentral would refuse."""
        if not token:
            return None

        @asynccontextmanager
        async def open_(attachment: MediaAttachment) -> AsyncIterator[aiohttp.StreamReader]:
            if attachment.uri is None or not self._is_trusted(attachment.uri):
                raise MediaUnavailable("this media is not at RingCentral, so it is not fetched")
            headers = {"Authorization": f"Bearer {token}"}
            try:
                async with self._client.get(attachment.uri, headers=headers, allow_redirects=False) as answer:
                    if answer.status != HTTPStatus.OK:
                        raise MediaUnavailable(f"RingCentral answered HTTP {answer.status} for this media")
                    yield answer.content
            except aiohttp.ClientError as error:
                if (refused := find_refusal(error)) is not None:
                    raise MediaUnavailable(str(refused)) from None
                raise MediaUnavailable(f"no answer from RingCentral ({type(error).__name__})") from error

        return open_

    def _is_trusted(self, uri: str) -> bool:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        if parts.netloc in self._hosts or host in self._hosts:
            return True
        return parts.scheme == "https" and host.endswith(".ringcentral.com")
