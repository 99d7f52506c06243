"""The journal: what is logged, what is being logged, what failed and why; SQLite and PostgreSQL behind one port."""

from messagelog.storage.keeping import KeysDamaged, KeysLocked, with_stored_keys
from messagelog.storage.opening import open_store
from messagelog.storage.passing import is_passing
from messagelog.storage.port import CheckedStore, Store, StoreClosed, StoreUnavailable
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
    TenantHost,
    TenantPlace,
    UserRow,
    UserSummary,
)
from messagelog.storage.sealing import Sealer, SigningKeys

__all__ = [
    "Acceptance",
    "AuditEntry",
    "AuditRow",
    "CheckedStore",
    "Claim",
    "ClaimLost",
    "KeysDamaged",
    "KeysLocked",
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
    "SigningKeys",
    "Step",
    "Store",
    "StoreClosed",
    "StoreUnavailable",
    "TenantHost",
    "TenantPlace",
    "UserRow",
    "UserSummary",
    "is_passing",
    "open_store",
    "with_stored_keys",
]
