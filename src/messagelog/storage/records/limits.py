"""What the processes of a server share of a CRM's limits."""

from __future__ import annotations

import msgspec


class LimiterChange(msgspec.Struct, frozen=True):
    """The new state of a tenant's rate limiter: `pace` is the core's own text, the times are for other processes.

    `not_before` is for all work, `catch_up_at` for the backlog; until `active_until` every request needs a permit, even
    if the connector declares no limit. `open_since` is when the circuit opened. `wakes` says that it has just opened or
    closed: what waits for the CRM is due then.
    """

    pace: str
    circuit: str
    not_before: int | None
    catch_up_at: int | None
    active_until: int | None
    open_since: int | None = None
    wakes: bool = False


class LimiterRow(msgspec.Struct, frozen=True):
    """The stored state of a tenant's rate limiter, and the database's time."""

    tenant: str
    platform: str
    circuit: str
    not_before: int | None
    catch_up_at: int | None
    active_until: int | None
    open_since: int | None
    now: int
