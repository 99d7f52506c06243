"""The OpenAPI description: the shapes of bodies and answers, from the types that read and write them.

The routes read their bodies themselves, so that FastAPI knows nothing of them. What is said here stands beside the
paths and docstrings that it is given. The tests hold every answer that they are given to it. A server loads this
module, and FastAPI with it, when somebody asks for the description.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from fastapi import FastAPI, Response

import messagelog
from messagelog.core.admin.erasure import Erased
from messagelog.core.admin.export import Export
from messagelog.core.intake.answer import Answer, SelectedAnswer
from messagelog.core.users.tenants import TenantMove, TenantPage
from messagelog.messages import LogRequest
from messagelog.server.openapi.inbox import INBOX, INBOX_TYPES
from messagelog.server.openapi.schemas import (
    CallLogs,
    ContactsAnswer,
    EraseTenantForm,
    EraseUserForm,
    ExportForm,
    ManagedAuthState,
    ManagedOAuthState,
    MatchAnswer,
    MatchForm,
    Me,
    MoveTenantForm,
    NewContactAnswer,
    NewContactForm,
    NoticeAnswer,
    OperatorToken,
    Readiness,
    SessionsEnded,
    SettingsAnswer,
    SettingsForm,
    SignInForm,
    TenantsForm,
    UserInfoHash,
    Version,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import Route

Schema = dict[str, Any]

_TYPES: Final = (
    *(Answer, SelectedAnswer, MatchForm, MatchAnswer),
    *(LogRequest, ContactsAnswer, NewContactAnswer, NewContactForm, SettingsAnswer, SettingsForm),
    *(NoticeAnswer, CallLogs, UserInfoHash, Version, ManagedAuthState, ManagedOAuthState, Readiness),
    *INBOX_TYPES,
    *(
        SignInForm,
        OperatorToken,
        SessionsEnded,
        Me,
        EraseUserForm,
        EraseTenantForm,
        ExportForm,
        Erased,
        Export,
    ),
    *(TenantsForm, TenantPage, MoveTenantForm, TenantMove),
)
_REF: Final = "#/components/schemas/{name}"

_TEXT: Final[Schema] = {"type": "string"}
_OBJECT: Final[Schema] = {"type": "object"}
_MAYBE_TEXT: Final[Schema] = {"anyOf": [{"type": "string"}, {"type": "null"}]}
_NOTICE: Final[Schema] = {
    "type": "object",
    "properties": {"returnMessage": {"$ref": _REF.format(name="ReturnMessage")}},
    "required": ["returnMessage"],
}
_LOGIN: Final[Schema] = {
    "type": "object",
    "properties": {
        "platform": _MAYBE_TEXT,
        "apiKey": _MAYBE_TEXT,
        "hostname": _MAYBE_TEXT,
        "additionalInfo": {"anyOf": [{"type": "object"}, {"type": "null"}]},
    },
}
_CONNECTED: Final[Schema] = {
    "type": "object",
    "properties": {"jwtToken": _TEXT, "name": _TEXT, **_NOTICE["properties"]},
    "required": ["jwtToken", "name", "returnMessage"],
}
_MANIFEST: Final[Schema] = {
    "type": "object",
    "properties": {
        "serverUrl": _TEXT,
        "redirectUri": _TEXT,
        "version": _TEXT,
        "author": {"type": "object", "properties": {"name": _TEXT}, "required": ["name"]},
        "platforms": {"type": "object", "additionalProperties": _OBJECT},
    },
    "required": ["serverUrl", "redirectUri", "version", "author", "platforms"],
}
_LOGGED_OUT: Final[Schema] = {
    "type": "object",
    "properties": {
        "message": _TEXT,
        "messageType": _TEXT,
        "ttl": {"type": "integer"},
        **_NOTICE["properties"],
    },
    "required": ["message", "messageType", "ttl", "returnMessage"],
}
_SESSION_ENDED: Final[Schema] = {
    "type": "object",
    "properties": {
        "successful": {"type": "boolean", "const": False},
        "errorCode": {"type": "string", "const": "CRM_SESSION_REVOKED"},
        **_NOTICE["properties"],
    },
    "required": ["successful", "errorCode", "returnMessage"],
}
_LOCATION: Final[Schema] = {"Location": {"required": True, "schema": _TEXT}}
_RENEWED: Final[Schema] = {
    "x-refreshed-jwt-token": {
        "description": "A new token, in place of one that ends within a week.",
        "schema": _TEXT,
    }
}
_SETTINGS: Final[Schema] = {"type": "object", "additionalProperties": _OBJECT}
_FLAGS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "boolean"}}

_REFUSED: Final = "Refused: a text for the user, which names the field."
_MEANINGS: Final = {
    200: "The answer.",
    302: "The way to the CRM.",
    400: _REFUSED,
    401: "The session has ended: the user has logged out, or the CRM has taken back what she granted.",
    403: "Nobody is an administrator here; or the token of the metrics did not come along.",
    404: "Not done by this server; the client shows nothing.",
    408: "The body took too long to arrive.",
    409: "It may not be done: a text that says why.",
    413: "The body is too large.",
    422: "Nothing of it was kept: the CRM or a plugin has refused it, and why.",
    429: "Too many requests of the user, or wrong sign-ins of the address. `Retry-After` has the seconds to wait.",
    500: "Something failed that should not. What was accepted before is kept.",
    502: "The CRM did not make the contact, or nobody knows.",
    503: "The server is shutting down, or a plugin that it needs did not run. Nothing of the request was kept.",
}
_ALWAYS: Final = (500, 503)
_OPERATORS: Final = {
    401: "No operator has signed in with this.",
    403: "The operator lacks a role that this needs.",
}
_MEANINGS_TO_OPERATORS: Final = {**_MEANINGS, **_OPERATORS}

_NUMBER: Final = "+14155550142"
_MAYA: Final = {
    "id": "c-1",
    "name": "Maya Patel",
    "type": "contact",
    "phone": _NUMBER,
    "additionalInfo": {"matter": [{"const": "m-1", "title": "Renewal 2026"}]},
    "createdDate": "2026-01-01T00:00:00Z",
}
_OFFER: Final = {
    "id": "createNewContact",
    "name": "Create new contact...",
    "isNewContact": True,
    "defaultContactType": "contact",
    "additionalInfo": {},
}
_LOG_REQUEST: Final = {
    "logInfo": {
        "conversationLogId": "8031152018338945839/7/13/2026",
        "conversationId": "8031152018338945839",
        "messages": [
            {
                "id": 6424569001,
                "type": "SMS",
                "direction": "Inbound",
                "creationTime": 1783998000000,
                "subject": "Can you send the renewal options?",
                "from": {"phoneNumber": _NUMBER, "name": "Maya Patel"},
                "to": [{"phoneNumber": "+14155550101", "name": "Jordan Lee"}],
                "attachments": [],
            }
        ],
        "self": {"phoneNumber": "+14155550101", "name": "Jordan Lee"},
        "correspondents": [{"phoneNumber": _NUMBER, "name": "Maya Patel"}],
    },
    "additionalSubmission": {"matter": "m-1"},
    "overridingFormat": [],
    "contactId": "c-1",
    "contactType": "contact",
    "contactName": "Maya Patel",
}
_ERASED: Final = dict.fromkeys(("users", "settings", "contacts", "messages", "kept", "parked", "underWay"), 0)


def _notice(message: str, type_: str = "success", ttl: int = 1000) -> dict[str, Any]:
    return {"message": message, "messageType": type_, "ttl": ttl}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the query."""

    name: str
    text: str
    example: str
    required: bool = False
    longest: int | None = None

    def to_openapi(self) -> Schema:
        """As OpenAPI has it."""
        schema = {**_TEXT, **({"minLength": 1} if self.required else {})}
        if self.longest is not None:
            schema["maxLength"] = self.longest
        return {
            "name": self.name,
            "in": "query",
            "description": self.text,
            "required": self.required,
            "schema": schema,
            "example": self.example,
        }


