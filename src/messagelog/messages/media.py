"""The media of a message: links that a person can follow, and files that a connector can open.

A link never has a token, and only those parts of a query that are known to be harmless. Links for people lead to
RingCentral's media reader, which asks for a sign-in; the runtime opens what a connector downloads, with credentials
of its own.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from urllib.parse import SplitResult, quote, unquote, unquote_plus, urlsplit, urlunsplit

from messagelog.messages.errors import MediaUnavailable
from messagelog.messages.fields import Quantity
from messagelog.messages.parts import Attachment, MessageKind

READER = "https://ringcentral.github.io/ringcentral-media-reader/"

Opener = Callable[["MediaAttachment"], AbstractAsyncContextManager[Any]]
"""Opens a file as a stream. The runtime that gives it decides what it yields."""

_HARMLESS = {"contentDisposition": frozenset({"Inline", "Attachment"})}
"""The harmless query parameters of RingCentral's addresses of files, with their values. Any other parameter, and any
other value, may be a token, a signature or people's own words."""

_TOKEN_ANYWHERE = re.compile(r"access_?token|jwttoken|[?&#;]token=", re.IGNORECASE)
_DEEPEST_QUOTING = 8
_SMIL = frozenset({"application/smil", "application/smil+xml"})


class Source(Protocol):
    """The owner of attachments: a message, or an entity of a shared thread."""

    @property
    def attachments(self) -> Sequence[Attachment]:
        """All attachments that RingCentral lists."""

    @property
    def kind(self) -> MessageKind:
        """The kind of the message."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MediaAttachment:
    """One file of a message. `str()` is its address without any token.

    `kind` is recording, fax, image, video or file; `type` is RingCentral's own word for its role in the message,
    such as `RenderedDocument`. `size` is in bytes, `duration` in seconds.
    `view_link` is a page for people; `uri` answers only to those with RingCentral's credentials.
    """

    id: str | None
    kind: str
    content_type: str | None
    file_name: str | None
    size: Quantity | None
    duration: Quantity | None
    uri: str | None
    view_link: str | None
    opener: Opener | None = dataclasses.field(default=None, repr=False, compare=False)
    type: str | None = None

    def open(self) -> AbstractAsyncContextManager[Any]:
        """Open the file as a stream (`async with media.open() as stream`).
        Raises MediaUnavailable if no user can fetch it, or RingCentral gave no address.
        """
        if self.opener is None:
            raise MediaUnavailable("media cannot be downloaded here: no RingCentral access is set up")
        if self.uri is None:
            raise MediaUnavailable("RingCentral gave no address for this file")
        return self.opener(self)

    def __str__(self) -> str:
        return self.uri or ""


DownloadLink = MediaAttachment
"""The type of `fax_download_link` and `image_download_link`: an address without secrets, to be opened."""


class Media:
    """All media of one message: every attachment, and the first of each kind by the reference's names.

    `attachments` are the files that a person sent. `parts` also has technical ones: the layout of an MMS, the file with
    a voicemail's transcript, the document that a fax was rendered from.
    """

    def __init__(self, source: Source, opener: Opener | None = None) -> None:
        parts = [each for each in source.attachments if (each.type or "").casefold() != "text"]
        rendered = any((each.type or "").casefold() == "rendereddocument" for each in parts)
        self.parts = tuple(_describe(each, source.kind, opener) for each in parts)
        self.attachments: tuple[MediaAttachment, ...] = tuple(
            each for each in self.parts if not _is_technical(each, rendered=rendered)
        )

    def __bool__(self) -> bool:
        return bool(self.attachments)

    def first(self, kind: str) -> MediaAttachment | None:
        """Return the first attachment of a kind."""
        return next((attachment for attachment in self.attachments if attachment.kind == kind), None)

    @property
    def recording_link(self) -> str | None:
        """The page that plays the voicemail."""
        return _view_link(self.first("recording"))

    @property
    def fax_doc_link(self) -> str | None:
        """The page that shows the fax."""
        return _view_link(self.first("fax"))

    @property
    def fax_download_link(self) -> DownloadLink | None:
        """The fax's document, to be opened; None if it cannot be downloaded."""
        return _download_link(self.first("fax"))

    @property
    def image_link(self) -> str | None:
        """The page that shows the first picture."""
        return _view_link(self.first("image"))

    @property
    def image_download_link(self) -> DownloadLink | None:
        """The first picture, to be opened; None if it cannot be downloaded."""
        return _download_link(self.first("image"))

    @property
    def image_content_type(self) -> str | None:
        """The first picture's content type, such as `image/jpeg`."""
        image = self.first("image")
        return image.content_type if image else None

    @property
    def video_link(self) -> str | None:
        """The page that plays the first video."""
        return _view_link(self.first("video"))


