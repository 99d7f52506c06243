"""What scripts of operators import: a journal, what is in trouble in it, and the decisions about that.

These names stay when the modules behind them move.
"""

from messagelog.core.admin.inbox import DecisionRefused, Inbox, NotThere, key_of
from messagelog.core.admin.inbox_models import (
    Decided,
    FailedCall,
    InboxDetails,
    InboxEntry,
    InboxExport,
    InboxPage,
    InboxRow,
    Progress,
    RetriedBatch,
)
from messagelog.core.operators.accounts import Operator, Role, RoleMissing, local_operator
from messagelog.messages import BadRequest
from messagelog.storage import (
    KeysLocked,
    LogKey,
    Sealer,
    Store,
    StoreUnavailable,
    open_store,
    with_stored_keys,
)
from messagelog.storage.records.inbox import Cause, InboxFilter

__all__ = [
    "BadRequest",
    "Cause",
    "Decided",
    "DecisionRefused",
    "FailedCall",
    "Inbox",
    "InboxDetails",
    "InboxEntry",
    "InboxExport",
    "InboxFilter",
    "InboxPage",
    "InboxRow",
    "KeysLocked",
    "LogKey",
    "NotThere",
    "Operator",
    "Progress",
    "RetriedBatch",
    "Role",
    "RoleMissing",
    "Sealer",
    "Store",
    "StoreUnavailable",
    "key_of",
    "local_operator",
    "open_store",
    "with_stored_keys",
]
