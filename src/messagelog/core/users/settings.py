"""Settings: what users chose in the client, and what the operator sets for all users of a tenant."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cachetools import TTLCache

from messagelog.compose import pick_language, pick_zone
from messagelog.messages import BadRequest
from messagelog.storage import transactions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from messagelog.core.users.directory import User
    from messagelog.storage import Store

LANGUAGE: Final = "messagelogLanguage"
TIMEZONE: Final = "messagelogTimezone"
"""Ids of our own: the client has a setting `language` for its menus, and sends all of its settings together."""

_LOCALE_SECONDS: Final = 10.0
_MOST_LOCALES: Final = 10_000

MOST_SETTINGS: Final = 1_000
LARGEST_SETTINGS: Final = 100_000
"""Characters of all settings of a user together, as JSON with their ids. The client's are a hundredth of it."""

LONGEST_ID: Final = 255

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}")

Setting = dict[str, Any]
"""A setting as the client has it: `value`, and perhaps `customizable`, `defaultValue`, `options`."""


class AdminSetting(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """A setting as the operator sets it.

    Users may change it if it is `customizable`. One that `is_removed` does not exist for them, whatever they chose.
    """

    value: Any = None
    customizable: bool = False
    is_removed: bool = False
    default_value: Any = None
    options: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class SavedSettings:
    """The settings in force after a change, and the problems of those that were left out."""

    settings: dict[str, Setting]
    problems: tuple[BadRequest, ...]


@dataclass(frozen=True, slots=True)
class Locale:
    """A user's language (one that we have words for) and time zone (as in `TextSettings.zone`).

    `country` (ISO 3166, such as `US`) is the country of phone numbers without a country code; empty if our own number
    tells it.
    """

    language: str = "en"
    zone: str = "UTC"
    country: str = ""


def is_language(text: str) -> bool:
    """Return whether a text is a language tag, such as `en` or `pt-BR`."""
    return _LANGUAGE.fullmatch(text) is not None


def is_zone(text: str) -> bool:
    """Return whether a text is an IANA time zone that this machine knows, such as `Europe/Berlin`."""
    return pick_zone(text, None) == text


def merge(own: Mapping[str, Setting], admins: Mapping[str, AdminSetting]) -> dict[str, Setting]:
    """Return the settings that are in force for a user.

    The operator's settings win over the user's own, except those that are customizable and that the user has set.
    """
    found: dict[str, Setting] = {}
    for id_ in sorted({*own, *admins}):
        admins_own = admins.get(id_)
        if admins_own is None:
            found[id_] = own[id_]
        elif not admins_own.is_removed:
            shown: Setting = {"customizable": admins_own.customizable, "value": admins_own.value}
            if admins_own.default_value is not None:
                shown["defaultValue"] = admins_own.default_value
            if admins_own.options is not None:
                shown["options"] = admins_own.options
            found[id_] = {**shown, **own[id_]} if admins_own.customizable and id_ in own else shown
    return found


def locale_of(settings: Mapping[str, Setting], user: User, default: Locale) -> Locale:
    """Return a user's language and zone: the user's setting, else the CRM's, else the operator's default.

    A language that we have no words for is ignored, and so is a zone that does not (or no longer) exist.
    """
    language, zone = _value(settings, LANGUAGE), _value(settings, TIMEZONE)
    if not zone or not is_zone(zone):
        of_crm = (user.timezone, user.timezone_offset)
        zone = default.zone if of_crm == (None, None) else pick_zone(*of_crm)
    return Locale(pick_language(language, default.language), zone, default.country)


def read_admin_settings(text: bytes) -> dict[str, AdminSetting]:
    """Read the operator's settings from JSON, by id; raise `BadRequest` naming a bad setting."""
    try:
        settings = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("settings", "expected a JSON object of settings") from None
    read: dict[str, AdminSetting] = {}
    for id_, raw in settings.items():
        try:
            read[id_] = msgspec.json.decode(raw, type=AdminSetting)
        except (msgspec.DecodeError, RecursionError) as error:
            problem = str(error)
            raise BadRequest(_path_of(id_), problem[:1].lower() + problem[1:]) from None
    _check(_values(read))
    return read


class UserSettings:
    """Reads and changes the settings of users. `default` is the operator's language and zone for all users."""

    def __init__(self, store: Store, default: Locale) -> None:
        self._store = store
        self._default = default
        self._locales: TTLCache[tuple[str, str, str], Locale] = TTLCache(
            _MOST_LOCALES, _LOCALE_SECONDS, timer=lambda: asyncio.get_running_loop().time()
        )

    async def effective(self, user: User) -> dict[str, Setting]:
        """Return the settings that are in force for a user."""
        return merge(*await self._read(user))

    async def locale(self, user: User) -> Locale:
        """Return a user's language and zone. Changes by another process are seen after ten seconds."""
        who = (user.tenant, user.platform, user.id)
        locale = self._locales.get(who)
        if locale is None:
            locale = self._locales[who] = locale_of(await self.effective(user), user, self._default)
        return locale

    async def change(self, user: User, changed: Mapping[str, Any], removed: Iterable[str]) -> SavedSettings:
        """Change and remove some of a user's own settings.

        The client sends all settings that it was given, so one that the operator decides is not taken as the user's
        choice, and neither is a null. A setting that cannot be used is left out and its stored value stays: since the
        client saves all settings together, one bad value must not lose the others. Raises `BadRequest` if there would
        be too many settings, or if they would be too long.
        """
        problems: list[BadRequest] = []
        kept: dict[str, Setting] = {}
        _, admins = await self._read(user)
        for id_, setting in changed.items():
            by_admin = admins.get(id_)
            if setting is None or (
                by_admin is not None and (by_admin.is_removed or not by_admin.customizable)
            ):
                continue
            if not isinstance(setting, dict):
                problems.append(BadRequest(_path_of(id_), "expected an object with a value"))
            elif (problem := _problem(id_, setting.get("value"))) is not None:
                problems.append(problem)
            else:
                only_admins = {"customizable", "isRemoved"}
                kept[id_] = {name: each for name, each in setting.items() if name not in only_admins}
        removed = [id_ for id_ in removed if _problem(id_, None) is None]
        texts = {id_: msgspec.json.encode(setting).decode() for id_, setting in kept.items()}
        who = (user.tenant, user.platform, user.id)
        await self._store.write(
            lambda: transactions.change_user_settings(*who, texts, removed, check=_check_size)
        )
        self._locales.pop(who, None)
        return SavedSettings(await self.effective(user), tuple(problems))

    async def admins(self, tenant: str, platform: str) -> dict[str, AdminSetting]:
        """Return the operator's settings for all users of a tenant."""
        return _admins(await self._store.read(lambda: transactions.find_admin_settings(tenant, platform)))

    async def change_admins(
        self, tenant: str, platform: str, changed: Mapping[str, AdminSetting], removed: Iterable[str] = ()
    ) -> None:
        """Change and remove some of the operator's settings. Raise `BadRequest` as `change` does."""
        removed = list(removed)
        _check(_values(changed))
        texts = {id_: msgspec.json.encode(setting).decode() for id_, setting in changed.items()}
        await self._store.write(lambda: transactions.change_admin_settings(tenant, platform, texts, removed))
        self._locales.clear()

    async def _read(self, user: User) -> tuple[dict[str, Setting], dict[str, AdminSetting]]:
        who = (user.tenant, user.platform, user.id)
        own, admins = await self._store.read(lambda: transactions.read_settings(*who))
        return {id_: msgspec.json.decode(text) for id_, text in own.items()}, _admins(admins)


def _check_size(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise `BadRequest` if there would be too many settings, or too long ones. Fewer are always allowed."""
    if len(after) > max(MOST_SETTINGS, len(before)):
        raise BadRequest("userSettings", f"expected at most {MOST_SETTINGS:,} settings")
    size = _size(after)
    if size > max(LARGEST_SETTINGS, _size(before)):
        raise BadRequest(
            "userSettings",
            f"expected at most {LARGEST_SETTINGS:,} characters in all settings together, and these have {size:,}",
        )


def _size(settings: Mapping[str, str]) -> int:
    return sum(len(id_) + len(text) for id_, text in settings.items())


def _admins(texts: Mapping[str, str]) -> dict[str, AdminSetting]:
    return {id_: msgspec.json.decode(text, type=AdminSetting) for id_, text in texts.items()}


def _values(settings: Mapping[str, AdminSetting]) -> dict[str, Any]:
    return {id_: setting.value for id_, setting in settings.items()}


def _value(settings: Mapping[str, Setting], id_: str) -> str:
    value = settings.get(id_, {}).get("value")
    return value if isinstance(value, str) else ""


def _check(values: Mapping[str, Any]) -> None:
    """Raise `BadRequest` for an id that cannot be stored or a value that cannot be used."""
    for id_, value in values.items():
        if (problem := _problem(id_, value)) is not None:
            raise problem


def _problem(id_: str, value: Any) -> BadRequest | None:
    """Return the problem of a setting's id or value, naming it; None if it can be stored."""
    if not id_ or len(id_) > LONGEST_ID or not id_.isprintable():
        return BadRequest(
            "userSettings", f"expected ids of settings with 1 to {LONGEST_ID} printable characters"
        )
    if value is None or value == "":  # no choice: the next one in line decides
        return None
    if id_ == TIMEZONE and not (isinstance(value, str) and is_zone(value)):
        return BadRequest(f"{_path_of(id_)}.value", "expected an IANA time zone, such as Europe/Berlin")
    if id_ == LANGUAGE and not (isinstance(value, str) and is_language(value)):
        return BadRequest(f"{_path_of(id_)}.value", "expected a language, such as en or pt-BR")
    return None


def _path_of(id_: str) -> str:
    """Return the path of a setting. A long or odd id is not repeated."""
    plain = len(id_) <= LONGEST_ID and id_.isprintable()
    return f"userSettings.{id_}" if plain else "userSettings"
