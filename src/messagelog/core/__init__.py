"""The runtime: it plans what a request means, claims it in the journal, calls the connector, and saves the outcome."""

from messagelog.core.delivery.context import DeliveryContext, Times
from messagelog.core.intake.answer import Answer, ReturnMessage
from messagelog.core.runtime import Runtime
from messagelog.core.users.directory import User, UserDirectory

__all__ = ["Answer", "DeliveryContext", "ReturnMessage", "Runtime", "Times", "User", "UserDirectory"]
