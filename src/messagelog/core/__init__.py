"""The runtime: it plans what a request means, claims it in the journal, calls the connector, and confirms."""

from messagelog.core.intake.answer import Answer, ReturnMessage
from messagelog.core.runtime import Runtime, Times
from messagelog.core.users.directory import User, UserDirectory

__all__ = ["Answer", "ReturnMessage", "Runtime", "Times", "User", "UserDirectory"]
