"""Takes requests: plans, accepts and answers them. A request waits for its outcomes for twelve seconds at most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from structlog.contextvars import bind_contextvars

from messagelog.compose import zone_of
from messagelog.connectors import ConnectorError, Unavailable
from messagelog.core.contacts.resolve import ChosenContact, contact_from_request, resolve_contact
from messagelog.core.delivery.payload import row_facts
from messagelog.core.errors import NoContact, Stopping
from messagelog.core.intake.answer import (
    Answer,
    nothing_to_do,
    nothing_to_log,
    refusal_answer,
    uncertain,
    with_links,
    with_warnings,
)
from messagelog.core.intake.days import window_of, with_log_of_day
from messagelog.core.intake.plan import day_in, plan_request
from messagelog.core.intake.plugins import LEFT_BY_PLUGINS
from messagelog.core.intake.submission import Submission
from messagelog.messages import CREATE_NEW_CONTACT
from messagelog.plugins import RequestContext
from messagelog.storage import is_transient, transactions
from messagelog.storage.records.journal import LogKey, RowState, RowStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from messagelog.connectors import Connector
    from messagelog.core.delivery.context import DeliveryContext
    from messagelog.core.delivery.dispatcher import Dispatcher
    from messagelog.core.delivery.notifier import Subscription
    from messagelog.core.delivery.payload import Item
    from messagelog.core.intake.plugins import Plugins
    from messagelog.core.users.directory import User
    from messagelog.core.users.settings import UserSettings
    from messagelog.messages import LogRequest, MessageIds
    from messagelog.storage import AcceptResult, JournalLookup
    from messagelog.storage.records.journal import ActivityLink

_SHORTEST_POLL: Final = 0.1
_LONGEST_POLL: Final = 1.0
_TO_JOURNAL: Final = 10.0
"""The least time for the database, in seconds, even if an answer is wanted sooner: there is none without it."""
_LAST_MOMENT: Final = 0.1
_BEFORE_ANSWER: Final = 1.0
"""The seconds before an answer is due after which the CRM is no longer asked for a contact."""


class LogService:
    """Logs what requests hold, or accepts it and says so when the time to answer is over."""

    def __init__(
        self,
        context: DeliveryContext,
        dispatcher: Dispatcher,
        *,
        settings: UserSettings,
        plugins: Plugins | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._context = context
        self._dispatcher = dispatcher
        self._settings = settings
        self._plugins = plugins
        self._sleep = sleep
        self._grace = max(0.0, _TO_JOURNAL - context.times.answer)

    async def answer_if_logged(self, user: User, ids: MessageIds) -> Answer | None:
        """Return the answer to a request all of whose messages are logged for its contact; None for any other."""
        if self._dispatcher.stopping:
            raise Stopping
        if ids.contact_id == CREATE_NEW_CONTACT:
            return None
        key = LogKey(user.tenant, user.platform, ids.conversation_log_id)
        known = await self._context.store.read(lambda: transactions.look_up_plain(key, ids.message_ids))
        return None if known.unlogged or known.contact_id != ids.contact_id else nothing_to_do()

    async def match(self, user: User, ids: Sequence[str]) -> dict[str, ActivityLink]:
        """Return the activity and the contact of those messages that any user of the tenant has logged, by id.

        A group's message may be logged for several contacts: then it is the first activity.
        """
        found = await self._context.store.read(
            lambda: transactions.find_links(user.tenant, user.platform, ids)
        )
        return {link.message_id: link for link in reversed(found)}

    async def submit(self, user: User, request: LogRequest) -> Answer:
        """Log what a request holds, or accept it and say so when the time to answer is over.

        Raises `Stopping` during a shutdown, `UnknownPlatform` for a user whose connector is gone, and `PluginBlocked`
        when a plugin keeps the request from being logged: then nothing of it was written down.
        """
        if self._dispatcher.stopping:
            raise Stopping
        connector = self._dispatcher.connector(user.platform)
        if request.info.is_empty:
            return nothing_to_log()
        warnings: tuple[str, ...] = ()
        until = asyncio.get_running_loop().time() + self._context.times.answer
        try:
            async with asyncio.timeout_at(until + self._grace):
                if self._plugins is not None:
                    plugins_until = until - LEFT_BY_PLUGINS * self._context.times.answer
                    crm = connector.display_name or connector.name
                    context = RequestContext(user.tenant, user.platform, crm, user.id)
                    filtered = await self._plugins.apply(context, request, plugins_until)
                    request, warnings = filtered.request, filtered.warnings
                try:
                    submission = await self._plan(connector, user, request, until)
                except NoContact as problem:
                    answer = refusal_answer(str(problem))
                else:
                    refusal = submission.refusal if request.selected_ids else None
                    answer = refusal or await self._log(submission, until)
                    if refusal is None and request.selected_ids:
                        answer = with_links(answer, await self._find_links(submission))
        except TimeoutError:
            return uncertain()
        if warnings:
            answer = replace(answer, return_message=with_warnings(answer.return_message, warnings))
        return answer

    async def _plan(self, connector: Connector, user: User, request: LogRequest, until: float) -> Submission:
        """Resolve the contact of a request, and plan what it means. Raises `NoContact`."""
        contact = contact_from_request(request)
        if contact is None:
            contact = await self._resolve_contact(connector, user, request, until)
        plan = plan_request(
            request,
            tenant=user.tenant,
            platform=user.platform,
            contact_id=contact.id,
            kinds=connector.message_kinds,
            day_of=day_in(user.tzinfo),
            arrived_at=int(self._context.clock() * 1000),
        )
        bind_contextvars(log=plan.key.conversation_log_id)  # ties the request's id to its activity
        locale = await self._settings.locale(user)
        sealer = self._context.sealer
        facts = {item.id: row_facts(sealer, item.message) for item in plan.items}
        return Submission(connector, user, request, contact, plan, sealer, locale, facts)

    async def _log(self, submission: Submission, until: float) -> Answer:
        """Accept what of a request is not logged yet, wait until the time to answer at most, and answer."""
        loop = asyncio.get_running_loop()
        submission, known = await self._look_up(submission)
        key, plan = submission.plan.key, submission.plan
        if (holder := submission.conflicting_contact(known)) is not None:
            return submission.conflict_answer(holder)
        wanted, changed = submission.items_to_log(known), submission.changes(known)
        here = changed.pop(key.client_log_id, [])
        if self._dispatcher.stopping and (wanted or here or changed):
            raise Stopping
        for client_log_id, items in changed.items():
            # Messages that are in another log than the request names: no request waits for their changes.
            other_log = replace(submission, plan=replace(plan, key=key._replace(client_log_id=client_log_id)))
            await self._dispatcher.shield(self._accept(other_log, items))
        if not wanted and not here:
            if known.contact_id is None and (other := await self._find_other_holder(submission)):
                return submission.conflict_answer(other)
            return submission.nothing_wanted()
        versions = {item.id: item.version for item in wanted}
        with (
            self._dispatcher.hold(key, submission.rows),
            self._context.notifier.subscribe(key, versions, lambda: until - loop.time()) as subscription,
        ):
            accepting = self._accept(submission, [*wanted, *here], subscription)
            acceptance = await self._dispatcher.shield(accepting)
            if acceptance.held_by is not None:
                return submission.conflict_answer(acceptance.held_by)
            for id_ in acceptance.twins:  # another request was faster, in the contact's other kind of log
                subscription.deliver(RowStatus(id_, RowState.LOGGED, None, 0))
            last = until + self._grace - _LAST_MOMENT
            if acceptance.claim is None:  # another process works on it, or none will for a while
                await self._poll_outcomes(key, subscription.pending_ids, last)
            await self._wait_for_outcomes(key, subscription, until, last)
            calling = self._dispatcher.is_calling(key)
        return submission.answer(wanted, acceptance.changes, subscription.reports, known, calling=calling)

    async def _resolve_contact(
        self, connector: Connector, user: User, request: LogRequest, until: float
    ) -> ChosenContact:
        """Create the contact that a request asks for, or find it in the CRM. Raises `NoContact`."""
        loop = asyncio.get_running_loop()
        until -= _BEFORE_ANSWER
        try:
            async with asyncio.timeout_at(until):
                session = await self._context.users.session(connector, user.tenant, user.id)
        except ConnectorError as error:
            raise NoContact(error.meaning) from error
        except TimeoutError as error:
            raise NoContact(Unavailable.meaning) from error
        return await resolve_contact(
            connector, session, request, seconds_left=lambda: until - loop.time(), sleep=self._sleep
        )

    async def _look_up(self, submission: Submission) -> tuple[Submission, JournalLookup]:
        """Return what the journal knows of a request, and the request as one for the log that its day has already."""
        plan, ids = submission.plan, submission.ids
        window = window_of(plan)
        with_facts = submission.has_facts
        known = await self._context.store.read(
            lambda: transactions.look_up_everywhere(
                plan.key, ids, plan.contact_id, window, with_facts=with_facts
            )
        )
        day, known = with_log_of_day(plan, known, day_in(zone_of(submission.locale.zone)))
        if day is plan:
            return submission, known
        bind_contextvars(log=day.key.conversation_log_id)
        return replace(submission, plan=day), known

    async def _find_other_holder(self, submission: Submission) -> tuple[str, str] | None:
        """Return another contact (id, name) that all of a request is logged for, in a log that it does not name."""
        key, ids = submission.plan.key, submission.ids
        found = await self._context.store.read(lambda: transactions.find_holders(key, ids))
        others = [contact for contact in found if contact[0] != submission.contact.id]
        return others[0] if others and len(others) == len(found) else None

    async def _find_links(self, submission: Submission) -> dict[str, str]:
        """Return the CRM's ids of the records that hold a request's messages, by message id, oldest first."""
        key, ids = submission.plan.key, submission.ids
        found = await self._context.store.read(lambda: transactions.find_links(key.tenant, key.platform, ids))
        links = {
            link.message_id: link.third_party_log_id
            for link in found
            if link.group_contact_id == key.group_contact_id
        }
        return {id_: links[id_] for id_ in ids if id_ in links}

    async def _accept(
        self, submission: Submission, items: Sequence[Item], subscription: Subscription | None = None
    ) -> AcceptResult:
        """Write a request's items into the journal, and start the work that it has claimed."""
        work, plan = submission.work(items), self._dispatcher.plan_of(submission.connector)
        self._dispatcher.expect(work.key)
        acceptance = await self._context.store.write(
            lambda: transactions.accept_request(work, plan.planner, plan.policy), locks=work.locks
        )
        if subscription is not None and acceptance.changes:
            self._context.notifier.extend_subscription(subscription, work.key, acceptance.changes)
        self._dispatcher.take_up(work.key, acceptance)
        return acceptance

    async def _wait_for_outcomes(
        self, key: LogKey, subscription: Subscription, until: float, last: float
    ) -> None:
        """Wait until every row has an outcome or the time is over. Poll for rows that other processes work on."""
        loop = asyncio.get_running_loop()
        poll = _SHORTEST_POLL
        while (pending_ids := subscription.pending_ids) and not self._dispatcher.stopping:
            left = min(until, last) - loop.time()
            if left <= 0:
                return
            await subscription.wait_for_change(min(left, poll))
            if not self._dispatcher.is_working(key) and subscription.pending_ids:
                await self._poll_outcomes(key, pending_ids, last)
                if self._context.users.limiters.seconds_held(key.tenant, key.platform) > until - loop.time():
                    return  # nothing will happen before that
            poll = min(poll * 1.5, _LONGEST_POLL)

    async def _poll_outcomes(self, key: LogKey, ids: list[str], last: float) -> None:
        """Read the outcomes from the database, until the `last` moment: there is an answer without them as well."""
        try:
            async with asyncio.timeout_at(last):
                reports = await self._context.store.read(lambda: transactions.report_rows(key, ids))
                self._context.notifier.publish(key, reports)
        except Exception as error:
            if not is_transient(error):  # what was accepted stays so, while the database is away
                raise
