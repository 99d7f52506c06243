"""A runtime whose own code fails at a chosen point: beside a call, just after its answer, and while it is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from messagelog.connectors.log import ChangeForms
from messagelog.core.delivery.calls import ConnectorCaller
from messagelog.core.delivery.metrics import Metrics
from messagelog.core.delivery.prepare import CallPreparer
from messagelog.storage import StoreUnavailable
from messagelog.storage.causes import DatabaseFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from messagelog.core.delivery.prepare import PreparedCall
    from messagelog.storage.records.journal import RowChange


class OwnFault(RuntimeError):
    """A mistake in our own code."""


class DatabaseAway(StoreUnavailable):
    """What a store raises while its database cannot be used, at a point of our code."""

    def __init__(self, point: str) -> None:
        super().__init__(DatabaseFault("08006", point))


class FaultyPreparer(CallPreparer):
    """Passes a point before a call is prepared, and one when its outcome is computed.

    `point` is told the name of each; it may raise an error there.
    """

    def __init__(self, point: Callable[[str], None], *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self._point = point

    async def prepare(self, *given: Any, **more: Any) -> PreparedCall:
        self._point("ours:prepare")
        prepared = await super().prepare(*given, **more)
        return replace(prepared, hashes=FaultyHashes(self._point, prepared.hashes))

    async def prepare_change(self, *given: Any, **more: Any) -> PreparedCall:
        self._point("ours:prepare")
        prepared = await super().prepare_change(*given, **more)
        forms = prepared.change
        return replace(prepared, change=None if forms is None else SlippingForms(self._point, forms))


class FaultyCaller(ConnectorCaller):
    """Passes a point after each answer, and one when its outcome is counted. `point` as for `FaultyPreparer`."""

    def __init__(self, point: Callable[[str], None], *parts: Any, **more: Any) -> None:
        super().__init__(*parts, metrics=FaultyMetrics(point), **more)
        self._point = point

    async def create(self, *given: Any) -> str:
        made = await super().create(*given)
        self._point("ours:create")
        return made

    async def update(self, *given: Any) -> None:
        await super().update(*given)
        self._point("ours:update")

    async def find(self, *given: Any) -> str | None:
        found = await super().find(*given)
        self._point("ours:find")
        return found

    async def count_in_activity(self, *given: Any) -> dict[bytes, int]:
        found = await super().count_in_activity(*given)
        self._point("ours:count")
        return found


class FaultyHashes(dict[str, bytes]):
    """The hashes of a call, which are looked up when it is settled."""

    def __init__(self, point: Callable[[str], None], hashes: dict[str, bytes]) -> None:
        super().__init__(hashes)
        self._point = point

    def get(self, key: str, default: Any = None) -> Any:
        self._point("ours:settle")
        return super().get(key, default)


class SlippingForms(ChangeForms):
    """The texts of a change, which are read when it is settled which one the activity has."""

    def __init__(self, point: Callable[[str], None], forms: ChangeForms) -> None:
        self._point = point
        self._forms = forms

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__
        if name == "is_line":
            own(self, "_point")("ours:settle")
        return getattr(own(self, "_forms"), name)


class FaultyMetrics(Metrics):
    """Counts the outcomes of calls, when they are stored."""

    def __init__(self, point: Callable[[str], None]) -> None:
        super().__init__()
        self._point = point

    def count_outcomes(self, platform: str, changes: Iterable[RowChange]) -> None:
        self._point("ours:told")
        super().count_outcomes(platform, changes)
