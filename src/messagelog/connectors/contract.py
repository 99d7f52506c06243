"""The contract of a connector: one class for each CRM.

A method answers one question in a few lines. Retries, rate limits, error rules, text and time zones are the core's
work; what a method cannot answer it raises as a `ConnectorError`, whose type tells the core what to do next.
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
    """One user at one CRM: what a connector's methods are called with.

    `http` speaks to the CRM with the user's credentials. `user_id`, `tenant` and `crm_tenant` are empty during
    `get_user_info`, which finds them out. `crm_tenant` is what that said. `tenant` is the server's own name for it: two
    hosts that say the same are two tenants, so whatever a connector keeps for a tenant it keeps under this one.
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
    `update_message_log`. The rest has defaults, or adds an ability when it is overridden.
    """

    name: ClassVar[str]
    """The platform's name, as the client's manifest and login say it."""

    display_name: ClassVar[str] = ""
    """The name that people see; `name` when it is empty."""

    base_url: str = ""
    """What the paths of `session.http` are appended to."""

    checks_host: ClassVar[bool] = False
    """Whether every host that `base_url_for` takes belongs to the CRM's maker, so that what it says of tenants is true.

    Without it the host is part of who the tenant is, unless `base_url` is the same for everybody."""

    oauth: OAuth | None = None
    """The CRM's authorization server, where users sign in with OAuth; None where they have an API key."""

    log_format: ClassVar[LogFormat] = LogFormat.PLAIN
    """The format of an activity's text; with `LogFormat.CUSTOM` the connector writes its own."""

    message_kinds: ClassVar[frozenset[MessageKind]] = frozenset(
        {MessageKind.SMS, MessageKind.VOICEMAIL, MessageKind.FAX, MessageKind.THREAD}
    )
    """The kinds of message that can be logged; others are refused, and the user is told."""

    takes_batches: ClassVar[bool] = False
    """Whether one call may bring several new messages. Otherwise each message is a call of its own."""

    upserts: ClassVar[bool] = False
    """Whether a create with an `idempotency_key` that the CRM has seen before makes no second activity."""

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
    """How long the CRM's search may lag behind its writes: that old is a write before its absence is believed."""

    not_found_means_gone: ClassVar[bool] = False
    """Whether a missing activity is deleted for everyone, whoever asks (it is never hidden by permission)."""

    rate_limits: ClassVar[tuple[RateLimit, ...]] = ()
    """How many requests the CRM allows a tenant: at most one limit of up to a minute, and one of up to a day."""

    manifest: ClassVar[Mapping[str, Any]] = {}
    """What the client's manifest says of this platform beyond what the core knows: its custom fields, its pages."""

    # ------------------------------------------------------------------------------------ who speaks

    def base_url_for(self, hostname: str) -> str:  # noqa: ARG002 - for connectors whose CRM has many hosts
        """The base URL for a user of `hostname` (what the client says the CRM's page is at).

        Raise `Rejected` for a host that is none of the CRM's.
        """
        return self.base_url

    def auth_headers(self, credentials: Credentials) -> dict[str, str]:
        """The headers that show the user's credentials to the CRM."""
        return {"Authorization": f"Bearer {credentials.access_token or credentials.api_key}"}

    def rate_headers(self, headers: Mapping[str, str]) -> Left | None:
        """How many requests are left, by the headers of an answer; None when they do not say.

        The common names are understood without this. Names of the headers are not case-sensitive.
        """
        return read_left(headers)

    async def get_user_info(self, session: Session) -> UserInfo:
        """Who is it that has these credentials, and of which tenant? Asked at login.

        Raise `AuthExpired` or `Rejected` when the CRM does not accept them.
        """
        raise NotImplementedError

    async def unauthorize(self, session: Session) -> None:
        """Ends the user's credentials at the CRM, where that can be done. Asked at logout.

        With OAuth the core has asked `oauth.revocation_url` by then.
        """

    # ------------------------------------------------------------------------------------ contacts

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        """Which contacts have this number (E.164)?"""
        raise NotImplementedError

    async def find_contact_with_name(self, session: Session, name: str) -> list[Contact]:
        """Which contacts have a name like this? (optional)"""
        raise NotImplementedError

    async def create_contact(self, session: Session, contact: NewContact) -> Contact:
        """Makes a contact. (optional: without it the client offers no new contact)"""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ logging

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        """Makes an activity for a conversation and answers the CRM's id of it.

        An answer without an id is an error: without it nothing could ever be added to the activity.
        """
        raise NotImplementedError

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        """Puts new messages into the activity `log.existing.third_party_log_id`.

        So it does what has changed of messages that are there, `log.changes`: `log.amend` and `log.text` have it.
        """
        raise NotImplementedError

    async def find_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        """Is there an activity that an earlier `create_message_log` of this log made? Its id, or None. (optional)

        Asked when the answer to a create was lost, after `settle_seconds`. Search for `log.idempotency_key` where
        the CRM keeps it; otherwise look through the contact's activities with `log.recognises(id, body)`. Where an
        activity may carry an external id, give it too, `log.recognises(id, body, external_id)`: one with another
        log's id must never be taken.
        """
        raise NotImplementedError

    async def read_message_log(self, session: Session, third_party_log_id: str) -> str:
        """What does the activity's body hold now? (optional)

        Asked when the answer to an update was lost. Raise `NotFound` when there is no such activity.
        """
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ abilities

    def can(self, method: str) -> bool:
        """Whether this connector answers an optional question, by the method's name."""
        return getattr(type(self), method) is not getattr(Connector, method)
