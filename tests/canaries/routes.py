"""Every route of the app, with valid and wrong requests: the requests, and what the answers may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from canaries.locations import (
    ANSWERS,
    METRICS,
    OPERATOR_ANSWERS,
    OPERATOR_SIGN_INS,
    SIGN_INS,
    TEXT_ANSWERS,
    TO_THE_CRM,
)
from messagelog.core.operators.accounts import Role, local_operator
from tenancy.people import routes_of

if TYPE_CHECKING:
    from canaries.driver import Driver
    from support.live_server import Reply

NAME: Final = "hedy"


@dataclass(frozen=True)
class Case:
    """A valid request: its query and its body, and the place of its answers. Those that end something are `late`."""

    place: str = ANSWERS
    query: str = ""
    form: Any = None
    late: bool = False


_CONTACT: Final = {"newContactName": "{contact_name}", "newContactType": "contact", "phoneNumber": "{phone}"}
_FAILED: Final = {"tenant": "acme", "platform": "crm-422", "conversationLogId": "{failed with 422}"}
_TENANT: Final = {"tenant": "acme", "platform": "demo"}
CASES: Final[dict[str, Case]] = {
    # For users
    "POST /apiKeyLogin": Case(SIGN_INS, form={"apiKey": "{api_key}", "platform": "demo"}),
    "GET /contact": Case(query="phoneNumber={phone}"),
    "POST /contact": Case(form=_CONTACT),
    "GET /custom/contact/search": Case(query="name={contact_name}"),
    "POST /messageLog": Case(form={"logInfo": {"x": "{text}"}}),
    "POST /messageLog/match": Case(form={"conversationId": "{text}", "messageIds": ["{query}"]}),
    "GET /user/settings": Case(),
    "POST /user/settings": Case(form={"userSettings": {"note": {"value": 1}}}),
    "GET /user/preloadSettings": Case(query="rcAccountId={query}"),
    "POST /user/refreshInfo": Case(form={}),
    "GET /admin/settings": Case(),
    "POST /admin/settings": Case(form={}),
    "GET /hostname": Case(),
    "GET /userInfoHash": Case(query="extensionId={query}&accountId={query}"),
    "GET /implementedInterfaces": Case(query="platform=demo"),
    "GET /apiKeyManagedAuthState": Case(query="platform=demo"),
    "GET /oauthManagedAuthState": Case(query="platform=demo"),
    "GET /callLog": Case(),
    "POST /callLog": Case(form={"note": "{text}"}),
    "PATCH /callLog": Case(form={"note": "{text}"}),
    "GET /oauth/start": Case(TO_THE_CRM, query="state=platform=oauth-crm"),
    "GET /oauth-callback": Case(query="callbackUri=https://elsewhere.test/?code={code}&state={state}"),
    "POST /unAuthorize": Case(late=True),
    # For everybody
    "GET /isAlive": Case(),
    "GET /healthz": Case(),
    "GET /readyz": Case(),
    "GET /metrics": Case(METRICS),
    "GET /serverVersionInfo": Case(),
    "GET /releaseNotes": Case(),
    "GET /crmManifest": Case(query="platformName=demo"),
    "GET /openapi.json": Case(),
    "GET /docs": Case(),
    **{f"GET /docs/{name}": Case() for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js")},
    # For operators
    "POST /operators/session": Case(
        OPERATOR_SIGN_INS, form={"name": NAME, "password": "{operator_password}"}
    ),
    "GET /operators/me": Case(OPERATOR_ANSWERS),
    "POST /operators/export": Case(TEXT_ANSWERS, form={**_TENANT, "phone": "{phone}"}),
    "POST /operators/erase/user": Case(OPERATOR_ANSWERS, form={**_TENANT, "id": "nobody"}),
    "POST /operators/erase/tenant": Case(OPERATOR_ANSWERS, form={"tenant": "nobody"}),
    "POST /operators/tenants": Case(OPERATOR_ANSWERS, form={}),
    "POST /operators/tenants/move": Case(OPERATOR_ANSWERS, form={**_TENANT, "hostname": "crm.test"}),
    "POST /operators/inbox": Case(OPERATOR_ANSWERS, form={}),
    "POST /operators/inbox/causes": Case(OPERATOR_ANSWERS, form={}),
    "POST /operators/inbox/entry": Case(TEXT_ANSWERS, form={**_FAILED, "text": True}),
    "POST /operators/inbox/export": Case(TEXT_ANSWERS, form={"text": True}),
    "POST /operators/inbox/link": Case(
        OPERATOR_ANSWERS, form={**_FAILED, "contactId": "c-2", "contactName": "Omar"}
    ),
    "POST /operators/inbox/retry": Case(OPERATOR_ANSWERS, form=_FAILED),
    "POST /operators/inbox/retry-some": Case(
        OPERATOR_ANSWERS, form={"state": "failed", "platform": "crm-409"}
    ),
    "POST /operators/inbox/done": Case(OPERATOR_ANSWERS, form={**_FAILED, "everything": True}),
    "DELETE /operators/session": Case(OPERATOR_ANSWERS, late=True),
    "DELETE /operators/sessions": Case(OPERATOR_ANSWERS, late=True),
}


async def sign_in_operator(driver: Driver) -> str:
    """Return the token of a new operator with every role."""
    operators = driver.here.context.operators
    password = driver.canaries["operator_password"]
    await operators.add(local_operator("test"), NAME, password, tuple(Role))
    return await _operator_token(driver)


async def _operator_token(driver: Driver) -> str:
    form = {"name": NAME, "password": driver.canaries["operator_password"]}
    reply = await driver.here.ask("POST", "/operators/session", json=form)
    driver.locations.answer(OPERATOR_SIGN_INS, reply)
    return driver.canaries.learn("operator_token", reply.body["token"])


async def ask_everything(driver: Driver) -> None:
    """Send requests to every route of the app, with tokens in the query and the header, broken ones and others'."""
    assert sorted(routes_of(driver.here.app)) == sorted(CASES)
    routes = sorted(CASES, key=lambda route: CASES[route].late)
    operator = await sign_in_operator(driver)
    for route in (*routes, "POST /messageLog/", "GET /no/such/route"):
        case = CASES.get(route, Case())
        for token in (driver.tokens["demo"], operator):
            bearer = {"authorization": f"Bearer {token}"}
            right = await _ask(driver, route, case, headers=bearer)
            if case.place == OPERATOR_SIGN_INS and right.status == 200:
                driver.canaries.learn("operator_token", right.body["token"])
            if case.place == SIGN_INS:
                driver.learn_token(right.body["jwtToken"])
            if case.late and right.status == 200:
                await driver.sign_in()
                operator = await _operator_token(driver)
        for query in (f"jwtToken={driver.tokens['demo']}", f"jwtToken={operator}x"):
            await _ask(driver, route, Case(case.place), f"{query}&x={driver.canaries['query']}")
    scraper = {"authorization": f"Bearer {driver.canaries['metrics_token']}"}
    metrics = await _ask(driver, "GET /metrics", CASES["GET /metrics"], headers=scraper)
    assert metrics.status == 200
    cut = f'{{"logInfo": {{"x": "{driver.canaries["text"]}"'.encode()
    path = f"/messageLog?jwtToken={driver.tokens['demo']}"
    driver.locations.answer(ANSWERS, await driver.here.ask("POST", path, data=cut))


async def _ask(
    driver: Driver, route: str, case: Case, query: str = "", headers: dict[str, str] | None = None
) -> Reply:
    """Send a request with the case's form, or with one that no route accepts."""
    method, _, path = route.partition(" ")
    wrong = {"phoneNumber": [driver.canaries["form_field"]], "contactId": [driver.canaries["text"]]}
    form = None if method == "GET" else wrong if case.form is None else _fill(case.form, driver)
    query = "&".join(filter(None, (query, _fill(case.query, driver).replace("+", "%2B"))))
    reply = await driver.here.ask(method, f"{path}?{query}", json=form, headers=headers)
    driver.locations.answer(case.place, reply)
    return reply


def _fill(form: Any, driver: Driver) -> Any:
    """Return a form with canaries in place of their names in braces."""
    if isinstance(form, dict):
        return {name: _fill(value, driver) for name, value in form.items()}
    if not isinstance(form, str) or "{" not in form:
        return form
    for name in (*driver.canaries.known, "query"):
        form = form.replace(f"{{{name}}}", driver.canaries[name])
    for name, value in driver.values.items():
        form = form.replace(f"{{{name}}}", value)
    return form.replace("{state}", "none")
