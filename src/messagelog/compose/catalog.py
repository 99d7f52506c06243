"""The languages of our texts: message catalogs, as translators edit them, and which one a user gets."""

import gettext
import io
from functools import lru_cache
from importlib import resources
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

DEFAULT_LANGUAGE: Final = "en"
LANGUAGES: Final = ("en", "es", "ja")
"""English is in the source; each other has a catalog in `locale/`."""


def pick_language(*wishes: str | None) -> str:
    """Return the language of the first wish that there is a catalog for, else English.

    Wishes are the user's, then the operator's default: language tags in any spelling: `es`, `es-MX`, `ja_JP.UTF-8`.
    """
    for wish in wishes:
        language = (wish or "").strip().replace("_", "-").partition("-")[0].partition(".")[0].casefold()
        if language in LANGUAGES:
            return language
    return DEFAULT_LANGUAGE


@lru_cache(maxsize=len(LANGUAGES))
def catalog_of(language: str) -> gettext.NullTranslations:
    """Return the catalog of one of `LANGUAGES`; for English, the source's own texts."""
    if language == DEFAULT_LANGUAGE:
        return gettext.NullTranslations()
    path = resources.files("messagelog.compose") / "locale" / language / "LC_MESSAGES" / "messagelog.po"
    compiled = io.BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