@dataclass(frozen=True, slots=True)
class RouteDescription:
    """What a route reads and answers: a type, or a schema where no type of ours stands behind it.

    `answer` is None where the route only refuses. `refuses` are the statuses of refusals beside those that any route
    may have: a text, or a notice where the newest client asks. A `supervisor`'s route has texts alone.
    `leads` says that a good answer is a redirect. Where a `token` comes along, the answer may bring a new one, unless
    `ends` says that its session is over.
    An `operator` signs in for herself: with a token of hers, as a bearer only.
    """

    answer: type | Schema | None = None
    example: Any = None
    query: tuple[Parameter, ...] = ()
    body: type | Schema | None = None
    body_example: Any = None
    body_required: bool = True
    token: bool = False
    ends: bool = False
    operator: bool = False
    refuses: tuple[int, ...] = ()
    supervisor: bool = False
    leads: bool = False
    media_type: str = "application/json"

    def operation(self) -> Schema:
        """As OpenAPI has it, but for what FastAPI knows."""
        refusal = _TEXT if self.operator or self.supervisor else {"anyOf": [_TEXT, _NOTICE]}
        refuses = {*self.refuses, *_ALWAYS, *((400,) if self.token or self.query else ())}
        refuses |= {400, 408, 413} if self.body is not None else set()
        refuses |= {429} if self.token else set()
        refuses |= _OPERATORS.keys() if self.operator else set()
        meanings = _MEANINGS_TO_OPERATORS if _OPERATORS.keys() <= refuses else _MEANINGS
        responses = {str(status): _content(meanings[status], refusal) for status in sorted(refuses)}
        if self.answer is not None:
            responses["200"] = _content(_MEANINGS[200], _schema(self.answer), self.example, self.media_type)
        if self.leads:
            responses["302"] = {"description": _MEANINGS[302], "headers": _LOCATION}
        if self.token:
            if not self.ends:
                # An error that nobody foresaw is answered outside of everything, with nothing of the request.
                for status in responses.keys() - {"500"}:
                    responses[status]["headers"] = _RENEWED
            responses["401"] = _content(_MEANINGS[401], _SESSION_ENDED)
        found: Schema = {"responses": dict(sorted(responses.items()))}
        if self.query:
            found["parameters"] = [each.to_openapi() for each in self.query]
        if self.body is not None:
            body = _content("", _schema(self.body), self.body_example)
            found["requestBody"] = {"required": self.body_required, "content": body["content"]}
        found["security"] = [{"bearer": []}, {"jwtToken": []}] if self.token else []
        if self.operator:
            found["security"] = [{"operator": []}]
        return found


