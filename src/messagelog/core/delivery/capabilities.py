"""Capabilities of connectors: how a call with an unknown outcome can be reconciled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from messagelog.compose import LogFormat
from messagelog.core.delivery import runs

if TYPE_CHECKING:
    from messagelog.connectors import Connector


class Capabilities(msgspec.Struct, frozen=True):
    """What a connector can do about a call whose answer was lost."""

    name: str
    upserts: bool
    finds: bool
    reads_back: bool
    amends: bool
    settle_ms: int
    not_found_means_gone: bool
    in_runs: bool
    """True if several updates are journalled as one step (see `runs`). Otherwise each update is a step of its own."""

    @classmethod
    def of(cls, connector: Connector) -> Capabilities:
        """Return the capabilities that a connector declares, or shows by the methods it has."""
        known_by_text = connector.log_format is not LogFormat.CUSTOM
        reads_back = connector.can("read_message_log") and known_by_text
        amends = not connector.append_only and known_by_text
        return cls(
            name=connector.display_name or connector.name,
            upserts=connector.upserts,
            finds=connector.can("find_message_log"),
            reads_back=reads_back,
            amends=amends,
            settle_ms=int(connector.settle_seconds * 1000),
            not_found_means_gone=connector.not_found_means_gone,
            in_runs=runs.are_possible(connector, reconcilable=reads_back or amends),
        )
