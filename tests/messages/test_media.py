"""Links that people can follow, files that connectors can open, and never a token."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from messagelog.messages import Attachment, Media, MediaAttachment, MediaUnavailable, Message, MessageKind

READER = "https://ringcentral.github.io/ringcentral-media-reader/"
URI = "https://media.ringcentral.com/restapi/v1.0/account/1/message-store/2/content/3"


def media(*attachments: Attachment, type: str = "SMS") -> Media:  # noqa: A002 - RingCentral's name
    return Message(id="1", type=type, attachments=attachments).media


def only(**fields: Any) -> MediaAttachment:
    (attachment,) = media(Attachment(**fields)).attachments
    return attachment


@asynccontextmanager
async def opener(attachment: MediaAttachment) -> AsyncIterator[str]:
    yield f"stream of {attachment.uri}"


def test_every_attachment_of_a_kind_and_the_first_by_the_references_names() -> None:
    several = media(
        Attachment(type="Text", content_type="text/plain", uri=URI),
        Attachment(type="MmsAttachment", content_type="image/png", uri=f"{URI}/a"),
        Attachment(type="MmsAttachment", content_type="image/jpeg", uri=f"{URI}/b"),
        Attachment(type="MmsAttachment", content_type="video/mp4", uri=f"{URI}/c"),
        Attachment(type="MmsAttachment", content_type="text/vcard", uri=f"{URI}/d"),
    )
    assert [attachment.kind for attachment in several.attachments] == ["image", "image", "video", "file"]
    assert several.image_link == f"{READER}?media={quote(f'{URI}/a', safe='')}"
    assert several.image_content_type == "image/png"
    assert several.video_link == f"{READER}?media={quote(f'{URI}/c', safe='')}"
    assert several.recording_link is None
    assert several.fax_doc_link is None


def test_mms_attachment_without_content_type_is_a_plain_link() -> None:
    attachment = only(type="MmsAttachment", uri=URI)
    assert attachment.kind == "file"
    assert attachment.view_link == f"{READER}?media={quote(URI, safe='')}"


def test_fax_without_link_uri_or_token_has_no_broken_link() -> None:
    fax = media(Attachment(type="RenderedDocument"), type="Fax")
    assert len(fax.attachments) == 1
    assert (fax.fax_doc_link, fax.fax_download_link) == (None, None)
    assert str(fax.attachments[0]) == ""


def test_attachments_without_a_type_are_what_their_message_is() -> None:
    assert media(Attachment(uri=URI), type="VoiceMail").recording_link
    assert media(Attachment(uri=URI, content_type="application/pdf"), type="Fax").fax_doc_link
    assert media(Attachment(uri=URI, content_type="audio/mpeg")).attachments[0].kind == "file"


def test_sandbox_media_is_shown_by_the_sandbox_reader() -> None:
    uri = "https://media.devtest.ringcentral.com/x"
    assert only(uri=uri).view_link == f"{READER}sandbox?media={quote(uri, safe='')}"


def test_the_address_is_encoded_as_javascript_does() -> None:
    link = only(uri="https://media.test/a(b)'c!*~é?contentDisposition=Inline").view_link
    assert link == f"{READER}?media=https%3A%2F%2Fmedia.test%2Fa(b)'c!*~%C3%A9%3FcontentDisposition%3DInline"


@pytest.mark.parametrize(
    "given",
    [
        f"{URI}?access_token=SECRET",
        f"{URI}?Access_Token=SECRET",
        f"{URI}?access%5Ftoken=SECRET",
        f"{URI}#access_token=SECRET",
        f"{URI}?accessToken=SECRET&token=SECRET",
        f"{URI}?sig=SECRET&X-Amz-Signature=SECRET&key=SECRET&SECRET",
        f"{URI}?access%255Ftoken=SECRET",
        f"{URI}?next=https%3A%2F%2Fx.test%3Faccess_token%3DSECRET",
        f"{URI}?contentDisposition=SECRET&contentdisposition=SECRET&contentDispositionFilename=SECRET.pdf",
        f"{URI}?=SECRET&&contentDisposition",
        f"{URI}?contentDisposition=Inline;access=SECRET",
    ],
)
def test_tokens_are_taken_out_of_addresses(given: str) -> None:
    attachment = only(uri=given)
    assert attachment.uri == URI
    assert "SECRET" not in f"{attachment} {attachment!r}"


@given(st.text(max_size=20), st.text(st.characters(codec="ascii"), min_size=1, max_size=20))
def test_nothing_of_a_query_is_kept_but_what_is_known_to_be_harmless(name: str, value: str) -> None:
    assume((name, value) not in {("contentDisposition", "Inline"), ("contentDisposition", "Attachment")})
    parameter = f"{quote(name, safe='')}={quote(value, safe='')}"
    assert only(uri=f"{URI}?{parameter}").uri == URI
    link = f"{READER}?media={quote(URI, safe='')}"
    assert only(link=f"{link}&{parameter}" if name != "media" else link).view_link == link
    assert only(link=f"{READER}?media={quote(f'{URI}?{parameter}', safe='')}").view_link == link


@pytest.mark.parametrize("how", ["Inline", "Attachment"])
def test_what_ringcentral_says_of_how_to_show_a_file_is_kept(how: str) -> None:
    kept = f"{URI}?contentDisposition={how}"
    assert only(uri=f"{kept}&access_token=SECRET").uri == kept
    link = f"{READER}?media={quote(kept, safe='')}"
    assert only(uri=kept).view_link == link
    assert only(link=f"{link}&rcAccessToken=SECRET#SECRET").view_link == link


@pytest.mark.parametrize(
    "given",
    [
        f"{URI}/access_token=SECRET",
        "https://user:SECRET@media.test/x",
        "javascript:alert('SECRET')",
        "file:///SECRET",
        "//media.test/SECRET",
        "https://[SECRET/",
        "https:///SECRET",
        "https://media.test/a b SECRET",
        "https://media.test/\nSECRET",
        "https://media.test/\ud83dSECRET",
        "",
    ],
)
def test_addresses_that_cannot_be_shown_give_no_link(given: str) -> None:
    attachment = only(uri=given)
    assert (attachment.uri, attachment.view_link) == (None, None)


def test_the_clients_link_serves_only_where_there_is_no_address() -> None:
    link = f"{READER}?media={quote(URI, safe='')}"
    assert only(link=link).view_link == link
    assert only(link=f"{READER}?media=other", uri=URI).view_link == link


@pytest.mark.parametrize(
    "link",
    [
        "http://reader.test/?media=x",
        "javascript:alert(1)",
        f"https://reader.test/?media={quote(f'{URI}/access_token=SECRET', safe='')}",
        "https://reader.test/?media=",
        "https://reader.test/?media=javascript%3Aalert(1)",
        f"https://reader.test/?media={quote(URI, safe='')}&media=SECRET",
        f"https://reader.test/?media={quote(quote(f'{URI}?access_token=SECRET', safe=''), safe='')}",
        "https://reader.test/token=SECRET/access_token=SECRET",
        'https://reader.test/"><script>',
        "https://user:pw@reader.test/",
        "https://reader.test/%" + "25" * 20 + "41",
    ],
)
def test_a_clients_link_that_is_unsafe_is_not_used(link: str) -> None:
    assert only(link=link).view_link is None


def test_quoted_without_end_is_not_searched_without_end() -> None:
    assert only(uri="https://x.test/a=%252541").uri is not None
    assert only(uri="https://x.test/a=%252561ccess_token=SECRET").uri is None
    assert only(uri="https://x.test/a=%" + "25" * 30 + "41").uri is None


def test_downloads_need_someone_who_opens_and_an_address() -> None:
    fax = Attachment(type="RenderedDocument", uri=f"{URI}?access_token=SECRET")
    image = Attachment(type="MmsAttachment", content_type="image/png", uri=URI)
    message = Message(id="1", attachments=(fax, image))

    assert message.media.fax_download_link is None
    assert message.media.image_download_link is None

    opened = Media(message, opener)
    assert str(opened.fax_download_link) == URI
    assert str(opened.image_download_link) == URI

    async def read() -> str:
        assert opened.fax_download_link is not None
        async with opened.fax_download_link.open() as stream:
            return str(stream)

    assert asyncio.run(read()) == f"stream of {URI}"


def test_what_cannot_be_opened_says_why() -> None:
    with pytest.raises(MediaUnavailable, match="no RingCentral access"):
        only(uri=URI).open()
    (without_address,) = Media(Message(id="1", attachments=(Attachment(),)), opener).attachments
    with pytest.raises(MediaUnavailable, match="no address"):
        without_address.open()


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("SMS", MessageKind.SMS),
        ("MMS", MessageKind.SMS),
        ("VoiceMail", MessageKind.VOICEMAIL),
        ("Voicemail", MessageKind.VOICEMAIL),
        ("Fax", MessageKind.FAX),
        ("Thread", MessageKind.THREAD),
        ("Pager", MessageKind.OTHER),
        ("", MessageKind.OTHER),
        (None, MessageKind.SMS),
    ],
)
def test_kinds(type_: str | None, kind: MessageKind) -> None:
    assert Message(id="1", type=type_).kind is kind


@pytest.mark.parametrize(("part", "kind"), [("AudioRecording", "VoiceMail"), ("RenderedDocument", "Fax")])
def test_a_message_without_a_type_is_told_by_its_attachment(part: str, kind: str) -> None:
    assert Message(id="1", attachments=(Attachment(type=part),)).kind == kind
