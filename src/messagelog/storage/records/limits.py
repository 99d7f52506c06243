"""What the processes of a server share of a CRM's limits."""

from __future__ import annotations

import msgspec


class LimiterChange(msgspec.Struct, frozen=True):
    """What is stored of a tenant's pace: `pace` is the core's own text, the times are what others go by.

    `not_before` holds for all work, `catch_up_at` for what nobody waits for; until `active_until` every request has
    to ask, even where the connector knows no limit. `open_since` is when the circuit opened. `wakes` says that it has
    just opened or closed: what waits for the CRM is due then.
    """

    pace: str
    circuit: str
    not_before: int | None
    catch_up_at: int | None
    active_until: int | None
    open_since: int | None = None
    wakes: bool = False


class LimiterRow(msgspec.Struct, frozen=True):
    """A tenant's pace as it is stored, and what time it is for the database."""

    tenant: str
    platform: str
    circuit: str
    not_before: int | None
    catch_up_at: int | None
    active_until: int | None
    open_since: int | None
    now: int
