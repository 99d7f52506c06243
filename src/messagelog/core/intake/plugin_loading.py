"""Loads the plugins that an operator names from the installed packages, with their settings."""

from __future__ import annotations

import math
import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from messagelog.errors import MessagelogError, error_location
from messagelog.plugins import BadPluginSetting, Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from importlib.metadata import EntryPoint

GROUP: Final = "messagelog.plugins"
"""The group of entry points in which a package names its plugins."""

_PREFIX: Final = "MESSAGELOG_PLUGIN_"
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9]")


class BadPlugins(MessagelogError):
    """The named plugins cannot be used; each argument is a sentence that says why."""


def find_installed_plugins() -> dict[str, list[EntryPoint]]:
    """Return the plugins of all installed packages, by name. None of them is imported."""
    found: dict[str, list[EntryPoint]] = {}
    for each in entry_points(group=GROUP):
        found.setdefault(each.name, []).append(each)
    return found


def load_plugins(
    names: Sequence[str],
    required: Iterable[str],
    environment: Mapping[str, str],
    installed: Mapping[str, Sequence[EntryPoint]],
) -> tuple[Plugin, ...]:
    """Return the plugins with these names, in this order. Raises `BadPlugins` with every problem."""
    problems = [
        f"MESSAGELOG_PLUGINS names {name} twice." for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    problems += [
        f"MESSAGELOG_REQUIRED_PLUGINS names {name}, which MESSAGELOG_PLUGINS does not."
        for name in sorted(set(required) - set(names))
    ]
    settings = _settings(tuple(dict.fromkeys(names)), environment)
    loaded: list[Plugin] = []
    for name, its_settings in settings.items():
        try:
            loaded.append(_make(name, its_settings, installed))
        except BadPlugins as error:
            problems += error.args
    if problems:
        raise BadPlugins(*problems)
    return tuple(loaded)


def settings_prefix(name: str) -> str:
    """Return how the names of a plugin's settings begin."""
    return f"{_PREFIX}{_NOT_IN_NAMES.sub('_', name).upper()}_"


def _settings(names: Sequence[str], environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the settings of each plugin. If two prefixes match a variable, it belongs to the longer one."""
    prefixes = {settings_prefix(name): name for name in names}
    if len(prefixes) < len(names):
        raise BadPlugins(
            "MESSAGELOG_PLUGINS: the settings of two plugins cannot be told apart by their names."
        )
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for variable, value in environment.items():
        matching = [prefix for prefix in prefixes if variable.startswith(prefix)]
        if matching and value:
            prefix = max(matching, key=len)
            found[prefixes[prefix]][variable.removeprefix(prefix).lower()] = value
    return found


def _make(name: str, settings: Mapping[str, str], installed: Mapping[str, Sequence[EntryPoint]]) -> Plugin:
    """Make one plugin, and check that it keeps the contract. Raises `BadPlugins`."""
    candidates = installed.get(name, ())
    if not candidates:
        known = ", ".join(sorted(installed)) or "none"
        raise BadPlugins(f"MESSAGELOG_PLUGINS: no plugin {name} is installed; there are: {known}.")
    if len(candidates) > 1:
        raise BadPlugins(f"MESSAGELOG_PLUGINS: {len(candidates)} installed packages have a plugin {name}.")
    try:
        made: Any = candidates[0].load()(settings)
    except BadPluginSetting as error:
        raise BadPlugins(f"The plugin {name}: {error}") from error
    except Exception as error:
        # The message of a plugin's own error may quote its settings.
        raise BadPlugins(
            f"The plugin {name} cannot be made: {type(error).__name__} at {error_location(error)}."
        ) from error
    if not isinstance(made, Plugin):
        raise BadPlugins(f"The plugin {name} is no messagelog.plugins.Plugin.")
    if getattr(made, "name", None) != name:
        raise BadPlugins(
            f"The plugin {name} calls itself otherwise: its `name` must be that of its entry point."
        )
    if not (math.isfinite(made.seconds) and made.seconds > 0):
        raise BadPlugins(f"The plugin {name}: its `seconds` must be a number above zero.")
    return made
