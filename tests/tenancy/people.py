"""Users with the same ids in two tenants, on two platforms and at two hosts, and what each does at every route."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace
from starlette.routing import Mount, Route

from messagelog.server.openapi.operations import Access
from messagelog.server.openapi.pages import documentation_pages
from messagelog.testing.demo_crm.serving import serve_demo_crm
from support.live_server import FastDemoConnector, live_server
from support.openapi_validation import ROUTES
from support.requests import body, message, thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from messagelog.connectors import Credentials, Session, UserInfo
    from messagelog.connectors.demo import DemoConnector
    from messagelog.server.routing import DescribedApp
    from support.live_server import LiveServer, Reply

SAME_NAME: Final = "Same Name"
NUMBER: Final = "+1415555" + "0142"


class Namesakes(FastDemoConnector):
    """The demo's connector, in which users put their id behind their key: equal ids in every tenant."""

    def auth_headers(self, credentials: Credentials) -> dict[str, str]:
        return {"Authorization": f"Bearer {credentials.api_key.partition('#')[0]}"}

    async def get_user_info(self, session: Session) -> UserInfo:
        info = await super().get_user_info(session)
        return replace(info, id=session.credentials.api_key.partition("#")[2], name=SAME_NAME)


class Second(Namesakes):
    """Another platform, with a CRM of its own that has the same tenants."""

    name = "second"


class Hosted(Namesakes):
    """A platform whose users say where their CRM is: at two hosts that answer alike."""

    name = "hosted"

    def __init__(self, urls: dict[str, str]) -> None:
        super().__init__("")
        self.urls = urls

    def base_url_for(self, hostname: str) -> str:
        return self.urls[hostname.removesuffix(".test").rpartition("-")[2]]


@dataclass
class Person:
    """A user, with words that no other user has. `gone` are the session tokens that have ended."""

    here: LiveServer
    platform: str
    key: str
    id: str = "u-1"
    token: str = ""
    host: str = ""
    told: list[tuple[str, int, Any]] = field(default_factory=list)

    @property
    def tag(self) -> str:
        return "-".join(filter(None, (f"words-of-{self.platform}-{self.key}-{self.id}", self.host)))

    async def ask(self, route: str, query: str = "", json: Any = None) -> Reply:
        """Send a request as the client does, and record the answer, without what must differ."""
        method, _, path = route.partition(" ")
        query = "&".join(filter(None, (f"jwtToken={self.token}" if self.token else "", query)))
        reply = await self.here.ask(method, f"{path}?{query}" if query else path, json=json)
        self.told.append((route, reply.status, _alike(reply.body, self)))
        return reply

    async def sign_in(self) -> None:
        form = {"apiKey": f"{self.key}#{self.id}", "platform": self.platform, "hostname": f"{self.tag}.test"}
        self.token = ""
        self.token = (await self.ask("POST /apiKeyLogin", json=form)).body["jwtToken"]


def _alike(value: Any, who: Person) -> Any:
    """Return an answer without the user's own parts (words, token), and without the CRM's clock."""
    if isinstance(value, dict):
        shown = {key: "some" for key in ("jwtToken", "createdDate") if key in value}
        return {key: _alike(each, who) for key, each in value.items()} | shown
    if isinstance(value, list):
        return [_alike(each, who) for each in value]
    if isinstance(value, str):
        return value.replace(who.tag, "words").replace(who.here.url, "here")
    return value


async def _log(who: Person) -> None:
    first = body(message(1, who.tag), conversation="conv", name=who.tag)
    await who.ask("POST /messageLog", json=first)
    await who.ask("POST /messageLog", json=first)
    await who.ask("POST /messageLog", json=body(message(1), message(2, who.tag), name=who.tag))
    await who.ask("POST /messageLog", json=body(message(3), contact="c-2", name=who.tag))
    await who.ask("POST /messageLog", json=thread(who.tag))


async def _match_messages(who: Person) -> None:
    form = {"conversationId": "conv", "messageIds": ["1", "2", "3", "4"]}
    await who.ask("POST /messageLog/match", json=form)


async def _settings(who: Person) -> None:
    told = {"userSettings": {"note": {"value": who.tag}, "other": {"value": 1}}}
    await who.ask("POST /user/settings", json=told)
    await who.ask("POST /user/settings", json={"settingKeysToRemove": ["other"]})


async def _contact(who: Person) -> None:
    form = {"phoneNumber": "+14155550199", "newContactName": "A New Person", "newContactType": "contact"}
    await who.ask("POST /contact", json=form)
    await who.ask("POST /contact", json=form)
    await who.ask("GET /contact", "phoneNumber=+14155550199")


