"""Small questions of the client: about this server, and about calls, managed logins and release notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

import messagelog
from messagelog.messages import BadRequest
from messagelog.server.openapi.operations import OBJECT, TEXT, Access, Content, Parameter
from messagelog.server.openapi.schemas import (
    CallLogs,
    ManagedAuthState,
    ManagedOAuthState,
    UserInfoHash,
    Version,
)
from messagelog.server.requests import HttpRefusal, authenticate, context_of, json_response, query_values
from messagelog.server.routes.hashed_ids import LONGEST_ID, id_hash
from messagelog.server.routes.manifest import platform_manifest
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from starlette.requests import Request

    from messagelog.connectors import Connector

router = Router()

_CONNECTOR_METHODS: Final = {
    "getUserInfo": "get_user_info",
    "findContact": "find_contact",
    "findContactWithName": "find_contact_with_name",
    "createContact": "create_contact",
    "createMessageLog": "create_message_log",
    "updateMessageLog": "update_message_log",
}
"""The reference's names of interfaces, and the methods of our contract that implement them."""

_BUILT_IN: Final = ("getAuthType", "getLogFormatType", "refreshUserInfo")

_NOT_SUPPORTED: Final = (
    *("createCallLog", "updateCallLog", "getCallLog", "upsertCallDisposition", "cacheCallNote"),
    *("getUserList", "getLicenseStatus", "getManagedAuthOptions"),
    *("listAppointments", "createAppointment", "updateAppointment"),
    *("refreshAppointment", "confirmAppointment", "cancelAppointment"),
)

_PLATFORM: Final = Parameter("platform", "The connector's name.", "demo")


@router.get("/isAlive", answer=Content(TEXT, "OK", "text/plain"))
async def is_alive(_request: Request) -> Response:
    """Return `OK`, as text, while the server runs."""
    return Response("OK", media_type="text/plain")


@router.get("/serverVersionInfo", answer=Content(Version, {"version": "0.1.0"}))
async def server_version(_request: Request) -> Response:
    """Return the server's version."""
    return json_response(Version(version=messagelog.__version__))


@router.get("/releaseNotes", answer=Content(OBJECT, {}))
async def release_notes(_request: Request) -> Response:
    """Return what is new for users, by version: nothing."""
    return json_response({})


@router.get(
    "/userInfoHash",
    query=(
        Parameter("extensionId", "RingCentral's id of the user.", "178010005", required=True, longest=64),
        Parameter(
            "accountId", "RingCentral's id of the user's account.", "178009004", required=True, longest=64
        ),
    ),
    answer=Content(UserInfoHash, {"extensionId": "8b8eae4d" * 8, "accountId": "0d6fa7a0" * 8}),
)
async def user_info_hash(request: Request) -> Response:
    """Hash RingCentral's ids of a user and their account; the client sends the hashes with its requests.

    The hashes are keyed with the server's secret, so the ids cannot be guessed from them. They grant no access.
    """
    query = query_values(request)
    key = context_of(request).account_key
    hashes = {}
    for name in ("extensionId", "accountId"):
        value = query.get(name, "")
        if not value or len(value) > LONGEST_ID:
            raise BadRequest(name, f"expected 1 to {LONGEST_ID} characters")
        hashes[name] = id_hash(key, name, value)
    return json_response(UserInfoHash(extension_id=hashes["extensionId"], account_id=hashes["accountId"]))


@router.get("/hostname", access=Access.USER, answer=Content(TEXT, "crm.example.com", "text/plain"))
async def hostname(request: Request) -> Response:
    """Return the host of the user's CRM, as text."""
    user = await authenticate(request)
    return Response(user.hostname, media_type="text/plain")


@router.get(
    "/implementedInterfaces",
    query=(Parameter("platform", "The connector's name.", "demo", required=True),),
    answer=Content(
        {"type": "object", "additionalProperties": {"type": "boolean"}},
        {"findContact": True, "createMessageLog": True, "createCallLog": False},
    ),
)
async def implemented_interfaces(request: Request) -> Response:
    """Return the abilities of a platform's connector, by the reference's names."""
    platform = query_values(request).get("platform", "")
    if not platform:
        raise HttpRefusal(400, "Please provide platform.")
    connector = context_of(request).config.connectors.get(platform)
    if connector is None:
        raise HttpRefusal(400, "platform: this server has no connector for it")
    return json_response(_interfaces(connector))


@router.get(
    "/apiKeyManagedAuthState",
    query=(_PLATFORM,),
    answer=Content(
        ManagedAuthState,
        {
            "hasManagedAuth": False,
            "allRequiredFieldsSatisfied": False,
            "visibleFieldConsts": None,
            "missingRequiredFieldConsts": [],
            "fallbackToManualAuth": False,
        },
    ),
)
async def managed_auth_state(_request: Request) -> Response:
    """Return whether an administrator has filled in the login page for all users: never."""
    return json_response(ManagedAuthState())


@router.get(
    "/oauthManagedAuthState",
    query=(_PLATFORM,),
    answer=Content(ManagedOAuthState, {"isAdmin": False, "hasAccountOAuth": False, "hasPendingOAuth": False}),
)
async def managed_oauth_state(_request: Request) -> Response:
    """Return whether an administrator has connected the account for all users: never."""
    return json_response(ManagedOAuthState())


@router.get(
    "/callLog",
    query=(Parameter("sessionIds", "Not used.", "1,2"),),
    answer=Content(CallLogs, {"successful": True, "logs": [], "returnMessage": None}),
)
async def call_logs(_request: Request) -> Response:
    """Return the logs of calls: always none. The client requests this for its list of calls."""
    return json_response(CallLogs())


@router.post("/callLog", errors=(404,))
@router.patch("/callLog", errors=(404,))
async def log_call(_request: Request) -> Response:
    """Refuse to log a call: a 404 is the only refusal that the client does not show after every call."""
    raise HttpRefusal(404, "Calls are not logged by this server.")


def _interfaces(connector: Connector) -> dict[str, bool]:
    auth = platform_manifest(connector)["auth"]["type"]
    revoked = connector.oauth is not None and connector.oauth.revocation_url != ""
    return {
        **dict.fromkeys(_BUILT_IN, True),
        "getOauthInfo" if auth == "oauth" else "getBasicAuth": True,
        **{name: connector.can(method) for name, method in _CONNECTOR_METHODS.items()},
        "unAuthorize": revoked or connector.can("unauthorize"),
        **dict.fromkeys(_NOT_SUPPORTED, False),
    }
