"""What the client asks about this server, and about what it does not do: calls, managed logins, release notes."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

import messagelog
from messagelog.messages import BadRequest
from messagelog.server.http import Refused, assembly_of, json_response, query_values, signed_in
from messagelog.server.manifest import platform_manifest
from messagelog.server.routes import Router
from messagelog.server.shapes import CallLogs, ManagedAuthState, ManagedOAuthState, UserInfoHash, Version

if TYPE_CHECKING:
    from starlette.requests import Request

    from messagelog.connectors import Connector

router = Router()

_LONGEST_ID: Final = 64

_ASKED_OF_CONNECTORS: Final = {
    "getUserInfo": "get_user_info",
    "findContact": "find_contact",
    "findContactWithName": "find_contact_with_name",
    "createContact": "create_contact",
    "createMessageLog": "create_message_log",
    "updateMessageLog": "update_message_log",
}
"""The reference's names of interfaces, and the questions of our contract that stand for them."""

_DONE_BY_THE_CORE: Final = ("getAuthType", "getLogFormatType", "refreshUserInfo")

_NOT_DONE: Final = (
    *("createCallLog", "updateCallLog", "getCallLog", "upsertCallDisposition", "cacheCallNote"),
    *("getUserList", "getLicenseStatus", "getManagedAuthOptions"),
    *("listAppointments", "createAppointment", "updateAppointment"),
    *("refreshAppointment", "confirmAppointment", "cancelAppointment"),
)


@router.get("/isAlive")
async def is_alive(_request: Request) -> Response:
    """`OK`, as text, while the server runs."""
    return Response("OK", media_type="text/plain")


@router.get("/serverVersionInfo")
async def server_version(_request: Request) -> Response:
    """The server's version."""
    return json_response(Version(version=messagelog.__version__))


@router.get("/releaseNotes")
async def release_notes(_request: Request) -> Response:
    """What is new for users, by version: nothing that the client would have to tell them."""
    return json_response({})


@router.get("/userInfoHash")
async def user_info_hash(request: Request) -> Response:
    """RingCentral's ids of a user and her account as hashes, which the client sends along from then on.

    They are keyed with the server's secret, so that they tell nobody the ids. Nothing here depends on them.
    """
    query = query_values(request)
    key = assembly_of(request).account_key
    hashes = {}
    for name in ("extensionId", "accountId"):
        value = query.get(name, "")
        if not value or len(value) > _LONGEST_ID:
            raise BadRequest(name, f"expected 1 to {_LONGEST_ID} characters")
        text = f"{name}:{value}".encode("utf-8", "replace")
        hashes[name] = hmac.new(key, text, hashlib.sha256).hexdigest()
    return json_response(UserInfoHash(extension_id=hashes["extensionId"], account_id=hashes["accountId"]))


@router.get("/hostname")
async def hostname(request: Request) -> Response:
    """The host of the user's CRM, as text."""
    user = await signed_in(request)
    return Response(user.hostname, media_type="text/plain")


@router.get("/implementedInterfaces")
async def implemented_interfaces(request: Request) -> Response:
    """What a platform's connector can do, by the reference's names."""
    platform = query_values(request).get("platform", "")
    if not platform:
        raise Refused(400, "Please provide platform.")
    connector = assembly_of(request).parts.connectors.get(platform)
    if connector is None:
        raise Refused(400, "platform: this server has no connector for it")
    return json_response(_interfaces(connector))


@router.get("/apiKeyManagedAuthState")
async def managed_auth_state(_request: Request) -> Response:
    """Whether an administrator has filled in the login page for everybody: never."""
    return json_response(ManagedAuthState())


@router.get("/oauthManagedAuthState")
async def managed_oauth_state(_request: Request) -> Response:
    """Whether an administrator has connected the account for everybody: never."""
    return json_response(ManagedOAuthState())


@router.get("/callLog")
async def call_logs(_request: Request) -> Response:
    """No call is logged. The client asks this for its list of calls, whoever is signed in."""
    return json_response(CallLogs())


@router.post("/callLog")
@router.patch("/callLog")
async def log_call(_request: Request) -> Response:
    """Calls are not logged: a 404, the one refusal that the client does not show after every call."""
    raise Refused(404, "Calls are not logged by this server.")


def _interfaces(connector: Connector) -> dict[str, bool]:
    auth = platform_manifest(connector)["auth"]["type"]
    revoked = connector.oauth is not None and connector.oauth.revocation_url != ""
    return {
        **dict.fromkeys(_DONE_BY_THE_CORE, True),
        "getOauthInfo" if auth == "oauth" else "getBasicAuth": True,
        **{name: connector.can(method) for name, method in _ASKED_OF_CONNECTORS.items()},
        "unAuthorize": revoked or connector.can("unauthorize"),
        **dict.fromkeys(_NOT_DONE, False),
    }