def _view_link(attachment: MediaAttachment | None) -> str | None:
    return attachment.view_link if attachment else None


def _download_link(attachment: MediaAttachment | None) -> DownloadLink | None:
    return attachment if attachment and attachment.opener and attachment.uri else None


def _is_technical(part: MediaAttachment, *, rendered: bool) -> bool:
    """Return whether a part is technical; `rendered`: the message has a document as it was faxed."""
    type_ = (part.type or "").casefold()
    if type_ == "audiotranscription" or (type_ == "sourcedocument" and rendered):
        return True
    format_ = (part.content_type or "").partition(";")[0].strip().casefold()
    return format_ in _SMIL or (part.file_name or "").strip().casefold().endswith(".smil")


def _describe(attachment: Attachment, message: MessageKind, opener: Opener | None) -> MediaAttachment:
    uri = clean_uri(attachment.uri)
    return MediaAttachment(
        id=attachment.id,
        kind=_kind(attachment, message),
        content_type=attachment.content_type,
        file_name=attachment.file_name,
        size=attachment.size,
        duration=attachment.vm_duration,
        uri=uri,
        view_link=reader_link(uri) if uri else clients_link(attachment.link),
        opener=opener,
        type=attachment.type,
    )


def _kind(attachment: Attachment, message: MessageKind) -> str:
    type_ = (attachment.type or "").casefold()
    family = (attachment.content_type or "").strip().casefold().partition("/")[0]
    if type_ == "audiorecording" or (message is MessageKind.VOICEMAIL and family in {"audio", ""}):
        return "recording"
    if type_ == "rendereddocument" or (message is MessageKind.FAX and family in {"application", ""}):
        return "fax"
    return family if family in {"image", "video"} else "file"


def reader_link(uri: str) -> str:
    """Return the page of RingCentral's media reader for a media address."""
    place = "sandbox" if (urlsplit(uri).hostname or "").startswith("media.devtest") else ""
    # The characters that JavaScript's encodeURIComponent does not escape.
    media = quote(uri, safe="!*'()")
    return f"{READER}{place}?media={media}"


def clean_uri(uri: str | None) -> str | None:
    """Return a web address with only the harmless parts of its query; None if it is not one, or has other tokens."""
    parts = _split_web_address(uri)
    if parts is None or "@" in parts.netloc:
        return None
    query = "&".join(filter(_is_harmless, parts.query.split("&")))
    cleaned = urlunsplit(parts._replace(query=query, fragment=""))
    return None if _holds_token(cleaned) else cleaned


def clients_link(link: str | None) -> str | None:
    """Return the client's own page for a file, with the file's address in it cleaned too; None if it cannot be."""
    parts = _split_web_address(link)
    if parts is None or parts.scheme != "https" or "@" in parts.netloc:
        return None
    query = []
    for parameter in parts.query.split("&"):
        name, _, value = parameter.partition("=")
        if name == "media":
            media = clean_uri(unquote(value))
            if media is None:
                return None
            query.append(f"media={quote(media, safe='!*()')}")
        elif _is_harmless(parameter):
            query.append(parameter)
    cleaned = urlunsplit(parts._replace(query="&".join(query), fragment=""))
    unsafe = not cleaned.isascii() or bool(set(cleaned) & set("\"'<>`\\"))
    return None if unsafe or _holds_token(cleaned) else cleaned


def _split_web_address(uri: str | None) -> SplitResult | None:
    """Return the parts of a web address, unless it has white space or unprintable characters in it."""
    if not uri or not uri.isprintable() or " " in uri:
        return None
    try:
        parts = urlsplit(uri)
    except ValueError:  # such as a bracket in the host: it is not an address, so there is no link
        return None
    return parts if parts.scheme in {"http", "https"} and parts.hostname else None


def _is_harmless(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return value in _HARMLESS.get(name, ())


def _holds_token(uri: str) -> bool:
    """Return whether a token's name is anywhere in it, also if the address was quoted several times."""
    for _ in range(_DEEPEST_QUOTING):
        if _TOKEN_ANYWHERE.search(uri):
            return True
        plain = unquote_plus(uri)
        if plain == uri:
            return False
        uri = plain
    return True
