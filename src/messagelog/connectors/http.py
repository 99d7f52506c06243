"""`session.http`: JSON over a pooled client, with a CRM's base URL, credentials, timeouts and error rules in it.

A status becomes an error whose type says what to do next. A read can always be repeated, so it never leaves an unknown
outcome; a write without a trustworthy answer does. A read is a GET, or what the connector says is one: many CRMs answer
searches to a POST.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import yarl

from messagelog.connectors.answers import LONGEST, AnswerTooLong, read_answer
from messagelog.connectors.errors import (
    AuthExpired,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    SignInRenewed,
    Unavailable,
)
from messagelog.connectors.limits import CountingGate, RequestEnd
from messagelog.connectors.outbound import find_refusal
from messagelog.connectors.redaction import READ, redact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from messagelog.connectors.errors import ConnectorError
    from messagelog.connectors.limits import Gate, Permit

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_SECONDS = re.compile(r"[0-9]{1,300}(\.[0-9]{1,300})?")  # with a fraction too, which some CRMs send
_LONGEST_RETRY_AFTER = 86_400.0
_NO_CLOCK = aiohttp.ClientTimeout(total=None)
_GOOD = range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES)
_TO_BE_SENT_ELSEWHERE = frozenset({HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT})


class CrmHttp:
    """Speaks JSON to one CRM for one user.

    If the CRM answers 401, `renewed` is asked once for other headers, and a read is sent again with them. A write is
    not: a gateway may have refused what the CRM had done. It raises `SignInRenewed`, and the next request goes out with
    the new headers. Without `renewed`, or if it raises `AuthExpired`, the 401 stands. Each request passes the `gate`
    before it is sent. `places` bound how many requests are under way at once; a request that gets no place for half the
    time of a call is `Unavailable`, unless its call has written before: then it waits. `has_deadline_within` says
    whether its task ends in time by itself; then the request needs no timeout of its own.

    Every method returns the decoded JSON body (None if there is none) and raises a `ConnectorError` otherwise: 401
    `AuthExpired`, 404 and 410 `NotFound`, 429 `RateLimited`, other 4xx `Rejected`, a refused connection `Unavailable`.
    A 5xx, a 408, a timeout or a broken connection is `OutcomeUnknown` for a write and `Unavailable` for a read, and so
    is an answer of more than `longest` bytes. A redirect of a write is `OutcomeUnknown`, since many servers redirect
    when the work is done, except 307 and 308, which ask for the same request elsewhere: these and redirects of a read
    are `Rejected`. So is a host that this server does not connect to.
    """

    def __init__(
        self,
        client: aiohttp.ClientSession,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        call_timeout: float = 20.0,
        renewed: Callable[[], Awaitable[Mapping[str, str]]] | None = None,
        gate: Gate | None = None,
        places: asyncio.Semaphore | None = None,
        has_deadline_within: Callable[[float], bool] = lambda _: False,
        longest: int = LONGEST,
    ) -> None:
        self._longest = longest
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers or {})
        self._renewed = renewed
        self._gate = gate or CountingGate()
        self._places = places
        self._call_timeout = call_timeout
        self._has_deadline_within = has_deadline_within
        self._timeout = aiohttp.ClientTimeout(total=call_timeout)

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> Any:
        """Read `path` (below the base URL); `params` are the query's names and values, not encoded."""
        return await self.request("GET", path, params=params)

    async def post(
        self,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        reads: bool = False,
    ) -> Any:
        """Post `json` to `path`. `reads` says that it changes nothing at the CRM: a search, a query."""
        return await self.request("POST", path, json=json, params=params, reads=reads)

    async def put(self, path: str, *, json: Any = None, reads: bool = False) -> Any:
        """Put `json` to `path`; `reads` as for `post`."""
        return await self.request("PUT", path, json=json, reads=reads)

    async def patch(self, path: str, *, json: Any = None) -> Any:
        """Patch `path` with `json`."""
        return await self.request("PATCH", path, json=json)

    async def delete(self, path: str) -> Any:
        """Delete `path`."""
        return await self.request("DELETE", path)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        reads: bool | None = None,
    ) -> Any:
        """Send one request; `json` is encoded, or `data` (bytes, a stream) is sent as it is.

        `reads` says whether it changes nothing at the CRM; None: a GET, HEAD or OPTIONS does not.
        """
        if reads is None:
            reads = method in _READS
        more = dict(headers or {})
        if json is not None:
            data = msgspec.json.encode(json)
            more["Content-Type"] = "application/json"
        url = yarl.URL(self._base_url + path, encoded=False)
        shown = self._headers
        try:
            return await self._send(method, url, data, params, {**shown, **more}, reads=reads)
        except AuthExpired as error:
            if self._renewed is None:
                raise
            if self._headers is shown:  # otherwise another request of this session was faster
                self._headers = dict(await self._renewed())
            if not reads:
                raise SignInRenewed(error.detail, status=error.status, body=error.body) from error
            if data is not None and not isinstance(data, bytes | str):
                raise Unavailable(
                    "the sign-in was renewed; a stream cannot be sent again", status=error.status
                ) from error
        return await self._send(method, url, data, params, {**self._headers, **more}, reads=reads)

    def refused(self, retry_after: float | None) -> None:
        """Hold back the tenant's further requests: the CRM has asked for patience. A 429 does so by itself."""
        self._gate.hold_back(retry_after)

    async def _send(
        self,
        method: str,
        url: yarl.URL,
        data: Any,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
        *,
        reads: bool,
    ) -> Any:
        permit = await self._gate.permit(writes=not reads)
        places = self._places
        if places is not None:
            await (self._acquire_place(permit, places) if places.locked() else places.acquire())
        try:
            async with await self._client.request(
                method,
                url,
                params=params,
                data=data,
                headers=headers,
                timeout=_NO_CLOCK if self._has_deadline_within(self._call_timeout) else self._timeout,
                allow_redirects=False,  # the credentials are for this host
            ) as answer:
                body = await read_answer(answer, self._longest)
                permit.finish(RequestEnd.ANSWERED, answer.status, answer.headers)
                return _decode(answer, body, headers, reads=reads)
        except aiohttp.InvalidURL:
            permit.finish(RequestEnd.UNUSED)
            # Not chained: it holds the URL.
            raise Rejected("the CRM's URL is none that can be asked") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            if (refused := find_refusal(error)) is not None:
                permit.finish(RequestEnd.UNUSED)
                raise Rejected(str(refused)) from None
            permit.finish(RequestEnd.UNSENT)
            raise Unavailable(f"no connection ({type(error).__name__})") from error
        except AnswerTooLong as error:
            permit.finish(RequestEnd.BROKEN)
            raise _no_answer_error(str(error), reads=reads) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            permit.finish(RequestEnd.LOST if isinstance(error, TimeoutError) else RequestEnd.BROKEN)
            # Past this point the request may have left: only a read is known to have done nothing.
            raise _no_answer_error(f"no answer ({type(error).__name__})", reads=reads) from error
        except BaseException:
            permit.finish(RequestEnd.LOST)  # unless its end is known already
            raise
        finally:
            if places is not None:
                places.release()

    async def _acquire_place(self, permit: Permit, places: asyncio.Semaphore) -> None:
        """Wait for one of the places of the requests under way.

        The permit comes first: otherwise the backlog would hold the places of live requests while it waits for permits,
        which live requests get first.
        """
        try:
            # A call that has written is not turned away: it would be left half done, and repeated.
            async with asyncio.timeout(None if permit.goes_on else self._call_timeout / 2):
                await places.acquire()
        except TimeoutError as error:
            permit.finish(RequestEnd.UNUSED)
            raise Unavailable("too many calls are under way") from error
        except BaseException:
            permit.finish(RequestEnd.UNUSED)
            raise


