"""The HTTP door: the routes that App Connect's own client calls, in its conventions."""

from messagelog.server.app import create_app
from messagelog.server.assembly import Assembly
from messagelog.server.lifespan import assembled

__all__ = ["Assembly", "assembled", "create_app"]
