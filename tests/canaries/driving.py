"""Drives canaries through a server: every kind of message, every failure, every route; and notes where they went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from messagelog.connectors import (
    AuthExpired,
    BodyFull,
    ConnectorError,
    Contact,
    Credentials,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from support.site import ADA, Quick, payload, refusal

if TYPE_CHECKING:
    from canaries.searching import Canaries
    from messagelog.connectors import MessageLog, Session
    from support.site import Reply, Site

KINDS = ("01-sms", "05-voicemail", "06-fax", "08-mms", "09-group", "11-shared")
ERRORS: tuple[type[ConnectorError], ...] = (
    AuthExpired,
    BodyFull,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
STATUSES = (302, 400, 401, 403, 404, 409, 410, 422, 429, 500, 502, 503)
CHAOS = ({"drop_request_rate": 1}, {"lose_response_rate": 1}, {"delay_ms": 700})
EVERY_ROUTE = (
    "GET /contact",
    "GET /custom/contact/search",
    "POST /contact",
    "GET /user/settings",
    "POST /user/settings",
    "POST /user/refreshInfo",
    "GET /hostname",
    "GET /admin/settings",
    "POST /admin/settings",
    "GET /callLog",
    "POST /callLog",
    "GET /userInfoHash",
    "GET /crmManifest",
    "GET /implementedInterfaces",
    "GET /oauth/start",
    "GET /oauth-callback",
    "GET /isAlive",
    "POST /messageLog",
    "POST /messageLog/",
    "GET /no/such/route",
)


class Quoting(Quick):
    """Shows the user's whole key to the CRM, and quotes all that it knows when it fails."""

    raises: type[Exception] | None = None

    def auth_headers(self, credentials: Credentials) -> dict[str, str]:
        return {"Authorization": f"Bearer {ADA}", "X-Key": credentials.api_key}

    def _fail(self, session: Session, log: MessageLog | None, said: str) -> None:
        if self.raises is not None and issubclass(self.raises, ConnectorError):
            raise self.raises("HTTP 418") from ValueError(_all_of(session, log, said))
        if self.raises is not None:
            raise RuntimeError(_all_of(session, log, said)) from KeyError(_all_of(session, log, said))

    async def create_message_log(self, session: Session, log: MessageLog) -> str | int | None:
        self._fail(session, log, "create")
        return await super().create_message_log(session, log)

    async def update_message_log(self, session: Session, log: MessageLog) -> None:
        self._fail(session, log, "update")
        await super().update_message_log(session, log)

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        self._fail(session, None, phone_number)
        return await super().find_contact(session, phone_number)


def _all_of(session: Session, log: MessageLog | None, said: str) -> str:
    """What a careless programmer puts into an error."""
    known = f"{said} {session.credentials.api_key} {session.credentials.fields}"
    if log is None:
        return known
    return f"{known} {log.content} {[each.record for each in log.messages]} {log.additional_submission}"


@dataclass
class Driver:
    """One user who sends canaries, and what she was answered."""

    here: Site
    canaries: Canaries
    token: str = ""
    replies: list[Reply] = field(default_factory=list)
    sign_ins: list[Reply] = field(default_factory=list)
    number: int = 0

    @property
    def connector(self) -> Quoting:
        connector = self.here.assembly.parts.connectors["demo"]
        assert isinstance(connector, Quoting)
        return connector

    async def sign_in(self) -> None:
        form = {
            "apiKey": self.canaries["api_key"],
            "platform": "demo",
            "additionalInfo": {"apiKey": self.canaries["api_key"], "password": self.canaries["password"]},
        }
        reply = await self.here.ask("POST", "/apiKeyLogin", json=form)
        self.sign_ins.append(reply)
        self.token = reply.body["jwtToken"]

    def message(self, kind: str) -> dict[str, Any]:
        """A captured request of a kind as a new one, with canaries in it wherever people or RingCentral write."""
        self.number += 1
        made: dict[str, Any] = payload(kind)
        info = made["logInfo"]
        info["conversationLogId"] = f"{info['conversationLogId']}-{self.number}"
        for each in (*info["messages"], *info.get("entities", ())):
            self._written(each)
        info["rcAccessToken"] = self.canaries["rc_token"]
        made["contactName"] = self.canaries["contact_name"]
        made["additionalSubmission"] = {"topic": self.canaries["form_field"]}
        return made

    def _written(self, each: dict[str, Any]) -> None:
        each["id"] = f"{each['id']}{self.number}"
        each["subject"] = self.canaries["text"]
        if each.get("transcript"):
            each["transcript"] = self.canaries["transcript"]
        if "text" in each:
            each["text"] = self.canaries["note" if each.get("recordType") == "AliveNote" else "text"]
        for attachment in each.get("attachments", ()):
            if "uri" in attachment:
                attachment["uri"] += f"?access_token={self.canaries['link_token']}"
            if "link" in attachment:
                attachment["link"] += f"%3Faccess_token%3D{self.canaries['link_token']}"

    async def log(self, kind: str) -> Reply:
        reply = await self.here.ask("POST", f"/messageLog?jwtToken={self.token}", json=self.message(kind))
        self.replies.append(reply)
        return reply

    async def all_goes_well(self) -> None:
        for kind in KINDS:
            await self.log(kind)

    async def all_goes_wrong(self) -> None:
        errors: tuple[type[Exception], ...] = (RuntimeError, *ERRORS)
        for error in errors:
            self.connector.raises = error
            await self.log("06-fax")
            await self._match()
        self.connector.raises = None
        for status in STATUSES:
            self.here.crm.refuse = lambda _call, status=status: refusal(  # type: ignore[misc]
                status, location=f"/x?{self.canaries['api_key']}"
            )
            await self.log("01-sms")
            await self._match()
        self.here.crm.refuse = lambda _call: None
        for chaos in CHAOS:
            await self.here.chaos(**chaos)
            await self.log("05-voicemail")
            await self.here.chaos()

    async def every_route(self) -> None:
        """Asked rightly and wrongly, with the token in the query and in the header, and with a broken one."""
        body = {"phoneNumber": [self.canaries["form_field"]], "contactId": [self.canaries["text"]]}
        for route in EVERY_ROUTE:
            method, _, path = route.partition(" ")
            bearer = {"authorization": f"Bearer {self.token}"}
            sent = None if method == "GET" else body
            replies = [
                await self.here.ask(
                    method, f"{path}?jwtToken={self.token}&x={self.canaries['query']}", json=sent
                ),
                await self.here.ask(method, path, json=sent, headers=bearer),
                await self.here.ask(method, f"{path}?jwtToken={self.token}x", json=sent),
            ]
            self.replies += replies
        cut = f'{{"logInfo": {{"x": "{self.canaries["text"]}"'.encode()
        self.replies.append(await self.here.ask("POST", f"/messageLog?jwtToken={self.token}", data=cut))

    async def _match(self) -> None:
        path = f"/contact?jwtToken={self.token}&phoneNumber=+14155550142&isForceRefreshAccountData=true"
        self.replies.append(await self.here.ask("GET", path))
