"""Drive canaries through a server: every kind of message, every failure, a sign-in with OAuth; record the answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response

from canaries.connectors import Quoting, every_error
from canaries.locations import ANSWERS, SIGN_INS, TO_THE_CRM
from messagelog.connectors import AuthExpired
from support.live_server import payload, refusal
from support.oauth_browser import values_of

if TYPE_CHECKING:
    from canaries.locations import Locations
    from canaries.search import Canaries
    from support.live_server import CrmCall, LiveServer, Reply
    from support.oauth_browser import Browser
    from support.oauth_server import OAuthCrm
    from support.scripted_plugin import ScriptedPlugin

KINDS: Final = ("01-sms", "05-voicemail", "06-fax", "08-mms", "09-group", "11-shared")
STATUSES: Final = (302, 400, 401, 403, 404, 409, 410, 422, 429, 500, 502, 503)
CHAOS: Final[dict[str, dict[str, int]]] = {
    "drop": {"drop_request_rate": 1},
    "lose": {"lose_response_rate": 1},
    "delay": {"delay_ms": 2500},
}
TROUBLES: Final = (*(f"crm-{status}" for status in STATUSES), *(f"crm-{name}" for name in CHAOS))
"""Platforms of their own, all with the same CRM: a circuit breaker that one opens stops no other one."""

_NUMBER_IN_PAYLOADS: Final = "+14155550142"


@dataclass
class Driver:
    """A user who sends canaries, with the answers.

    `values` are the canaries that have another form: `phone`, `card`, the CRM's text `said`; and, later, `failed`.
    """

    here: LiveServer
    canaries: Canaries
    locations: Locations
    values: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)
    number: int = 0
    last_log: str = ""

    async def sign_in(self, platform: str = "demo") -> None:
        form = {
            "apiKey": self.canaries["api_key"],
            "platform": platform,
            "additionalInfo": {"apiKey": self.canaries["api_key"], "password": self.canaries["password"]},
        }
        reply = await self.here.ask("POST", "/apiKeyLogin", json=form)
        self.keep_token(platform, reply)

    def keep_token(self, platform: str, reply: Reply) -> None:
        """Keep the session token of an answer; those of the client's usual platforms are searched for elsewhere."""
        self.locations.answer(SIGN_INS, reply)
        self.tokens[platform] = reply.body["jwtToken"]
        if platform not in TROUBLES:
            self.learn_token(reply.body["jwtToken"])

    def learn_token(self, token: str) -> None:
        """Learn a token by its signature: the rest of it is in the tokens of others as well."""
        self.canaries.learn("session_token", token.rpartition(".")[2])

    def message(self, kind: str) -> dict[str, Any]:
        """Return a captured request of a kind as a new one, with canaries in every text of people and RingCentral."""
        self.number += 1
        text = json.dumps(payload(kind)).replace(_NUMBER_IN_PAYLOADS, self.values["phone"])
        made: dict[str, Any] = json.loads(text)
        info = made["logInfo"]
        info["conversationLogId"] = f"{info['conversationLogId']}-{self.number}"
        for each in (*info["messages"], *info.get("entities", ())):
            self._plant(each)
        info["rcAccessToken"] = self.canaries["rc_token"]
        self.last_log = info["conversationLogId"]
        made["contactName"] = self.canaries["contact_name"]
        made["additionalSubmission"] = {"topic": f"{self.canaries['form_field']} {self.canaries['redacted']}"}
        return made

    def _plant(self, each: dict[str, Any]) -> None:
        hidden = f"{self.values['card']} {self.canaries['redacted']}"
        each["id"] = f"{each['id']}{self.number}"
        each["subject"] = f"{self.canaries['text']} {hidden}"
        if each.get("transcript"):
            each["transcript"] = f"{self.canaries['transcript']} {hidden}"
        if "text" in each:
            name = "note" if each.get("recordType") == "AliveNote" else "text"
            each["text"] = f"{self.canaries[name]} {hidden}"
        for attachment in each.get("attachments", ()):
            if "uri" in attachment:
                attachment["uri"] += f"?access_token={self.canaries['link_token']}"
            if "link" in attachment:
                attachment["link"] += f"%3Faccess_token%3D{self.canaries['link_token']}"

    async def ask(self, method: str, path: str, platform: str = "demo", json: Any = None) -> Reply:
        """Ask with the user's token in the query, as the client does."""
        joined = f"{path}{'&' if '?' in path else '?'}jwtToken={self.tokens[platform]}"
        reply = await self.here.ask(method, joined, json=json)
        self.locations.answer(ANSWERS, reply)
        return reply

    async def log(self, kind: str, platform: str = "demo") -> Reply:
        return await self.ask("POST", "/messageLog", platform, self.message(kind))

    async def match(self, platform: str = "demo") -> None:
        """Look for a contact by a number that nothing else has."""
        number = f"{self.values['phone'].replace('+', '%2B')}&isForceRefreshAccountData=true"
        await self.ask("GET", f"/contact?phoneNumber={number}", platform)

    async def all_goes_well(self, platform: str = "demo") -> None:
        for kind in KINDS:
            await self.log(kind, platform)
        await self.match(platform)

    async def connector_fails(self, connector: Quoting, platform: str = "demo") -> None:
        """Fail with an unforeseen error and with every kind of error: last the one that ends the session."""
        known: list[type[Exception]] = [RuntimeError, *every_error()]
        errors = sorted(known, key=lambda error: error is AuthExpired)
        for error in errors:
            connector.raises, before = error, connector.failed
            await self.match(platform)
            await self.log("06-fax", platform)
            assert connector.failed > before + (error is not AuthExpired), f"{error.__name__} was not raised"
        connector.raises = None

    async def crm_fails(self) -> None:
        """Fail with all errors that a CRM may answer, each quoting the request."""
        for status in STATUSES:
            platform = f"crm-{status}"
            await self.sign_in(platform)
            self.here.crm.refuse = lambda call, status=status: self._quote(call, status)  # type: ignore[misc]
            before = len(self.here.crm.calls)
            await self.log("01-sms", platform)
            self.values[f"failed with {status}"] = self.last_log
            await self.match(platform)
            self.here.crm.refuse = lambda _call: None
            assert len(self.here.crm.calls) > before, f"{status} was not answered"
        for name, chaos in CHAOS.items():
            await self.sign_in(f"crm-{name}")
            await self.here.chaos(**chaos)
            await self.log("05-voicemail", f"crm-{name}")
            await self.here.chaos()

    def _quote(self, call: CrmCall, status: int) -> Response:
        """Return the answer of a CRM that quotes the whole request."""
        said = {"error": self.values["said"], "text": self.canaries["text"], "headers": repr(call.headers)}
        headers = {"location": f"/x?{self.canaries['api_key']}", "x-said": self.canaries["api_key"]}
        return JSONResponse(said, status, headers)

    async def plugin_fails(self, plugin: ScriptedPlugin) -> None:
        """Fail in a plugin before redaction, with all that it was given."""

        def fails(request: object) -> object:
            raise RuntimeError(f"{self.canaries['plugin_said']} {request!r}") from KeyError(repr(request))

        before, plugin.does = plugin.does, fails
        for kind in KINDS:
            await self.log(kind)
        plugin.does = before

    async def oauth(self, browser: Browser, crm: OAuthCrm) -> None:
        """Run a whole sign-in, one that fails, calls with a refresh before each, and a sign-out that revokes it."""
        for attempt in ("fails", "succeeds"):
            crm.before = lambda _kind, attempt=attempt: (  # type: ignore[misc]
                refusal(500, x_said=self.values["said"]) if attempt == "fails" else None
            )
            url = await browser.authorization_url(f"&x={self.canaries['query']}")
            self.canaries.learn("state", values_of(url)["state"])
            self.locations.note(TO_THE_CRM, url)
            page = await browser.window(url)
            reply = await browser.back(page)
            self.canaries.learn("verifier", crm.forms[-1]["code_verifier"])
            if attempt == "succeeds":
                self.keep_token("oauth-crm", reply)
            else:
                self.locations.answer(ANSWERS, reply)
            self.locations.answer(ANSWERS, await browser.back(page))
        await self.all_goes_well("oauth-crm")
        connector = self.here.context.config.connectors["oauth-crm"]
        assert isinstance(connector, Quoting)
        await self.connector_fails(connector, "oauth-crm")
        await self.ask("POST", "/unAuthorize", "oauth-crm")
