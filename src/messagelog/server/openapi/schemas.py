"""The types of small bodies and answers: routes read and write them, and the OpenAPI document describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messagelog.core.intake.answer import ReturnMessage
from messagelog.storage.records.inbox import Cause

Name = Annotated[str, Meta(max_length=1000, pattern=r"^[^\x00]*$")]
"""An id or a name: any text that both databases can store."""

Setting = dict[str, Any]
"""A setting: `value`, and perhaps `customizable`, `defaultValue`, `options`."""


class LoginForm(msgspec.Struct, rename="camel"):
    """The body of `POST /apiKeyLogin`: `additionalInfo` has all fields of the login page, the key included."""

    api_key: str | None = None
    platform: str | None = None
    hostname: str | None = None
    additional_info: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"LoginForm(platform={self.platform!r})"


class NewContactForm(msgspec.Struct, rename="camel"):
    """The body of `POST /contact`."""

    phone_number: str
    new_contact_name: str
    new_contact_type: str | None = None
    additional_submission: dict[str, Any] | None = None


class SettingsForm(msgspec.Struct, rename="camel"):
    """The body of `POST /user/settings`: settings to write over the present ones, and ids of settings to remove."""

    user_settings: dict[str, Any] = {}
    setting_keys_to_remove: list[str] = []


MessageId = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*$")] | int
"""RingCentral's id of a message: text or a number."""


class MatchForm(msgspec.Struct, rename="camel"):
    """The body of `POST /messageLog/match`: up to 100 messages. `conversationId` is not needed: ids are unique."""

    message_ids: list[MessageId]
    conversation_id: str | int | None = None


class MatchedMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a message is logged, the CRM's id of the record that holds it, and the contact of that record."""

    message_id: str
    matched: bool
    log_id: str | UnsetType = UNSET
    contact_id: str | UnsetType = UNSET


class MatchAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The logged messages; `messageLogs` has the CRM's ids of their records, by message id."""

    successful: bool = True
    logs: list[MatchedMessage]
    message_logs: dict[str, str]


class ContactRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A contact as the client's log form takes it.

    `additionalInfo` has the contact's values for the manifest's fields. The row that offers a new contact has the id
    `createNewContact` and `isNewContact`.
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
    """The answer to a search for contacts. `contact` is always an array."""

    successful: bool
    return_message: ReturnMessage | None
    contact: list[ContactRow]


class NewContactAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to `POST /contact`."""

    successful: bool
    return_message: ReturnMessage
    contact: ContactRow


class SettingsAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The settings in force after a change, and a warning that names settings that were not saved."""

    user_settings: dict[str, Setting]
    return_message: ReturnMessage | UnsetType = UNSET


class NoticeAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether something was done, and a notice for the user."""

    successful: bool
    return_message: ReturnMessage


class CallLogs(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The logs of calls: always none."""

    successful: bool = True
    logs: list[Any] = []
    return_message: ReturnMessage | None = None


class UserInfoHash(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """RingCentral's ids of a user and their account, hashed: 64 hexadecimal digits each."""

    extension_id: str
    account_id: str


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """The server's version."""

    version: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a server can take requests, the checks that were made, and the seconds since its last sweep."""

    ready: bool
    checks: dict[str, str]
    seconds_since_sweep: float


class ManagedAuthState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The fields of the login page that an administrator has filled in for all users: none."""

    has_managed_auth: bool = False
    all_required_fields_satisfied: bool = False
    visible_field_consts: list[str] | None = None
    missing_required_field_consts: list[str] = []
    fallback_to_manual_auth: bool = False


class ManagedOAuthState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an administrator has connected the account for all users: no."""

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
    """An operator's session: its token, its latest end (epoch milliseconds), and the operator's roles."""

    token: str
    expires_at: int
    roles: list[str]

    def __repr__(self) -> str:
        return f"OperatorToken(expires_at={self.expires_at})"


class SessionsEnded(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions were ended."""

    ended: int


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's name and roles."""

    name: str
    roles: list[str]


class EraseUserForm(msgspec.Struct):
    """The body of `POST /operators/erase/user`."""

    tenant: Name
    platform: Name
    id: Name


class EraseTenantForm(msgspec.Struct):
    """The body of `POST /operators/erase/tenant`; without a platform, for all platforms."""

    tenant: Name
    platform: Name | None = None


class TenantsForm(msgspec.Struct):
    """Which tenants to list. `after` is the `next` of the previous page."""

    tenant: Name | None = None
    platform: Name | None = None
    after: Annotated[str, Meta(max_length=10_000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class MoveTenantForm(msgspec.Struct):
    """The body of `POST /operators/tenants/move`; `hostname` as users type it."""

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
    """Which part of the inbox to list. `after` is the `next` of the previous page."""

    tenant: Name | None = None
    platform: Name | None = None
    state: Literal["failed", "parked", "waiting"] | None = None
    cause: Name | None = None
    after: Annotated[str, Meta(max_length=10_000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class RetrySomeForm(InboxForm):
    """Which part of the inbox to retry. `notInCrm` says of parked logs that a person has looked in the CRM."""

    not_in_crm: bool = False


class ExportInboxForm(InboxForm):
    """Which part of the inbox to export, with text for operators who may see it."""

    text: bool = False


class CausesForm(msgspec.Struct, rename="camel"):
    """What to count: of one tenant, or of all; since a time in epoch milliseconds."""

    tenant: Name | None = None
    since: Annotated[int, Meta(ge=0, le=2**53)] = 0


class LogForm(msgspec.Struct, rename="camel", kw_only=True):
    """Which conversation log. `kind` and `groupContactId` are needed if several have the same id."""

    tenant: Name
    platform: Name
    conversation_log_id: Name
    kind: Literal["conversation", "group", "thread"] | None = None
    group_contact_id: Name | None = None


class EntryForm(LogForm, kw_only=True):
    """A conversation log to show, with text for operators who may see it."""

    text: bool = False


class RetryForm(LogForm, kw_only=True):
    """A conversation log to retry. `fence` is that of the entry which the decision is about."""

    not_in_crm: bool = False
    fence: Fence | None = None


class LinkForm(LogForm, kw_only=True):
    """A conversation log, and the contact to link it to."""

    contact_id: Given
    contact_name: Name
    contact_type: Name = "contact"
    fence: Fence | None = None


class DoneForm(LogForm, kw_only=True):
    """A conversation log that is in the CRM, and the activity that holds it."""

    third_party_log_id: Given | None = None
    everything: bool = False
    fence: Fence | None = None


class CausesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of messages that are not logged, by cause."""

    causes: list[Cause]