def _schema(shape: type | Schema) -> Schema:
    return shape if isinstance(shape, dict) else {"$ref": _REF.format(name=shape.__name__)}


def _content(
    description: str, schema: Schema, example: Any = None, media_type: str = "application/json"
) -> Schema:
    content: Schema = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {media_type: content}}


_PLATFORM: Final = Parameter("platform", "The connector's name.", "demo")
_RC_ACCOUNT: Final = Parameter("rcAccountId", "Not used.", "0d6fa7a0")

ROUTES: Final[dict[str, RouteDescription]] = {
    "GET /isAlive": RouteDescription(answer=_TEXT, example="OK", media_type="text/plain"),
    "GET /healthz": RouteDescription(answer=_TEXT, example="OK", media_type="text/plain", supervisor=True),
    "GET /readyz": RouteDescription(
        answer=Readiness,
        example={"ready": True, "checks": {"database": "ok", "work": "ok"}, "secondsSinceSweep": 0.4},
        supervisor=True,
    ),
    "GET /metrics": RouteDescription(
        answer=_TEXT,
        example='messagelog_messages_total{platform="demo",outcome="logged"} 1.0',
        media_type="text/plain",
        refuses=(403,),
        supervisor=True,
    ),
    "GET /serverVersionInfo": RouteDescription(answer=Version, example={"version": "0.1.0"}),
    "GET /releaseNotes": RouteDescription(answer=_OBJECT, example={}),
    "GET /crmManifest": RouteDescription(
        query=(Parameter("platformName", "One platform; all where it is left out.", "demo"),),
        answer=_MANIFEST,
        example={
            "serverUrl": "https://log.example.com",
            "redirectUri": "https://ringcentral.github.io/ringcentral-embeddable/redirect.html",
            "author": {"name": "messagelog"},
            "version": "0.1.0",
            "platforms": {"demo": {"name": "demo", "displayName": "Demo CRM"}},
        },
    ),
    "GET /implementedInterfaces": RouteDescription(
        query=(Parameter("platform", "The connector's name.", "demo", required=True),),
        answer=_FLAGS,
        example={"findContact": True, "createMessageLog": True, "createCallLog": False},
    ),
    "GET /userInfoHash": RouteDescription(
        query=(
            Parameter("extensionId", "RingCentral's id of the user.", "178010005", required=True, longest=64),
            Parameter(
                "accountId", "RingCentral's id of her account.", "178009004", required=True, longest=64
            ),
        ),
        answer=UserInfoHash,
        example={"extensionId": "8b8eae4d" * 8, "accountId": "0d6fa7a0" * 8},
    ),
    "GET /user/preloadSettings": RouteDescription(query=(_RC_ACCOUNT,), answer=_OBJECT, example={}),
    "GET /apiKeyManagedAuthState": RouteDescription(
        query=(_PLATFORM,),
        answer=ManagedAuthState,
        example={
            "hasManagedAuth": False,
            "allRequiredFieldsSatisfied": False,
            "visibleFieldConsts": None,
            "missingRequiredFieldConsts": [],
            "fallbackToManualAuth": False,
        },
    ),
    "GET /oauthManagedAuthState": RouteDescription(
        query=(_PLATFORM,),
        answer=ManagedOAuthState,
        example={"isAdmin": False, "hasAccountOAuth": False, "hasPendingOAuth": False},
    ),
    "POST /apiKeyLogin": RouteDescription(
        query=(Parameter("state", "The platform too: platform=NAME.", "platform=demo"),),
        body=_LOGIN,
        body_example={
            "platform": "demo",
            "apiKey": "demo-ada",
            "hostname": "crm.example.com",
            "additionalInfo": {"apiKey": "demo-ada"},
        },
        answer=_CONNECTED,
        example={
            "jwtToken": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
            "name": "Ada Lovell",
            "returnMessage": _notice("Connected to Demo CRM."),
        },
        refuses=(429,),
    ),
    "GET /oauth/start": RouteDescription(
        query=(Parameter("state", "The platform: platform=NAME.", "platform=demo", required=True),),
        leads=True,
    ),
    "GET /oauth-callback": RouteDescription(
        query=(
            Parameter(
                "callbackUri",
                "The page that the CRM has sent the user back to, with code and state in its query, encoded or not.",
                "https://ringcentral.github.io/ringcentral-embeddable/redirect.html?code=1&state=1",
                required=True,
            ),
            Parameter("code", "The code, where callbackUri is not encoded.", "1"),
            Parameter("state", "The state, where callbackUri is not encoded.", "1"),
            Parameter("error", "The CRM's refusal, where callbackUri is not encoded.", "access_denied"),
            Parameter("hostname", "The CRM's host as the client sees it.", "crm.example.com", longest=255),
            _RC_ACCOUNT,
        ),
        answer={"anyOf": [_CONNECTED, _NOTICE]},
        example={
            "jwtToken": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
            "name": "Ada Lovell",
            "returnMessage": _notice("Connected to Demo CRM."),
        },
        refuses=(429,),
    ),
    "POST /unAuthorize": RouteDescription(
        answer=_LOGGED_OUT,
        example={
            **_notice("Successfully unauthorized.", ttl=3000),
            "returnMessage": _notice("Successfully unauthorized.", ttl=3000),
        },
        token=True,
        ends=True,
    ),
    "GET /user/settings": RouteDescription(
        query=(_RC_ACCOUNT,), answer=_SETTINGS, example={"autoLogSMS": {"value": True}}, token=True
    ),
    "POST /user/settings": RouteDescription(
        body=SettingsForm,
        body_example={"userSettings": {"autoLogSMS": {"value": True}}},
        answer=SettingsAnswer,
        example={"userSettings": {"autoLogSMS": {"value": True}}},
        token=True,
    ),
    "POST /user/refreshInfo": RouteDescription(
        answer=NoticeAnswer,
        example={"successful": True, "returnMessage": _notice("User information refreshed", ttl=2000)},
        token=True,
    ),
    "GET /admin/settings": RouteDescription(refuses=(403,)),
    "POST /admin/settings": RouteDescription(refuses=(403,)),
    "GET /hostname": RouteDescription(
        answer=_TEXT, example="crm.example.com", media_type="text/plain", token=True
    ),
    "GET /contact": RouteDescription(
        query=(
            Parameter(
                "phoneNumber", "The number; its plus need not be encoded.", _NUMBER, required=True, longest=64
            ),
            Parameter("overridingFormat", "Formats of the CRM, with commas.", "(***) ***-****"),
            Parameter("isExtension", "Whether it is an extension: not needed.", "false"),
            Parameter("isForceRefreshAccountData", "true asks the CRM anew.", "false"),
        ),
        answer=ContactsAnswer,
        example={
            "successful": True,
            "returnMessage": _notice("Found 1 contact", ttl=3000),
            "contact": [_MAYA, _OFFER],
        },
        token=True,
    ),
    "GET /custom/contact/search": RouteDescription(
        query=(Parameter("name", "A part of a name.", "maya", required=True, longest=255),),
        answer=ContactsAnswer,
        example={"successful": True, "returnMessage": None, "contact": [_MAYA]},
        token=True,
    ),
    "POST /contact": RouteDescription(
        body=NewContactForm,
        body_example={
            "phoneNumber": "+14155550188",
            "newContactName": "Nina New",
            "newContactType": "contact",
            "additionalSubmission": {"topic": ""},
        },
        answer=NewContactAnswer,
        example={
            "successful": True,
            "returnMessage": _notice("Contact created", ttl=2000),
            "contact": {"id": "c-5", "name": "Nina New", "type": "contact"},
        },
        token=True,
        refuses=(422, 502),
    ),
    "POST /messageLog": RouteDescription(
        body=LogRequest,
        body_example=_LOG_REQUEST,
        answer={"anyOf": [{"$ref": _REF.format(name=each)} for each in ("Answer", "SelectedAnswer")]},
        example={
            "successful": True,
            "logIds": ["6424569001"],
            "returnMessage": _notice("Message logged"),
        },
        token=True,
        refuses=(422,),
    ),
    "POST /messageLog/match": RouteDescription(
        body=MatchForm,
        body_example={"conversationId": "8031152018338945839", "messageIds": ["6424569001", "6424569002"]},
        answer=MatchAnswer,
        example={
            "successful": True,
            "logs": [
                {"messageId": "6424569001", "matched": True, "logId": "a-1", "contactId": "c-1"},
                {"messageId": "6424569002", "matched": False},
            ],
            "messageLogs": {"6424569001": "a-1"},
        },
        token=True,
    ),
    "GET /callLog": RouteDescription(
        query=(Parameter("sessionIds", "Not used.", "1,2"),),
        answer=CallLogs,
        example={"successful": True, "logs": [], "returnMessage": None},
    ),
    "POST /operators/session": RouteDescription(
        supervisor=True,
        body=SignInForm,
        body_example={"name": "grace", "password": "correct horse battery"},
        answer=OperatorToken,
        example={"token": "kXw0", "expiresAt": 1_784_041_200_000, "roles": ["act", "text"]},
        refuses=(401, 403, 429),
    ),
    "DELETE /operators/session": RouteDescription(answer=SessionsEnded, example={"ended": 1}, operator=True),
    "DELETE /operators/sessions": RouteDescription(answer=SessionsEnded, example={"ended": 2}, operator=True),
    "GET /operators/me": RouteDescription(
        answer=Me, example={"name": "grace", "roles": ["text"]}, operator=True
    ),
    "POST /operators/erase/user": RouteDescription(
        body=EraseUserForm,
        body_example={"tenant": "acme", "platform": "demo", "id": "u-ada"},
        answer=Erased,
        example={**_ERASED, "users": 1, "settings": 2, "messages": 1, "kept": 40},
        operator=True,
    ),
    "POST /operators/erase/tenant": RouteDescription(
        body=EraseTenantForm,
        body_example={"tenant": "acme"},
        answer=Erased,
        example={**_ERASED, "users": 12, "contacts": 30, "messages": 4_000},
        operator=True,
    ),
    "POST /operators/export": RouteDescription(
        body=ExportForm,
        body_example={"tenant": "acme", "platform": "demo", "id": "c-1"},
        answer=Export,
        example={
            "tenant": "acme",
            "platform": "demo",
            "contacts": [{"id": "c-1", "name": "Maya Patel", "type": "contact", "phone_number": _NUMBER}],
            "conversationLogs": [],
        },
        operator=True,
        refuses=(409,),
    ),
    "POST /operators/tenants": RouteDescription(
        body=TenantsForm,
        body_example={"platform": "ticket-crm"},
        answer=TenantPage,
        example={
            "tenants": [
                {
                    "tenant": "acme@crm.example.com",
                    "platform": "ticket-crm",
                    "host": "https://crm.example.com",
                    "crmTenant": "acme",
                    "createdAt": 1_783_998_001_000,
                }
            ],
            "next": None,
        },
        operator=True,
    ),
    "POST /operators/tenants/move": RouteDescription(
        body=MoveTenantForm,
        body_example={
            "tenant": "acme@crm.example.com",
            "platform": "ticket-crm",
            "hostname": "crm.example.org",
        },
        answer=TenantMove,
        example={"before": ["https://crm.example.com"], "host": "https://crm.example.org", "users": 12},
        operator=True,
        refuses=(404, 409),
    ),
    **{route: RouteDescription(**each, operator=True) for route, each in INBOX.items()},
    "POST /callLog": RouteDescription(refuses=(404,)),
    "PATCH /callLog": RouteDescription(refuses=(404,)),
}
"""What is said of each route, by its method and path."""


