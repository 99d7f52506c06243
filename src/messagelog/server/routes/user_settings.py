"""`/user/…` and `/admin/settings`: the settings that a user chose in the client, as far as the operator lets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from messagelog.connectors import ConnectorError
from messagelog.core.intake.answer import ReturnMessage
from messagelog.server.openapi.operations import OBJECT, Access, Content, Parameter, notice_example
from messagelog.server.openapi.schemas import NoticeAnswer, SettingsAnswer, SettingsForm
from messagelog.server.requests import (
    HttpRefusal,
    authenticate,
    call_with_timeout,
    context_of,
    json_response,
    read_form,
    session_of,
)
from messagelog.server.routing import Router

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from messagelog.core.intake.answer import MessageType

router = Router()

_NO_ADMIN: Final = "Admin validation failed"
_MOST_NAMED: Final = 5
"""Most settings that a warning names."""

_RC_ACCOUNT: Final = Parameter("rcAccountId", "Not used.", "0d6fa7a0")
_AUTO_LOG: Final = {"autoLogSMS": {"value": True}}


@router.get(
    "/user/settings",
    access=Access.USER,
    query=(_RC_ACCOUNT,),
    answer=Content({"type": "object", "additionalProperties": OBJECT}, _AUTO_LOG),
)
async def read_settings(request: Request) -> Response:
    """Return the settings in force for the user: a bare object, by id."""
    user = await authenticate(request, connected=False)  # the client requests this before it logs out
    return json_response(await context_of(request).settings.effective(user))


@router.post(
    "/user/settings",
    access=Access.USER,
    body=Content(SettingsForm, {"userSettings": _AUTO_LOG}),
    answer=Content(SettingsAnswer, {"userSettings": _AUTO_LOG}),
)
async def change_settings(request: Request) -> Response:
    """Change the settings that the body names, leave others alone, and return the settings in force then.

    Settings that the operator decides for all users are not taken from the body, since the client sends back all that
    it has. A setting that cannot be understood is not saved, and named in a warning.
    """
    user = await authenticate(request)
    form = await read_form(request, SettingsForm)
    saved = await context_of(request).settings.change(user, form.user_settings, form.setting_keys_to_remove)
    if not saved.problems:
        return json_response(SettingsAnswer(user_settings=saved.settings))
    message = "Not saved: " + "; ".join(str(problem) for problem in saved.problems[:_MOST_NAMED])
    if len(saved.problems) > _MOST_NAMED:
        message += f"; and {len(saved.problems) - _MOST_NAMED} more"
    notice = ReturnMessage(message=message, message_type="warning", ttl=10_000)
    return json_response(SettingsAnswer(user_settings=saved.settings, return_message=notice))


@router.get("/user/preloadSettings", query=(_RC_ACCOUNT,), answer=Content(OBJECT, {}))
async def preload_settings(_request: Request) -> Response:
    """Return the settings of an account before a user has signed in: none. Anyone who knows a hash may send this."""
    return json_response({})


@router.post(
    "/user/refreshInfo",
    access=Access.USER,
    answer=Content(
        NoticeAnswer,
        {"successful": True, "returnMessage": notice_example("User information refreshed", ttl=2000)},
    ),
)
async def refresh_info(request: Request) -> Response:
    """Ask the CRM again for the user's name and time zone."""
    user = await authenticate(request)
    context = context_of(request)
    connector = context.runtime.connector(user.platform)
    try:
        session = await session_of(request, connector, user)
        info = await call_with_timeout(request, connector, connector.get_user_info(session))
        same = await context.users.refresh_profile(connector, user, info)
    except ConnectorError as error:
        return json_response(_notice_answer(f"Your details could not be read. {error.meaning}", "warning"))
    if not same:
        return json_response(
            _notice_answer("The CRM knows you as somebody else now. Please connect again.", "warning")
        )
    return json_response(_notice_answer("User information refreshed", "success"))


@router.get("/admin/settings", errors=(403,))
@router.post("/admin/settings", errors=(403,))
async def admin_settings(_request: Request) -> Response:
    """Refuse: there are no administrators here. Settings for all users are made by the operator, at the server.

    The client takes any refusal as "not an administrator" and shows nothing.
    """
    raise HttpRefusal(403, _NO_ADMIN)


def _notice_answer(message: str, type_: MessageType) -> NoticeAnswer:
    successful = type_ == "success"
    notice = ReturnMessage(message=message, message_type=type_, ttl=2000 if successful else 5000)
    return NoticeAnswer(successful=successful, return_message=notice)
