"""The HTTP server: the routes of App Connect's client, in its conventions, and those of operators."""

from messagelog.server.app import create_app
from messagelog.server.context import AppContext
from messagelog.server.lifespan import open_context

__all__ = ["AppContext", "create_app", "open_context"]