class _DescriptionApp(FastAPI):
    """An application that describes bodies and answers."""

    def openapi(self) -> Schema:
        """The description, made once."""
        if self.openapi_schema is None:
            schema = super().openapi()
            for path, methods in schema["paths"].items():
                for method, operation in methods.items():
                    described = ROUTES.get(f"{method.upper()} {path}")
                    if described is not None:
                        operation.update(described.operation())
            _, components = msgspec.json.schema_components(_TYPES, ref_template=_REF)
            schema["components"] = {
                "schemas": components,
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "jwtToken": {"type": "apiKey", "in": "query", "name": "jwtToken"},
                    "operator": {"type": "http", "scheme": "bearer"},
                },
            }
        return self.openapi_schema or {}


def description_app(routes: Sequence[Route]) -> FastAPI:
    """An application that describes these routes. It answers none of them itself."""
    app = _DescriptionApp(
        title="messagelog",
        version=messagelog.__version__,
        summary=messagelog.__doc__,
        docs_url=None,  # the page that shows the description is our own
        redoc_url=None,
    )
    for route in routes:
        app.add_api_route(
            route.path,
            _placeholder,
            methods=sorted(route.methods or ()),
            name=route.name,
            description=inspect.getdoc(route.endpoint),
            response_class=Response,
        )
    return app


async def _placeholder() -> None:
    """What stands in the place of a route's function, of which FastAPI would want to know more."""
