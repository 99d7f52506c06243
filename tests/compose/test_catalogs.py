"""Every language says everything, and nothing that is no longer said."""

from importlib import resources
from itertools import combinations_with_replacement
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import messagelog.compose
from messagelog.compose import LANGUAGES, LogFormat, TextSettings, pick_language
from messagelog.compose.clean import normalise
from messagelog.compose.wording import words_in
from messagelog.messages import MessageKind

SOURCE = Path(messagelog.compose.__file__).parent
KEYWORDS = {"gettext": None, "ngettext": (1, 2), "_gettext_noop": None}
DAY = 86_400_000
T = 1_783_998_000_000

each_language = pytest.mark.parametrize("language", LANGUAGES)
each_translation = pytest.mark.parametrize("language", [each for each in LANGUAGES if each != "en"])


def in_source() -> set[str | tuple[str, ...]]:
    found = extract_from_dir(SOURCE, [("**.py", "python")], keywords=KEYWORDS)
    return {message for _, _, message, _, _ in found if message}


def catalog(language: str) -> Catalog:
    path = resources.files("messagelog.compose") / "locale" / language / "LC_MESSAGES" / "messagelog.po"
    with path.open("rb") as file:
        return read_po(file, abort_invalid=True)


def texts(message: Message) -> list[str]:
    string = message.string
    return [string] if isinstance(string, str) else list(string or ())


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@each_translation
def test_a_catalog_has_every_text_of_the_source_and_no_other(language: str) -> None:
    translated = {message.id for message in catalog(language) if message.id}
    assert translated == in_source()


@each_translation
def test_every_text_is_translated_and_none_is_in_doubt(language: str) -> None:
    po = catalog(language)
    assert po.locale_identifier == language
    assert not po.obsolete
    for message in po:
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        assert all(texts(message)), message.id
        assert len(texts(message)) == (po.num_plurals if message.pluralizable else 1), message.id
        asked = message.id if isinstance(message.id, str) else message.id[-1]
        assert all(names(text) == names(asked) for text in texts(message)), message.id


@each_translation
def test_a_catalog_is_that_of_its_language(language: str) -> None:
    assert words_in(language).title("Maya") != words_in("en").title("Maya")
    assert words_in(language).title("Maya").count("Maya") == 1


def test_the_folders_are_the_languages() -> None:
    folders = {path.name for path in (SOURCE / "locale").iterdir()}
    assert folders | {"en"} == set(LANGUAGES)


@each_language
def test_counts_can_be_read_again(language: str) -> None:
    words = words_in(language)
    kinds = [MessageKind.SMS, MessageKind.VOICEMAIL, MessageKind.FAX, MessageKind.OTHER]
    for some in combinations_with_replacement((0, 1, 2, 11, 1_000), len(kinds)):
        counts = {kind: n for kind, n in zip(kinds, some, strict=True) if n}
        line = normalise(words.counts(counts))
        assert words.read_counts(line) == (counts or None)
        assert words.read_counts(f"{line} ") is None
        assert words.read_counts(f"{line} (Ada)") is None


@each_language
def test_days_can_be_read_again(language: str) -> None:
    words = words_in(language)
    for days in (["2026-07-13"], ["13 jul 2026", "14 jul 2026"], ["2026/07/13", "2026/07/14"]):
        assert words.read_days(normalise(words.days(days))) == days
    assert words.read_days(words.zone("UTC")) is None


@each_language
def test_the_title_of_a_heading_begins_like_no_entry(language: str) -> None:
    words = words_in(language)
    assert words.is_title(words.title("x"))
    assert words.is_title(words.continuation(words.title("x")))
    assert words.is_title(words.lost_title())
    assert not words.is_title(words.when(None, "UTC"))
    for month in range(12):
        assert not words.is_title(words.when(T + month * 30 * DAY, "UTC"))


@pytest.mark.parametrize(
    ("wishes", "language"),
    [
        ([], "en"),
        ([None, ""], "en"),
        (["es"], "es"),
        (["es-MX"], "es"),
        (["JA_jp"], "ja"),
        (["ja.UTF-8"], "ja"),
        (["fr", "es"], "es"),
        ([None, "ja"], "ja"),
        (["../es"], "en"),
    ],
)
def test_the_language_is_the_first_wish_that_there_is(wishes: list[str | None], language: str) -> None:
    assert pick_language(*wishes) == language


def test_pins_of_earlier_versions_are_read() -> None:
    import msgspec

    old = b'{"format":"text/html","zone":"UTC","locale":"en","template":1}'
    assert msgspec.json.decode(old, type=TextSettings) == TextSettings(LogFormat.HTML, "UTC", "en", 1)
    new = TextSettings(LogFormat.PLAIN, "Asia/Tokyo", "ja", limit=32_000)
    assert msgspec.json.decode(msgspec.json.encode(new), type=TextSettings) == new
