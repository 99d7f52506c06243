"""The journal: what is logged, what is being logged, what failed and why; SQLite and PostgreSQL behind one port."""

from messagelog.storage.database import open_store
from messagelog.storage.encryption.sealer import Sealer, SigningKeys
from messagelog.storage.encryption.stored_keys import KeysDamaged, KeysLocked, with_stored_keys
from messagelog.storage.records.audit import AuditEntry, AuditRow, OperatorRow
from messagelog.storage.records.journal import (
    AcceptResult,
    Claim,
    ClaimLost,
    JournalLookup,
    LogKey,
    LogRequestWork,
    LogRow,
    LogState,
    MessageRow,
    NewRow,
    RowChange,
    RowState,
    Step,
)
from messagelog.storage.records.users import TenantHost, TenantPlace, UserRow, UserSummary
from messagelog.storage.store import CheckedStore, Store, StoreClosed, StoreUnavailable, is_transient

__all__ = [
    "AcceptResult",
    "AuditEntry",
    "AuditRow",
    "CheckedStore",
    "Claim",
    "ClaimLost",
    "JournalLookup",
    "KeysDamaged",
    "KeysLocked",
    "LogKey",
    "LogRequestWork",
    "LogRow",
    "LogState",
    "MessageRow",
    "NewRow",
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
    "is_transient",
    "open_store",
    "with_stored_keys",
]
