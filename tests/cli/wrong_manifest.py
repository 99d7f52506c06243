"""A connector whose manifest the client cannot use: a section of settings without its items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from messagelog.connectors import Connector

if TYPE_CHECKING:
    from collections.abc import Mapping


class Wrong(Connector):
    name = "wrong"
    base_url = "https://crm.test"
    manifest: ClassVar[Mapping[str, Any]] = {
        "settings": [{"id": "wrong", "type": "section", "name": "Wrong"}],
    }
