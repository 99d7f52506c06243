"""The contract of a connector: one class for each CRM.

A method answers one question in a few lines. Retries, rate limits, error rules, text and time zones are the core's
work. If a method cannot answer, it raises a `ConnectorError`, whose type tells the core what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from messagelog.compose import LogFormat, Measure
from messagelog.connectors.limits import read_left
from messagelog.messages import MessageKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from messagelog.connectors.http import CrmHttp
    from messagelog.connectors.limits import Left, RateLimit
    from messagelog.connectors.log import MessageLog
    from messagelog.connectors.models import Contact, Credentials, NewContact, UserInfo
    from messagelog.connectors.oauth import OAuth


@dataclass(frozen=True, slots=True)
class Session:
    """One user at one CRM: the argument of a connector's methods.

    `http` speaks to the CRM with the user's credentials. `user_id`, `tenant` and `crm_tenant` are empty during
    `get_user_info`, which finds them out. `crm_tenant` is the CRM's name for the tenant. `tenant` is the server's own:
    two hosts that say the same name are two tenants, so a connector that keeps anything for a tenant keeps it under
    this name.
    """

    http: CrmHttp
    credentials: Credentials
    hostname: str = ""
    user_id: str = ""
    user_name: str = ""
    tenant: str = ""
    crm_tenant: str = ""


class Connector:
    """Speaks to one CRM. Subclass it, name it, and answer its questions.

    Required: `name`, `base_url` (or `base_url_for`), `get_user_info`, `find_contact`, `create_message_log`,
    `update_message_log`. The rest has defaults, or adds an ability if it is overridden.
    """

    name: ClassVar[str]
    """The platform's name, as the client's manifest and login say it."""

    display_name: ClassVar[str] = ""
    """The name that people read; empty means `name`."""

    base_url: str = ""
    """The URL to which the paths of `session.http` are appended."""

    checks_host: ClassVar[bool] = False
    """Whether every host that `base_url_for` takes belongs to the CRM's maker, so that it names tenants truly.

    Without it the host is part of who the tenant is, unless `base_url` is the same for all users."""

    oauth: OAuth | None = None
    """The CRM's authorization server, where users sign in with OAuth; None if they have an API key."""

    log_format: ClassVar[LogFormat] = LogFormat.PLAIN
    """The format of an activity's text; with `LogFormat.CUSTOM` the connector writes its own."""

    message_kinds: ClassVar[frozenset[MessageKind]] = frozenset(
        {MessageKind.SMS, MessageKind.VOICEMAIL, MessageKind.FAX, MessageKind.THREAD}
    )
    """The kinds of message that can be logged; others are refused, and the user is told."""

    takes_batches: ClassVar[bool] = False
    """Whether one call may bring several new messages. Otherwise each message is a call of its own."""

    upserts: ClassVar[bool] = False
    """Whether a create with an `idempotency_key` that the CRM already has makes no second activity."""

    takes_changes: ClassVar[bool] = False
    """Whether a connector with a text of its own is called with `log.changes`; with a composed text it always is."""

    append_only: ClassVar[bool] = False
    """Whether an update adds `log.text` to the activity, rather than writing `log.amend(body)` over it."""

    body_limit: ClassVar[int | None] = None
    """How long an activity's body may be, as `body_measure` counts. What does not fit goes into a further activity,
    which says "(continued)"."""

    body_measure: ClassVar[Measure] = Measure.CHARACTERS
    """What the CRM counts: characters, UTF-16 units, or UTF-8 bytes."""

    settle_seconds: ClassVar[float] = 5.0
    """How long the CRM's search may lag behind its writes. A write is only taken as absent when it is older."""

    not_found_means_gone: ClassVar[bool] = False
    """Whether a missing activity is deleted for everyone (the CRM never hides one for lack of permission)."""

    rate_limits: ClassVar[tuple[RateLimit, ...]] = ()
    """How many requests the CRM allows a tenant: at most one limit of up to a minute, and one of up to a day."""

    manifest: ClassVar[Mapping[str, Any]] = {}
    """What the client's manifest says of this platform beyond what the core knows: its custom fields, its pages."""

    # ------------------------------------------------------------------------------------ who speaks

    def base_url_for(self, hostname: str) -> str:  # noqa: ARG002 - for connectors whose CRM has many hosts
        """Return the base URL for a user of `hostname` (the host of the CRM's page, as the client says).

        Raise `Rejected` for a host that is none of the CRM's.
        """
        return self.base_url

    def auth_headers(self, credentials: Credentials) -> dict[str, str]:
        """Return the headers that carry the user's credentials."""
        return {"Authorization": f"Bearer {credentials.access_token or credentials.api_key}"}

    def rate_headers(self, headers: Mapping[str, str]) -> Left | None:
        """Return how many requests are left, by the headers of an answer; None if they do not say.

        The common names are understood without this. Names of the headers are not case-sensitive.
        """
        return read_left(headers)

    async def get_user_info(self, session: Session) -> UserInfo:
        """Return who has these credentials, and in which tenant. Asked at login.

        Raise `AuthExpired` or `Rejected` if the CRM does not accept them.
        """
        raise NotImplementedError

    async def unauthorize(self, session: Session) -> None:
        """End the user's credentials at the CRM, if that is possible. Asked at logout.

        With OAuth the core has asked `oauth.revocation_url` by then.
        """

    # ------------------------------------------------------------------------------------ contacts

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        """Return the contacts that have this number (E.164)."""
        raise NotImplementedError

    async def find_contact_with_name(self, session: Session, name: str) -> list[Contact]:
        """Return the contacts with a name like this. (optional)"""
        raise NotImplementedError

    async def create_contact(self, session: Session, contact: NewContact) -> Contact:
        """Create a contact. (optional: without it the client offers no new contact)"""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ logging

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        """Create an activity for a conversation, and return the CRM's id of it.

        An answer without an id is an error: without it nothing could ever be added to the activity.
        """
        raise NotImplementedError

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        """Put new messages into the activity `log.existing.third_party_log_id`.

        It also puts changes of messages that are there, `log.changes`: `log.amend` and `log.text` contain them.
        """
        raise NotImplementedError

    async def find_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        """Return the id of the activity that an earlier `create_message_log` of this log made, or None. (optional)

        Asked if the answer to a create was lost, after `settle_seconds`. Search for `log.idempotency_key` if the CRM
        keeps it; otherwise look through the contact's activities with `log.recognises(id, body)`. If an activity may
        carry an external id, pass it too, `log.recognises(id, body, external_id)`: one with another log's id must never
        be taken.
        """
        raise NotImplementedError

    async def read_message_log(self, session: Session, third_party_log_id: str) -> str:
        """Return the activity's present body. (optional)

        Asked if the answer to an update was lost. Raise `NotFound` if there is no such activity.
        """
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ abilities

    def can(self, method: str) -> bool:
        """Return whether this connector answers an optional question, by the method's name."""
        return getattr(type(self), method) is not getattr(Connector, method)
