"""A CRM in memory whose every call a test can bend, and connectors with different abilities that speak to it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from messagelog.compose import LogFormat
from messagelog.connectors import (
    AuthExpired,
    Connector,
    ConnectorError,
    Contact,
    MessageLog,
    NewContact,
    NotFound,
    OutcomeUnknown,
    Session,
    UserInfo,
)


@dataclass
class Activity:
    id: str
    tenant: str
    contact_id: str
    subject: str
    body: str
    key: str | None
    fields: dict[str, Any]
    user: str
    made_at: float = 0.0


@dataclass
class Call:
    """One call as the CRM saw it."""

    kind: str  # create | update | find | read
    user: str
    log: MessageLog | None


Fault = Callable[[Call], "ConnectorError | None"]


@dataclass
class Crm:
    """Activities by id. `before` may raise or return an error with nothing done, `after` with the work done."""

    activities: dict[str, Activity] = field(default_factory=dict)
    contacts: list[Contact] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    before: Fault | None = None
    after: Fault | None = None
    delay: float = 0.0
    gate: asyncio.Event | None = None
    now: Callable[[], float] = time.time
    search_from: Callable[[Activity], bool] = lambda _activity: True
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.contacts += [
            Contact(id="c-1", name="Maya Patel", phone_number="+14155550142"),
            Contact(id="c-2", name="Omar Reyes", phone_number="+14155550177"),
        ]

    async def work(self, call: Call, do: Callable[[], Any]) -> Any:
        self.calls.append(call)
        await asyncio.sleep(self.delay)
        if self.before is not None and (error := self.before(call)) is not None:
            raise error
        result = do()
        if self.gate is not None:
            await self.gate.wait()
        if self.after is not None and (error := self.after(call)) is not None:
            raise error
        return result

    def count(self, kind: str) -> int:
        return sum(call.kind == kind for call in self.calls)

    @property
    def only(self) -> Activity:
        """The one activity there is."""
        (activity,) = self.activities.values()
        return activity

    def add_activity(  # noqa: PLR0917 - all that an activity is made of
        self, tenant: str, user: str, log: MessageLog, body: str, subject: str, key: str | None = None
    ) -> str:
        id_ = f"a-{next(self._ids)}"
        fields = dict(log.additional_submission)
        self.activities[id_] = Activity(
            id_, tenant, log.contact.id, subject, body, key, fields, user, made_at=self.now()
        )
        return id_


class Plain(Connector):
    """Creates and amends; can do nothing about a lost create."""

    name = "memory"
    display_name = "Memory CRM"
    base_url = "https://memory.test"
    settle_seconds = 0.0
    keeps_keys: ClassVar[bool] = True
    """Whether an activity carries our key as its external id."""

    def __init__(self, crm: Crm) -> None:
        self.crm = crm

    async def get_user_info(self, session: Session) -> UserInfo:
        tenant, _, user = session.credentials.api_key.partition("/")
        if not user:
            raise AuthExpired("HTTP 401")
        return UserInfo(id=user, name=user.title(), tenant=tenant, timezone="America/Los_Angeles")

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        return [each for each in self.crm.contacts if each.phone_number == phone_number]

    async def create_contact(self, session: Session, contact: NewContact) -> Contact:
        made = Contact(
            id=f"c-{len(self.crm.contacts) + 1}", name=contact.name, phone_number=contact.phone_number
        )
        self.crm.contacts.append(made)
        return made

    def _create(self, session: Session, log: MessageLog) -> str:
        content = log.content
        return self.crm.add_activity(
            session.tenant,
            session.user_id,
            log,
            content.body if content else "",
            content.subject if content else "",
            key=log.idempotency_key if self.keeps_keys else None,
        )

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        made: str = await self.crm.work(
            Call("create", session.user_id, log), lambda: self._create(session, log)
        )
        return made

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        def do() -> None:
            activity = self._activity(log)
            activity.body = log.amend(activity.body)

        await self.crm.work(Call("update", session.user_id, log), do)

    def _activity(self, log: MessageLog) -> Activity:
        assert log.existing is not None
        activity = self.crm.activities.get(log.existing.third_party_log_id)
        if activity is None:
            raise NotFound("HTTP 404", status=404)
        return activity


class Html(Plain):
    """The same in HTML."""

    log_format = LogFormat.HTML


class Batches(Plain):
    """The same with all new messages in a call."""

    takes_batches = True


class Upserting(Plain):
    """A CRM with external ids: a create with a key that it knows makes nothing new."""

    upserts = True

    def _create(self, session: Session, log: MessageLog) -> str:
        for activity in self.crm.activities.values():
            if activity.key == log.idempotency_key and activity.tenant == session.tenant:
                return activity.id
        return super()._create(session, log)


class Finding(Plain):
    """A CRM that can be searched for our key."""

    async def find_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        def do() -> str | None:
            for activity in self.crm.activities.values():
                if activity.key == log.idempotency_key and self.crm.search_from(activity):
                    return activity.id
            return None

        found: str | None = await self.crm.work(Call("find", session.user_id, log), do)
        return found

    async def read_message_log(self, session: Session, third_party_log_id: str) -> str:
        def do() -> str:
            activity = self.crm.activities.get(third_party_log_id)
            if activity is None:
                raise NotFound("HTTP 404", status=404)
            return activity.body

        body: str = await self.crm.work(Call("read", session.user_id, None), do)
        return body


class ReadingBack(Finding):
    """A CRM without a key: the contact's activities can be read."""

    keeps_keys = False

    async def find_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        def do() -> str | None:
            for activity in self.crm.activities.values():
                if activity.tenant != session.tenant or activity.contact_id != log.contact.id:
                    continue
                if log.recognises(activity.id, activity.body, activity.key):
                    return activity.id
            return None

        found: str | None = await self.crm.work(Call("find", session.user_id, log), do)
        return found


class ReadingKeys(ReadingBack):
    """A CRM that keeps our key, and cannot be searched for it: the contact's activities say theirs."""

    keeps_keys = True


class Appending(Plain):
    """A CRM whose activities can only be added to, and not read."""

    append_only = True

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        def do() -> None:
            activity = self._activity(log)
            activity.body = f"{activity.body}\n{log.text}"

        await self.crm.work(Call("update", session.user_id, log), do)


def lost(_call: Call) -> ConnectorError:
    """The answer gets lost: for `after`, with the work done."""
    return OutcomeUnknown("no answer")
