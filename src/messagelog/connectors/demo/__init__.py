"""The connector of the demo CRM: an ordinary one, to read and to copy."""

from messagelog.connectors.demo.connector import DemoConnector

__all__ = ["DemoConnector"]
