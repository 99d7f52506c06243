"""Logs RingCentral conversations into any CRM, exactly once."""

__version__ = "0.1.0"