def _no_answer_error(
    detail: str, *, reads: bool, status: int | None = None, body: str | None = None
) -> ConnectorError:
    """Return the error of a missing or broken answer: a read did nothing, a write may have done its work."""
    if reads:
        return Unavailable(detail, status=status, body=body)
    return OutcomeUnknown(detail, status=status, body=body)


def _body_to_keep(body: bytes, headers: Mapping[str, str]) -> str:
    """Return the CRM's answer as it may be stored: without the credentials that were sent."""
    return redact(body[: 4 * READ].decode("utf-8", "replace"), headers.values())


def _decode(answer: aiohttp.ClientResponse, body: bytes, headers: Mapping[str, str], *, reads: bool) -> Any:
    """Return the JSON of a good answer; raise the error of another status."""
    status = answer.status
    if status not in _GOOD:
        retry_after = retry_after_seconds(answer.headers.get("Retry-After"))
        raise error_for_status(
            status, reads=reads, retry_after=retry_after, body=_body_to_keep(body, headers)
        )
    if not body:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = _body_to_keep(body, headers)
        raise _no_answer_error(
            f"HTTP {status} without JSON", reads=reads, status=status, body=said
        ) from error


def error_for_status(
    status: int, *, reads: bool, retry_after: float | None = None, body: str | None = None
) -> ConnectorError:
    """Return the error of a status other than 2xx, as the answer to a read or to a write."""
    detail = f"HTTP {status}"
    if status == HTTPStatus.UNAUTHORIZED:
        return AuthExpired(detail, status=status, body=body)
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return NotFound(detail, status=status, body=body)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(detail, retry_after=retry_after, status=status, body=body)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return _no_answer_error(detail, reads=reads, status=status, body=body)
    if status < HTTPStatus.BAD_REQUEST and status not in _TO_BE_SENT_ELSEWHERE and not reads:
        return OutcomeUnknown(detail, status=status, body=body)  # many servers redirect when it is done
    return Rejected(detail, status=status, body=body)


def retry_after_seconds(header: str | None, *, now: dt.datetime | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, as a number or a date; None if it is neither.

    They are between 0 and a day, whatever the header holds.
    """
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST_RETRY_AFTER)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=dt.UTC)
    seconds = (when - (now or dt.datetime.now(dt.UTC))).total_seconds()
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER)
