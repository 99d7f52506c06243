"""Connectors by the names that settings give them: a built-in one, or a class of another package."""

from __future__ import annotations

import importlib
from typing import Any

from messagelog.connectors.contract import Connector
from messagelog.connectors.demo import DemoConnector
from messagelog.errors import MessagelogError, error_location


class BadConnector(MessagelogError):
    """A connector cannot be loaded; its text is a sentence that says why, without the connector's own settings."""


def load_connector(spec: str, *, demo_crm_url: str = "") -> Connector:
    """Return the connector that a setting names: `demo`, or a class `package.module:Class`, made without arguments.

    Raises `BadConnector` when there is none, or when it cannot be made.
    """
    if spec == "demo":
        if not demo_crm_url.startswith(("http://", "https://")):
            problem = "must be an http:// or https:// URL" if demo_crm_url else "is missing"
            raise BadConnector(
                f"MESSAGELOG_DEMO_CRM_URL {problem}: the connector demo has to know its CRM's URL."
            )
        return DemoConnector(demo_crm_url.rstrip("/"))
    module_name, _, class_name = spec.partition(":")
    if not module_name or not class_name:
        raise BadConnector(
            f"MESSAGELOG_CONNECTORS: {spec} is neither a built-in connector nor package.module:Class."
        )
    try:
        connector: Any = getattr(importlib.import_module(module_name), class_name)()
    except (ImportError, AttributeError) as error:
        raise BadConnector(f"MESSAGELOG_CONNECTORS: {spec} cannot be loaded: {error}.") from error
    except Exception as error:
        # The text of a connector's own error may quote its settings.
        raise BadConnector(
            f"MESSAGELOG_CONNECTORS: {spec} cannot be made: {type(error).__name__} at {error_location(error)}."
        ) from error
    if not isinstance(connector, Connector) or not isinstance(getattr(connector, "name", None), str):
        raise BadConnector(f"MESSAGELOG_CONNECTORS: {spec} is not a Connector with a name.")
    return connector