async def _match(who: Person) -> None:
    await who.ask("GET /contact", f"phoneNumber={NUMBER}&isForceRefreshAccountData=true")
    await who.ask("GET /contact", f"phoneNumber={NUMBER}")


async def _sign_out(who: Person) -> None:
    await who.ask("POST /unAuthorize")
    await who.ask("GET /user/settings")
    await who.sign_in()
    await who.ask("GET /user/settings")


def _once(route: str, query: str = "") -> Callable[[Person], Awaitable[Any]]:
    return lambda who: who.ask(route, query.replace("{platform}", who.platform))


CASES: Final[dict[str, Callable[[Person], Awaitable[Any]]]] = {
    "POST /apiKeyLogin": lambda who: who.sign_in(),
    "GET /contact": _match,
    "POST /messageLog": _log,
    "POST /messageLog/match": _match_messages,
    "POST /contact": _contact,
    "GET /custom/contact/search": _once("GET /custom/contact/search", "name=patel"),
    "POST /user/settings": _settings,
    "GET /user/settings": _once("GET /user/settings"),
    "GET /user/preloadSettings": _once("GET /user/preloadSettings", "rcAccountId=0d6fa7a0d4ea2cd0"),
    "POST /user/refreshInfo": _once("POST /user/refreshInfo"),
    "GET /admin/settings": _once("GET /admin/settings"),
    "POST /admin/settings": _once("POST /admin/settings"),
    "GET /hostname": _once("GET /hostname"),
    "GET /userInfoHash": _once("GET /userInfoHash", "extensionId=178010005&accountId=178009004"),
    "GET /implementedInterfaces": _once("GET /implementedInterfaces", "platform={platform}"),
    "GET /apiKeyManagedAuthState": _once("GET /apiKeyManagedAuthState", "platform={platform}"),
    "GET /oauthManagedAuthState": _once("GET /oauthManagedAuthState", "platform={platform}"),
    "GET /oauth/start": _once("GET /oauth/start", "state=platform={platform}"),
    "GET /oauth-callback": _once("GET /oauth-callback", "callbackUri=https://evil.test/?code=1"),
    "GET /callLog": _once("GET /callLog"),
    "POST /callLog": _once("POST /callLog"),
    "PATCH /callLog": _once("PATCH /callLog"),
    "POST /unAuthorize": _sign_out,
}
"""What a user does at each route. Later ones find what the earlier ones have written."""

OF_THE_SERVER: Final = {
    "GET /isAlive": "the process runs",
    "GET /healthz": "the same",
    "GET /readyz": "whether it can take requests",
    "GET /metrics": "numbers by platform, for the operator",
    "GET /serverVersionInfo": "the version",
    "GET /releaseNotes": "nothing",
    "GET /crmManifest": "what the connectors declare",
    "GET /openapi.json": "the description of the routes",
    "GET /docs": "the same, to be read",
    **dict.fromkeys(
        (f"GET {path}" for path in documentation_pages() if path != "/docs"), "files that that page loads"
    ),
    "POST /operators/session": "no user's name and password sign in there",
    **{
        route: "no user's token is good there"
        for route, each in ROUTES.items()
        if each.access is Access.OPERATOR
    },
}
"""Routes that answer everybody alike and know no user, and what they answer."""


def routes_of(app: DescribedApp) -> set[str]:
    """Every route that the application has, but for the demo's CRM that is mounted beside it."""
    found = set()
    for route in app.routes:
        match route:
            case Mount(path="/demo-crm"):
                continue
            case Mount():
                found.add(f"MOUNT {route.path}")
            case Route():
                found |= {f"{method} {route.path}" for method in route.methods or ()}
            case _:
                raise AssertionError(f"what is {route!r}?")
    return {each for each in found if not each.startswith("HEAD ")}


@asynccontextmanager
async def neighbourhood(database_url: str, folder: Path) -> AsyncIterator[LiveServer]:
    """A server with three platforms, one of them with two CRMs; the tenants acme and otto are in all of them."""
    async with (
        serve_demo_crm(folder / "second.sqlite") as crm,
        serve_demo_crm(folder / "north.sqlite") as north,
        serve_demo_crm(folder / "south.sqlite") as south,
    ):
        more: dict[str, DemoConnector] = {
            "second": Second(f"{crm.url}/api"),
            "hosted": Hosted({"north": f"{north.url}/api", "south": f"{south.url}/api"}),
        }
        async with live_server(database_url, folder, connector=Namesakes, more=more) as here:
            yield here
