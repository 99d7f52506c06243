"""The runtime of one process: it takes requests, works on conversation logs, and takes up what was left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from messagelog.core.delivery.dispatcher import Dispatcher
from messagelog.core.intake.service import LogService
from messagelog.core.users.settings import Locale, UserSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from messagelog.connectors import Connector
    from messagelog.core.delivery.context import DeliveryContext, Times
    from messagelog.core.intake.answer import Answer
    from messagelog.core.intake.plugins import Plugins
    from messagelog.core.users.directory import User
    from messagelog.messages import LogRequest, MessageIds
    from messagelog.storage.records.journal import ActivityLink


class Runtime:
    """Everything that one process does with conversation logs. Make one, `start` it, `stop` it.

    `context` holds the parts that it works with, `journal` is the id of the journal in the context's store. `sleep`
    is called between two sweeps, and while a contact is looked for.
    """

    def __init__(
        self,
        context: DeliveryContext,
        connectors: Mapping[str, Connector],
        *,
        journal: str,
        settings: UserSettings | None = None,
        plugins: Plugins | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        settings = settings or UserSettings(context.store, Locale())
        self.context = context
        self._dispatcher = Dispatcher(context, connectors, journal=journal, sleep=sleep)
        self._service = LogService(context, self._dispatcher, settings=settings, plugins=plugins, sleep=sleep)

    @property
    def times(self) -> Times:
        """How long things take."""
        return self.context.times

    def connector(self, platform: str) -> Connector:
        """Return the connector of a platform; raise `UnknownPlatform` if there is none."""
        return self._dispatcher.connector(platform)

    # ------------------------------------------------------------------------------------- requests

    async def submit(self, user: User, request: LogRequest) -> Answer:
        """Log what a request holds, or accept it and say so when the time to answer is over.

        Raises `Stopping`, `UnknownPlatform` and `PluginBlocked`, and then nothing of the request was written down.
        """
        return await self._service.submit(user, request)

    async def answer_if_logged(self, user: User, ids: MessageIds) -> Answer | None:
        """Return the answer to a request all of whose messages are logged for its contact; None for any other."""
        return await self._service.answer_if_logged(user, ids)

    async def match(self, user: User, ids: Sequence[str]) -> dict[str, ActivityLink]:
        """Return the activity and the contact of those messages that any user of the tenant has logged, by id."""
        return await self._service.match(user, ids)

    # ----------------------------------------------------------------------------------------- work

    async def sweep(self) -> int:
        """Start work on the conversation logs that are due, as far as there is room; return how many were started."""
        return await self._dispatcher.sweep()

    def request_sweep(self) -> None:
        """Sweep at once: something has become due, such as what waited for a user to sign in."""
        self._dispatcher.request_sweep()

    # ------------------------------------------------------------------------------------ life cycle

    async def start(self) -> None:
        """Begin to sweep: at once for the work that was left behind, then for whatever comes due."""
        await self._dispatcher.start()

    async def stop(self) -> None:
        """Take no new work, end all waits, and let the calls under way end, within the drain time."""
        await self._dispatcher.stop()

    async def idle(self) -> None:
        """Wait until this process works on nothing (for tests, and for watching a shutdown)."""
        await self._dispatcher.idle()

    @property
    def stops_by(self) -> float:
        """The time on the event loop's clock at which a shutdown's drain time is over; infinite without a shutdown."""
        return self._dispatcher.stops_by

    @property
    def takes_work(self) -> bool:
        """True if requests are taken, and due logs are worked on."""
        return self._dispatcher.takes_work

    @property
    def seconds_since_sweep(self) -> float:
        """The seconds since a sweep has ended; infinite before the first one has."""
        return self._dispatcher.seconds_since_sweep
