"""The contract between the core and a CRM: what a connector answers, what it is given, what went wrong.

A connector author needs nothing but the names of this module.
"""

from messagelog.compose import LogFormat, Measure
from messagelog.connectors.contract import Connector, Session
from messagelog.connectors.errors import (
    AuthExpired,
    BodyFull,
    ConnectorError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from messagelog.connectors.http import CrmHttp
from messagelog.connectors.limits import Left, RateLimit
from messagelog.connectors.log import ExistingLog, LoggedMessage, MessageLog
from messagelog.connectors.models import Contact, Credentials, NewContact, UserInfo
from messagelog.connectors.oauth import ClientAuth, OAuth
from messagelog.messages import MediaUnavailable, MessageKind

__all__ = [
    "AuthExpired",
    "BodyFull",
    "ClientAuth",
    "Connector",
    "ConnectorError",
    "Contact",
    "Credentials",
    "CrmHttp",
    "ExistingLog",
    "Left",
    "LogFormat",
    "LoggedMessage",
    "Measure",
    "MediaUnavailable",
    "MessageKind",
    "MessageLog",
    "NewContact",
    "NotFound",
    "OAuth",
    "OutcomeUnknown",
    "RateLimit",
    "RateLimited",
    "Rejected",
    "Session",
    "Unavailable",
    "UserInfo",
]
