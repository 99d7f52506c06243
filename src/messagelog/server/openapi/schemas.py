"""The shapes of small bodies and answers: what the routes read and write, and what the description says of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messagelog.core.intake.answer import ReturnMessage
from messagelog.storage.records.inbox import Cause

Name = Annotated[str, Meta(max_length=1000, pattern=r"^[^\x00]*$")]
"""An id or a name: whatever a database takes."""

Setting = dict[str, Any]
"""A setting: `value`, and perhaps `customizable`, `defaultValue`, `options`."""


class NewContactForm(msgspec.Struct, rename="camel"):
    """The body of `POST /contact`."""

    phone_number: str
    new_contact_name: str
    new_contact_type: str | None = None
    additional_submission: dict[str, Any] | None = None


class SettingsForm(msgspec.Struct, rename="camel"):
    """The body of `POST /user/settings`: settings to be written over those of before, and ids of some to be removed."""

    user_settings: dict[str, Any] = {}
    setting_keys_to_remove: list[str] = []


MessageId = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*$")] | int
"""RingCentral's id of a message: text or a number."""


class MatchForm(msgspec.Struct, rename="camel"):
    """The body of `POST /messageLog/match`: up to 100 messages. `conversation_id` is not needed: ids are unique."""

    message_ids: list[MessageId]
    conversation_id: str | int | None = None


class MatchedMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a message is logged, the CRM's id of the record that holds it, and the contact of that record."""

    message_id: str
    matched: bool
    log_id: str | UnsetType = UNSET
    contact_id: str | UnsetType = UNSET


class MatchAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which messages are logged; `message_logs` are the CRM's ids of their records, by message id."""

    successful: bool = True
    logs: list[MatchedMessage]
    message_logs: dict[str, str]


class ContactRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A contact as the client's log form takes it.

    `additional_info` has the contact's values for the manifest's fields. The row that offers a new contact has the id
    `createNewContact` and `is_new_contact`.
    """

    id: str
    name: str
    type: str | UnsetType = UNSET
    phone: str | UnsetType | None = UNSET
    is_new_contact: bool | UnsetType = UNSET
    default_contact_type: str | UnsetType = UNSET
    additional_info: dict[str, Any] | UnsetType = UNSET
    created_date: str | UnsetType = UNSET
    most_recent_activity_date: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    company: str | UnsetType = UNSET
    email: str | UnsetType = UNSET


class ContactsAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to a search for contacts. `contact` is an array whatever happens."""

    successful: bool
    return_message: ReturnMessage | None
    contact: list[ContactRow]


class NewContactAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to `POST /contact`."""

    successful: bool
    return_message: ReturnMessage
    contact: ContactRow


class SettingsAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The settings that are in force after a change, and a warning that names those that were left out."""

    user_settings: dict[str, Setting]
    return_message: ReturnMessage | UnsetType = UNSET


class NoticeAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether something was done, and what to tell the user."""

    successful: bool
    return_message: ReturnMessage


class CallLogs(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The logs of calls: always none."""

    successful: bool = True
    logs: list[Any] = []
    return_message: ReturnMessage | None = None


class UserInfoHash(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """RingCentral's ids of a user and her account, hashed: 64 hexadecimal digits."""

    extension_id: str
    account_id: str


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """The server's version."""

    version: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a server can take requests, what was looked at, and how long ago it last looked for what is due."""

    ready: bool
    checks: dict[str, str]
    seconds_since_sweep: float


class ManagedAuthState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which fields of the login page an administrator has filled in for everybody: none."""

    has_managed_auth: bool = False
    all_required_fields_satisfied: bool = False
    visible_field_consts: list[str] | None = None
    missing_required_field_consts: list[str] = []
    fallback_to_manual_auth: bool = False


class ManagedOAuthState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an administrator has connected the account for everybody: no."""

    is_admin: bool = msgspec.field(default=False, name="isAdmin")
    has_account_oauth: bool = msgspec.field(default=False, name="hasAccountOAuth")
    has_pending_oauth: bool = msgspec.field(default=False, name="hasPendingOAuth")


class SignInForm(msgspec.Struct):
    """The body of `POST /operators/session`."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"SignInForm(name={self.name!r})"


class OperatorToken(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An operator's session: its token, when it ends at the latest (epoch milliseconds), and her roles."""

    token: str
    expires_at: int
    roles: list[str]

    def __repr__(self) -> str:
        return f"OperatorToken(expires_at={self.expires_at})"


class SessionsEnded(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions were ended."""

    ended: int


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who the operator is."""

    name: str
    roles: list[str]


class EraseUserForm(msgspec.Struct):
    """The body of `POST /operators/erase/user`."""

    tenant: Name
    platform: Name
    id: Name


class EraseTenantForm(msgspec.Struct):
    """The body of `POST /operators/erase/tenant`; without a platform, at all of them."""

    tenant: Name
    platform: Name | None = None


class TenantsForm(msgspec.Struct):
    """Which tenants are to be listed. `after` is the `next` of the page before."""

    tenant: Name | None = None
    platform: Name | None = None
    after: Annotated[str, Meta(max_length=10_000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class MoveTenantForm(msgspec.Struct):
    """The body of `POST /operators/tenants/move`; `hostname` as users say it."""

    tenant: Name
    platform: Name
    hostname: Name


class ExportForm(msgspec.Struct):
    """The body of `POST /operators/export`: one of a contact's `id` and a `phone` number."""

    tenant: Name
    platform: Name
    id: Name | None = None
    phone: str | None = None


Given = Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]

Fence = Annotated[int, Meta(ge=0, le=2**53)]


class InboxForm(msgspec.Struct, rename="camel"):
    """What of the inbox is asked for. `after` is the `next` of the page before."""

    tenant: Name | None = None
    platform: Name | None = None
    state: Literal["failed", "parked", "waiting"] | None = None
    cause: Name | None = None
    after: Annotated[str, Meta(max_length=10_000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class RetrySomeForm(InboxForm):
    """What of the inbox is to be tried again. `not_in_crm` says of what is parked that somebody has looked."""

    not_in_crm: bool = False


class ExportInboxForm(InboxForm):
    """What of the inbox is to be exported, with text for those who may see it."""

    text: bool = False


class CausesForm(msgspec.Struct, rename="camel"):
    """What is to be counted: of one tenant, or of all; since a time in epoch milliseconds."""

    tenant: Name | None = None
    since: Annotated[int, Meta(ge=0, le=2**53)] = 0


class LogForm(msgspec.Struct, rename="camel", kw_only=True):
    """Which conversation log. `kind` and `groupContactId` are asked for where several are shown with one id."""

    tenant: Name
    platform: Name
    conversation_log_id: Name
    kind: Literal["conversation", "group", "thread"] | None = None
    group_contact_id: Name | None = None


class EntryForm(LogForm, kw_only=True):
    """A conversation log to look at, with text for those who may see it."""

    text: bool = False


class RetryForm(LogForm, kw_only=True):
    """A conversation log to be tried again. `fence` is that of the entry which the decision is about."""

    not_in_crm: bool = False
    fence: Fence | None = None


class LinkForm(LogForm, kw_only=True):
    """A conversation log, and the contact that it is to go to."""

    contact_id: Given
    contact_name: Name
    contact_type: Name = "contact"
    fence: Fence | None = None


class DoneForm(LogForm, kw_only=True):
    """A conversation log that the CRM has, and in which activity."""

    third_party_log_id: Given | None = None
    everything: bool = False
    fence: Fence | None = None


class CausesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How much is in trouble for what."""

    causes: list[Cause]
