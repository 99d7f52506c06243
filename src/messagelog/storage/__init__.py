"""The journal: what is logged, what is being logged, what failed and why; SQLite and PostgreSQL behind one port."""

from messagelog.storage.opening import open_store
from messagelog.storage.port import Store, StoreClosed
from messagelog.storage.rows import (
    Acceptance,
    AuditEntry,
    AuditRow,
    Claim,
    ClaimLost,
    LogKey,
    LogRow,
    LogState,
    LookUp,
    MessageRow,
    NewRow,
    NewWork,
    OperatorRow,
    RowChange,
    RowState,
    Step,
    UserRow,
)
from messagelog.storage.sealing import Sealer

__all__ = [
    "Acceptance",
    "AuditEntry",
    "AuditRow",
    "Claim",
    "ClaimLost",
    "LogKey",
    "LogRow",
    "LogState",
    "LookUp",
    "MessageRow",
    "NewRow",
    "NewWork",
    "OperatorRow",
    "RowChange",
    "RowState",
    "Sealer",
    "Step",
    "Store",
    "StoreClosed",
    "UserRow",
    "open_store",
]
