"""The HTTP door: the routes that App Connect's own client calls, in its conventions."""

from messagelog.server.app import create_app
from messagelog.server.context import AppContext
from messagelog.server.lifespan import open_context

__all__ = ["AppContext", "create_app", "open_context"]
