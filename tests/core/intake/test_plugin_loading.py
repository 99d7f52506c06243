"""Which plugins a server has: those that are named and installed, with settings of their own, or a sentence why not."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from messagelog.core.intake.plugin_loading import BadPlugins, find_installed_plugins, load_plugins
from messagelog.plugins import BadPluginSetting, Plugin
from messagelog.plugins.redaction import Redaction

HERE = "support.installed_plugins"
SECRET = "hush-hush"


def entry(name: str, target: str) -> EntryPoint:
    return EntryPoint(name, f"{HERE}:{target}", "messagelog.plugins")


INSTALLED = {
    name: [entry(name, target)]
    for name, target in {
        "one": "One",
        "one-two": "OneTwo",
        "one.two": "OneTwo",
        "failing": "Failing",
        "picky": "Picky",
        "nothing": "not_there",
        "function": "function",
        "misnamed": "One",
        "endless": "Endless",
        "hasty": "Hasty",
        "abstract": "Abstract",
    }.items()
} | {"twice": [entry("twice", "One"), entry("twice", "OneTwo")]}


def load(names: str, required: str = "", **environment: str) -> tuple[Any, ...]:
    return load_plugins(names.split(), required.split(), environment, INSTALLED)


def problems(names: str, required: str = "", **environment: str) -> list[str]:
    with pytest.raises(BadPlugins) as refused:
        load(names, required, **environment)
    return [str(each) for each in refused.value.args]


def test_redaction_is_installed_and_nothing_runs_that_nobody_names() -> None:
    (redaction,) = find_installed_plugins()["redaction"]
    assert redaction.load() is Redaction
    assert load_plugins([], [], {"MESSAGELOG_PLUGIN_REDACTION_X": "y"}, find_installed_plugins()) == ()


def test_they_come_in_the_order_in_which_they_are_named() -> None:
    assert [each.name for each in load("one-two one")] == ["one-two", "one"]


def test_each_has_its_own_settings() -> None:
    one, two = load(
        "one one-two",
        MESSAGELOG_PLUGIN_ONE_KEY="a",
        MESSAGELOG_PLUGIN_ONE_TWO_KEY="b",
        MESSAGELOG_PLUGIN_ONE_EMPTY="",
        MESSAGELOG_PLUGIN_OTHER_KEY="c",
        PATH="d",
    )
    assert (one.settings, two.settings) == ({"key": "a"}, {"key": "b"})


@pytest.mark.parametrize(
    ("names", "required", "problem"),
    [
        ("none", "", r"MESSAGELOG_PLUGINS: no plugin none is installed; there are: abstract, .*one.*\."),
        ("one one", "", r"MESSAGELOG_PLUGINS names one twice\."),
        (
            "one",
            "redaction",
            r"MESSAGELOG_REQUIRED_PLUGINS names redaction, which MESSAGELOG_PLUGINS does not\.",
        ),
        ("twice", "", r"MESSAGELOG_PLUGINS: 2 installed packages have a plugin twice\."),
        ("one-two one.two", "", r"MESSAGELOG_PLUGINS: the settings of two plugins cannot be told apart .*"),
        ("failing", "", r"The plugin failing cannot be made: RuntimeError at .*installed_plugins\.py:\d+\."),
        ("picky", "", r"The plugin picky: it has no setting key\."),
        ("nothing", "", r"The plugin nothing cannot be made: AttributeError at .*"),
        ("function", "", r"The plugin function is no messagelog\.plugins\.Plugin\."),
        ("abstract", "", r"The plugin abstract cannot be made: TypeError at .*"),
        ("misnamed", "", r"The plugin misnamed calls itself otherwise: .*"),
        ("endless", "", r"The plugin endless: its `seconds` must be a number above zero\."),
        ("hasty", "", r"The plugin hasty: its `seconds` must be a number above zero\."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(names: str, required: str, problem: str) -> None:
    settings = {"MESSAGELOG_PLUGIN_FAILING_KEY": SECRET, "MESSAGELOG_PLUGIN_PICKY_KEY": SECRET}
    (told,) = problems(names, required, **settings)
    assert re.fullmatch(problem, told)
    assert SECRET not in told


def test_all_problems_are_told_together() -> None:
    assert len(problems("none one one failing", "two")) == 4


def test_a_plugin_without_settings_refuses_any() -> None:
    class Bare(Plugin):
        name = "bare"

        async def on_request(self, context: Any, request: Any) -> Any:
            return request

    assert Bare({}).seconds == 2.0
    with pytest.raises(BadPluginSetting, match=r"it has no setting a\."):
        Bare({"b": "1", "a": "2"})
