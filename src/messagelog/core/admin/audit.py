"""Reads message texts for operators: never without the role, and never before a record of it is on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from messagelog.core.delivery.payload import Payload, open_payload
from messagelog.core.operators.accounts import Role
from messagelog.storage import AuditEntry, MessageRow, transactions
from messagelog.storage.encryption.sealer import SealBroken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from messagelog.core.operators.accounts import Operator
    from messagelog.storage import LogKey, Sealer, Store

READ_TEXT = "read_text"


class AuditedRow(msgspec.Struct, frozen=True):
    """A row as an operator sees it: `payload` is None if its text was erased, or cannot be opened.

    `sealed` says that it cannot be opened, since the secret key has changed.
    """

    row: MessageRow
    payload: Payload | None
    sealed: bool = False


async def read_text_audited(
    store: Store, sealer: Sealer, operator: Operator, key: LogKey, ids: Sequence[str], *, act: str = READ_TEXT
) -> list[AuditedRow]:
    """Return rows of a conversation log with their text, oldest first; ids that it does not have are left out.

    Each text that is returned was recorded: the record is on disk when this returns. If it cannot be written, its error
    is raised and no text is returned. Raises `RoleMissing` without the role `text`.
    """
    operator.needs(Role.TEXT)

    def look(row: MessageRow) -> AuditEntry:
        return AuditEntry(operator.name, act, Role.TEXT, key.tenant, key.platform, key.display_id(row.id))

    rows = await store.write(lambda: transactions.read_rows_audited(key, ids, look))
    return [_to_audited_row(sealer, key, row) for row in rows]


def _to_audited_row(sealer: Sealer, key: LogKey, row: MessageRow) -> AuditedRow:
    if row.payload is None:
        return AuditedRow(row, None)
    try:
        # The token opens fax media in the user's name; it is a credential, and no operator's business.
        return AuditedRow(row, replace(open_payload(sealer, key, row), rc_access_token=None))
    except SealBroken:
        return AuditedRow(row, None, sealed=True)
