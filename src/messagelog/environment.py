"""The environment of a process: a file of settings that adds to it, and names that belong to no setting."""

from __future__ import annotations

import difflib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog

from messagelog.core.intake.plugin_loading import settings_prefix
from messagelog.settings import BadSettings, Settings, names, oauth_prefix

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from messagelog.connectors import Connector

ENV_FILE: Final = "MESSAGELOG_ENV_FILE"
"""The setting that names a file of settings."""

_PREFIX: Final = "MESSAGELOG_"
_OF_PLUGINS: Final = "MESSAGELOG_PLUGIN_"
_OF_CONNECTORS: Final = "MESSAGELOG_OAUTH_"
_LIKENESS: Final = 0.75
"""The similarity (0 to 1) from which a name may be meant: one or two wrong letters, or a word left out."""

_log = structlog.get_logger(__name__)


class UnknownName(NamedTuple):
    """A name that belongs to no setting, and the most similar setting's name, if there is one."""

    name: str
    meant: str | None

    def __str__(self) -> str:
        """Return a sentence, without the value: it may be a secret."""
        if self.name.upper().startswith(_OF_PLUGINS):
            return f"{self.name} is a setting of no plugin that MESSAGELOG_PLUGINS names."
        return f"{self.name} is not a setting{f': did you mean {self.meant}?' if self.meant else '.'}"


def load_env_file(path: Path | str) -> None:
    """Add the settings of a file to the environment, where it does not have them already.

    Raises `BadSettings` when the file cannot be read, naming the lines that are not `NAME=value`.
    """
    from dotenv.parser import parse_stream  # noqa: PLC0415 - where settings come from a file

    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        raise BadSettings(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"The settings file {path} is not UTF-8 text.") from error
    values: dict[str, str] = {}
    wrong = []
    for each in parse_stream(io.StringIO(text)):
        if each.error or (each.key is not None and (each.value is None or "\0" in each.key + each.value)):
            wrong.append(each.original.line)
        elif each.key is not None and each.value is not None:
            values.setdefault(each.key, each.value)
    if wrong:
        raise BadSettings(*(f"The settings file {path}, line {line}: expected NAME=value." for line in wrong))
    for name, value in values.items():
        os.environ.setdefault(name, value)


def unknown_names(settings: Settings, connectors: Mapping[str, Connector]) -> list[UnknownName]:
    """Return the names in the environment that begin like settings and are none; `connectors` are the loaded ones."""
    prefixes = [oauth_prefix(name) for name, each in connectors.items() if each.oauth is not None]
    known = {
        *(f"{_PREFIX}{field.name.upper()}" for field in msgspec.structs.fields(Settings)),
        *(f"{prefix}{name}" for prefix in prefixes for name in ("ID", "SECRET")),
        ENV_FILE,
    }
    of_others = [settings_prefix(name) for name in names(settings.plugins)]
    if len(connectors) < len(names(settings.connectors)):
        of_others.append(_OF_CONNECTORS)  # a connector that cannot be loaded does not say which are its own
    given = sorted(name for name in os.environ if name.upper().startswith(_PREFIX))
    return [
        UnknownName(name, _closest(name.upper(), known))
        for name in given
        if name.upper() not in known and not name.startswith(tuple(of_others))
    ]


def _closest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that is most similar; None when none is. The common prefix is not compared."""
    rests = [each.removeprefix(_PREFIX) for each in known]
    found = difflib.get_close_matches(name.removeprefix(_PREFIX), rests, 1, _LIKENESS)
    return f"{_PREFIX}{found[0]}" if found else None


def report_unknown_names(settings: Settings, connectors: Mapping[str, Connector]) -> None:
    """Write a line into the log for each name in the environment that belongs to no setting."""
    for each in unknown_names(settings, connectors):
        _log.warning("unknown_setting", name=each.name, meant=each.meant)
