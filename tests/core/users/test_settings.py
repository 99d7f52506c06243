"""Settings: the user's own, the operator's, and which of the two is in force."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from messagelog.core import User
from messagelog.core.users.settings import (
    LANGUAGE,
    LARGEST_SETTINGS,
    MOST_SETTINGS,
    TIMEZONE,
    AdminSetting,
    Locale,
    SavedSettings,
    UserSettings,
    locale_of,
    merge,
    read_admin_settings,
)
from messagelog.messages import BadRequest
from messagelog.storage import transactions
from messagelog.storage.records.users import UserRow

if TYPE_CHECKING:
    from messagelog.storage import Store

ADA = User("acme", "crm", "ada", "Ada", "", "America/Los_Angeles", None)
NOWHERE = User("acme", "crm", "otto", "Otto", "", None, None)
DEFAULT = Locale("ja", "Europe/Berlin")


@pytest.fixture
def settings(store: Store) -> UserSettings:
    return UserSettings(store, DEFAULT)


# ------------------------------------------------------------------------------------------------ merging


@pytest.mark.parametrize(
    ("own", "admins", "expected"),
    [
        ({}, {}, {}),
        ({"a": {"value": 1}}, {}, {"a": {"value": 1}}),
        ({}, {"a": AdminSetting(value=2)}, {"a": {"value": 2, "customizable": False}}),
        ({"a": {"value": 1}}, {"a": AdminSetting(value=2)}, {"a": {"value": 2, "customizable": False}}),
        (
            {"a": {"value": 1}},
            {"a": AdminSetting(value=2, customizable=True)},
            {"a": {"value": 1, "customizable": True}},
        ),
        (
            {},
            {"a": AdminSetting(value=2, customizable=True)},
            {"a": {"value": 2, "customizable": True}},
        ),
        ({"a": {"value": 1}}, {"a": AdminSetting(is_removed=True, customizable=True)}, {}),
        (
            {"a": {"value": 1}, "b": {"value": False}},
            {"a": AdminSetting(value=2)},
            {"a": {"value": 2, "customizable": False}, "b": {"value": False}},
        ),
        (
            {"a": {"value": "x", "options": ["x"]}},
            {"a": AdminSetting(value="y", customizable=True, default_value="y", options=["x", "y"])},
            {"a": {"value": "x", "customizable": True, "defaultValue": "y", "options": ["x"]}},
        ),
    ],
)
def test_the_operators_settings_win_unless_users_may_customize_them(
    own: dict[str, Any], admins: dict[str, AdminSetting], expected: dict[str, Any]
) -> None:
    assert merge(own, admins) == expected


async def test_an_operators_setting_is_in_force_for_a_user_who_has_none(settings: UserSettings) -> None:
    await settings.change_admins("acme", "crm", {"autoLogSMS": AdminSetting(value=True)})
    assert await settings.effective(ADA) == {"autoLogSMS": {"value": True, "customizable": False}}


async def test_what_the_client_sends_back_is_not_taken_for_the_users_choice(settings: UserSettings) -> None:
    admins = {"fixed": AdminSetting(value=1), "free": AdminSetting(value=2, customizable=True)}
    await settings.change_admins("acme", "crm", admins)
    told = await settings.effective(ADA)
    saved = await settings.change(ADA, {**told, "own": {"value": 3}}, [])
    assert saved.settings == {**told, "own": {"value": 3}}
    await settings.change_admins("acme", "crm", {}, ["fixed", "free"])
    assert await settings.effective(ADA) == {"free": {"value": 2}, "own": {"value": 3}}


async def test_a_change_leaves_other_settings_alone_and_can_remove_some(settings: UserSettings) -> None:
    await settings.change(ADA, {"a": {"value": 1}, "b": {"value": 2, "enable": True}}, [])
    saved = await settings.change(ADA, {"a": {"value": 3}, "c": None}, [])
    assert saved.settings == {"a": {"value": 3}, "b": {"value": 2, "enable": True}}
    saved = await settings.change(ADA, {}, ["a", "nothing"])
    assert saved.settings == {"b": {"value": 2, "enable": True}}
    assert await settings.effective(NOWHERE) == {}


async def test_changes_at_once_are_all_kept(settings: UserSettings) -> None:
    await asyncio.gather(*(settings.change(ADA, {f"s{n}": {"value": n}}, []) for n in range(10)))
    assert len(await settings.effective(ADA)) == 10


async def test_nobody_keeps_settings_without_end(settings: UserSettings) -> None:
    await settings.change(ADA, {f"s{n}": {"value": n} for n in range(MOST_SETTINGS)}, [])
    with pytest.raises(BadRequest, match=r"userSettings: expected at most 1,000 settings"):
        await settings.change(ADA, {"one more": {"value": 1}}, [])
    await settings.change(ADA, {"s1": {"value": 2}}, [])
    await settings.change(ADA, {"one more": {"value": 1}}, ["s2"])


async def test_a_users_settings_have_a_total_limit(settings: UserSettings) -> None:
    large = {"value": "x" * (LARGEST_SETTINGS // 4)}
    await settings.change(ADA, {f"s{n}": large for n in range(3)}, [])
    before = await settings.effective(ADA)
    too_much = (
        r"userSettings: expected at most 100,000 characters in all settings together, and these have 100,0"
    )
    with pytest.raises(BadRequest, match=too_much) as refused:
        await settings.change(ADA, {"s3": large, "small": {"value": 1}}, [])
    assert "xx" not in str(refused.value)
    assert await settings.effective(ADA) == before, "nothing of it was saved"
    await settings.change(ADA, {"s3": large}, ["s0"])
    await settings.change(NOWHERE, {"s3": large}, [])
    await settings.change(ADA, {}, ["s1"])


async def test_changes_at_once_do_not_get_past_the_limit(settings: UserSettings, store: Store) -> None:
    row = UserRow(ADA.tenant, ADA.platform, ADA.id, ADA.name, "", None, None, None)
    await store.write(lambda: transactions.save_user(row))
    part = {"value": "x" * (LARGEST_SETTINGS // 10)}
    saving = [settings.change(ADA, {f"s{n}": part}, []) for n in range(30)]
    outcomes = await asyncio.gather(*saving, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {SavedSettings, BadRequest}
    assert len(await settings.effective(ADA)) == 9


async def test_settings_of_before_the_limit_can_be_made_fewer(settings: UserSettings, store: Store) -> None:
    text = msgspec.json.encode({"value": "x" * LARGEST_SETTINGS}).decode()
    who = (ADA.tenant, ADA.platform, ADA.id)
    await store.write(lambda: transactions.change_user_settings(*who, {"a": text, "b": text, "c": text}, []))
    await settings.change(ADA, {"c": {"value": 1}}, ["a"])
    with pytest.raises(BadRequest, match="100,000 characters"):
        await settings.change(ADA, {"d": {"value": 1}}, [])
    await settings.change(ADA, {"d": {"value": 1}}, ["b"])


# ------------------------------------------------------------------------------------------ language, zone


@pytest.mark.parametrize(
    ("user", "chosen", "expected"),
    [
        (ADA, {}, Locale("ja", "America/Los_Angeles")),
        (NOWHERE, {}, DEFAULT),
        (
            ADA,
            {"messagelogTimezone": "Europe/Paris", "messagelogLanguage": "es-MX"},
            Locale("es", "Europe/Paris"),
        ),
        (ADA, {"messagelogTimezone": "", "messagelogLanguage": ""}, Locale("ja", "America/Los_Angeles")),
        (
            ADA,
            {"messagelogTimezone": "Mars/Olympus", "messagelogLanguage": "?"},
            Locale("ja", "America/Los_Angeles"),
        ),
        (ADA, {"messagelogTimezone": 7, "messagelogLanguage": None}, Locale("ja", "America/Los_Angeles")),
        (NOWHERE, {"messagelogLanguage": "pt-BR"}, Locale("ja", "Europe/Berlin")),
        (User("acme", "crm", "a", "A", "", None, "-07:00"), {}, Locale("ja", "UTC-07:00")),
    ],
)
def test_language_and_zone_are_the_users_then_the_crms_then_the_operators(
    user: User, chosen: dict[str, Any], expected: Locale
) -> None:
    assert locale_of({id_: {"value": value} for id_, value in chosen.items()}, user, DEFAULT) == expected


async def test_the_operator_may_say_language_and_zone_for_a_tenant(settings: UserSettings) -> None:
    assert await settings.locale(ADA) == Locale("ja", "America/Los_Angeles")
    admins = {
        "messagelogLanguage": AdminSetting(value="en-GB"),
        "messagelogTimezone": AdminSetting(value="Europe/London", customizable=True),
    }
    await settings.change_admins("acme", "crm", admins)
    assert await settings.locale(ADA) == Locale("en", "Europe/London")
    await settings.change(
        ADA, {"messagelogTimezone": {"value": "Asia/Tokyo"}, "messagelogLanguage": {"value": "es"}}, []
    )
    assert await settings.locale(ADA) == Locale("en", "Asia/Tokyo")


# -------------------------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"messagelogTimezone": {"value": "Mars/Olympus"}},
            "userSettings.messagelogTimezone.value: expected an IANA time zone, such as Europe/Berlin",
        ),
        (
            {"messagelogTimezone": {"value": 2}},
            "userSettings.messagelogTimezone.value: expected an IANA time zone, such as Europe/Berlin",
        ),
        (
            {"messagelogLanguage": {"value": "the Queen's"}},
            "userSettings.messagelogLanguage.value: expected a language, such as en or pt-BR",
        ),
        (
            {"": {"value": 1}},
            "userSettings: expected ids of settings with 1 to 255 printable characters",
        ),
        (
            {"a\0b": {"value": 1}},
            "userSettings: expected ids of settings with 1 to 255 printable characters",
        ),
        (
            {"x" * 256: {"value": 1}},
            "userSettings: expected ids of settings with 1 to 255 printable characters",
        ),
        ({"b": 1}, "userSettings.b: expected an object with a value"),
    ],
)
async def test_a_value_that_cannot_be_understood_is_left_out_and_named(
    settings: UserSettings, changed: dict[str, Any], words: str
) -> None:
    before = {id_: {"value": ""} for id_ in changed if id_ in {TIMEZONE, LANGUAGE}}
    await settings.change(ADA, before, [])
    saved = await settings.change(ADA, {"good": {"value": 1}, **changed}, [])
    assert [str(problem) for problem in saved.problems] == [words]
    assert saved.settings == await settings.effective(ADA) == {"good": {"value": 1}, **before}


async def test_the_clients_own_language_is_no_setting_of_ours(settings: UserSettings) -> None:
    saved = await settings.change(ADA, {"language": {"value": "auto"}, "timezone": {"value": "Mars"}}, [])
    assert saved.problems == ()
    assert await settings.locale(ADA) == Locale("ja", "America/Los_Angeles")


async def test_an_operator_is_refused_what_cannot_be_understood(settings: UserSettings) -> None:
    with pytest.raises(BadRequest, match="messagelogTimezone"):
        await settings.change_admins("acme", "crm", {TIMEZONE: AdminSetting(value="Mars")})


def test_the_operators_settings_are_read_from_json() -> None:
    text = b'{"a": {"value": 1, "customizable": true}, "b": {"isRemoved": true}}'
    assert read_admin_settings(text) == {
        "a": AdminSetting(value=1, customizable=True),
        "b": AdminSetting(is_removed=True),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "settings: expected a JSON object of settings"),
        (b"[]", "settings: expected a JSON object of settings"),
        (b"\xff", "settings: expected a JSON object of settings"),
        (b'{"a": 1}', "userSettings.a: expected `object`, got `int`"),
        (b'{"a": {"valeu": 1}}', "userSettings.a: object contains unknown field `valeu`"),
        (
            b'{"a": {"customizable": "yes"}}',
            "userSettings.a: expected `bool`, got `str` - at `$.customizable`",
        ),
        (
            b'{"messagelogTimezone": {"value": "x"}}',
            "userSettings.messagelogTimezone.value: expected an IANA time zone, such as Europe/Berlin",
        ),
    ],
)
def test_a_file_that_is_not_right_is_refused_by_the_setting(text: bytes, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_admin_settings(text)
    assert str(refused.value) == words
