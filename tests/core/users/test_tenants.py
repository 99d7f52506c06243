"""Which tenant a user belongs to: what the CRM says, and which host says it."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messagelog.connectors import Credentials, Rejected, UserInfo
from messagelog.core.operators.accounts import Operator, Role, RoleMissing, local_operator
from messagelog.core.users.tenants import HostTaken, Tenants, TenantUnknown, host_that_answers
from messagelog.messages import BadRequest
from messagelog.storage import TenantPlace, UserRow, transactions
from messagelog.storage.records.users import TenantMoved
from storage.journal import run_sql
from support.live_server import SQLITE_ONLY
from support.memory_crm import Crm, Plain
from support.requests import body, message, to_log_request
from support.runtime_fixture import RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from messagelog.connectors import Connector, Session
    from messagelog.core import User
    from messagelog.storage.transactions import Transaction

BY = local_operator("test")


class Hosted(Plain):
    """A CRM that everybody hosts; what the CRM at a host says of a key is all that it knows."""

    name = "hosted"

    def base_url_for(self, hostname: str) -> str:
        if hostname.startswith("bad"):
            raise Rejected("no host of this CRM")
        if hostname.startswith("broken"):
            raise KeyError(hostname)
        if hostname.startswith("none"):
            return "/api"
        return f"https://{hostname.removeprefix('www.') or 'crm.test'}/api"


class Checked(Hosted):
    """The same, where its maker runs all hosts."""

    name = "checked"
    checks_host = True


@asynccontextmanager
async def hosted(database_url: str, crm: Crm | None = None) -> AsyncIterator[RuntimeFixture]:
    crm = crm or Crm()
    more: dict[str, Connector] = {"memory": Plain(crm), "checked": Checked(crm)}
    async with runtime_fixture(database_url, Hosted, crm=crm, more=more) as here:
        yield here


async def sign_in(here: RuntimeFixture, user: str, hostname: str, platform: str = "hosted") -> User:
    connector = here.runtime.connector(platform)
    return await here.context.users.sign_in(connector, Credentials(api_key=user), hostname)


async def move(here: RuntimeFixture, tenant: str, hostname: str, platform: str = "hosted") -> Any:
    return await Tenants(here.store).move(BY, here.runtime.connector(platform), tenant, hostname)


def tenants_of(url: str) -> set[tuple[Any, ...]]:
    return set(run_sql(url, 'SELECT "tenant", "crmTenant", "platform", "host" FROM "tenants"'))


def before_hosts(url: str, *hostnames: str, tenant: str = "acme", platform: str = "hosted") -> None:
    """A tenant as it was before hosts were recorded."""
    for hostname in hostnames:
        run_sql(
            url,
            f"""INSERT INTO "tenants" ("crmTenant", "platform", "host", "tenant", "createdAt")
                VALUES ('{tenant}', '{platform}', '{hostname}', '{tenant}', 1)""",  # noqa: S608 - our own texts
        )


# ----------------------------------------------------------------------------------------------------------- names


async def test_a_new_tenant_has_its_host_in_its_name(database_url: str) -> None:
    async with hosted(database_url) as here:
        assert (await sign_in(here, "acme/ada", "crm.test")).tenant == "acme@crm.test"
        assert (await sign_in(here, "acme/ada", "other.test")).tenant == "acme@other.test"
        assert (await sign_in(here, "acme/ben", "www.crm.test")).tenant == "acme@crm.test", (
            "the host that is asked"
        )
        assert (await sign_in(here, "otto/ada", "crm.test")).tenant == "otto@crm.test"
    assert tenants_of(database_url) == {
        ("acme@crm.test", "acme", "hosted", "https://crm.test"),
        ("acme@other.test", "acme", "hosted", "https://other.test"),
        ("otto@crm.test", "otto", "hosted", "https://crm.test"),
    }


async def test_where_the_connector_answers_for_its_hosts_they_make_no_difference(database_url: str) -> None:
    async with hosted(database_url) as here:
        for hostname in ("", "crm.test", "anything.test"):
            assert (await sign_in(here, "acme/ada", hostname, "memory")).tenant == "acme"
            assert (await sign_in(here, "acme/ada", hostname, "checked")).tenant == "acme"
    assert tenants_of(database_url) == {("acme", "acme", "memory", ""), ("acme", "acme", "checked", "")}


def test_a_host_that_is_not_named_is_none() -> None:
    hosted_crm = Hosted(Crm())
    with pytest.raises(Rejected, match="expected an http"):
        host_that_answers(hosted_crm, "none.test")
    with pytest.raises(Rejected, match="no host of this CRM"):
        host_that_answers(hosted_crm, "bad.test")
    nowhere = Plain(Crm())
    nowhere.base_url = ""
    with pytest.raises(Rejected, match="checks_host"):
        host_that_answers(nowhere, "crm.test")


async def test_a_name_of_the_crms_that_looks_like_one_of_ours_is_another(database_url: str) -> None:
    async with hosted(database_url) as here:
        first = await sign_in(here, "acme/ada", "crm.test")
        alike = await sign_in(here, "acme@crm.test/ada", "evil.test")
        assert alike.tenant == "acme@crm.test@evil.test"
        await move(here, first.tenant, "new.test")
        again = await sign_in(here, "acme/ada", "crm.test")
        assert again.tenant.startswith("acme@crm.test~"), "users at the old host are others than before"
        assert (await sign_in(here, "acme/ada", "crm.test")).tenant == again.tenant
        assert (await sign_in(here, "acme/ada", "new.test")).tenant == first.tenant


NAMES = ("acme", "acme@b.test", "acme@b.test~1", "a")
HOSTS = ("a.test", "b.test", "c.test")
OPERATIONS = st.lists(
    st.tuples(st.just("sign in"), st.sampled_from(NAMES), st.sampled_from(HOSTS))
    | st.tuples(st.just("move"), st.integers(0, 9), st.sampled_from(HOSTS)),
    max_size=20,
)


@SQLITE_ONLY
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_two_users_share_a_tenant_only_where_name_and_host_are_one(
    database_url: str, operations: list[tuple[str, Any, str]]
) -> None:
    """Whatever CRMs call their tenants and wherever they move: beside a model that knows places only."""

    async def played() -> None:
        async with hosted(database_url) as here:
            run_sql(database_url, 'DELETE FROM "tenants"')
            run_sql(database_url, 'DELETE FROM "users"')
            tenants = Tenants(here.store, random_text=map(str, itertools.count(1)).__next__)
            connector = here.runtime.connector("hosted")
            at: dict[tuple[str, str], int] = {}
            called: dict[int, str] = {}
            for what, which, host in operations:
                if what == "sign in":
                    owner = at.setdefault((which, host), len(called))
                    tenant = await tenants.tenant_of(
                        connector, TenantPlace(which, "hosted", f"https://{host}")
                    )
                    assert called.setdefault(owner, tenant) == tenant
                elif called:
                    owner = which % len(called)
                    ((name, before),) = [each for each, whose in at.items() if whose == owner]
                    try:
                        await tenants.move(BY, connector, called[owner], host)
                    except HostTaken:
                        assert at[name, host] != owner
                    else:
                        assert at.get((name, host), owner) == owner
                        del at[name, before]
                        at[name, host] = owner
            assert len(set(called.values())) == len(called), "each has a name of its own"

    asyncio.run(played())


# ------------------------------------------------------------------------------------------------ earlier tenants


async def test_a_tenant_of_before_goes_on_at_the_hosts_of_its_users(database_url: str) -> None:
    before_hosts(database_url, "crm.test", "www.crm.test", "second.test")
    async with hosted(database_url) as here:
        assert (await sign_in(here, "acme/ada", "www.crm.test")).tenant == "acme", "another name of that host"
        assert (await sign_in(here, "acme/ada", "crm.test")).tenant == "acme"
        assert (await sign_in(here, "acme/ada", "third.test")).tenant == "acme@third.test"
        assert (await sign_in(here, "otto/ada", "crm.test")).tenant == "otto@crm.test"
        assert [host for tenant, _, _, host in sorted(tenants_of(database_url)) if tenant == "acme"] == [
            "https://crm.test",
            "second.test",
        ], "the host is known now that two names stood for"
        assert (await sign_in(here, "acme/ada", "second.test")).tenant == "acme"


async def test_a_tenant_of_before_goes_on_where_the_connector_answers_for_its_hosts(
    database_url: str,
) -> None:
    before_hosts(database_url, "crm.test", platform="checked")
    before_hosts(database_url, "?", tenant="otto", platform="checked")
    async with hosted(database_url) as here:
        assert (await sign_in(here, "acme/ada", "other.test", "checked")).tenant == "acme"
        assert (await sign_in(here, "otto/ada", "other.test", "checked")).tenant == "otto"
    assert tenants_of(database_url) == {(name, name, "checked", "") for name in ("acme", "otto")}


@SQLITE_ONLY
async def test_a_host_of_before_that_the_connector_knows_no_longer_keeps_nobody_out(
    database_url: str,
) -> None:
    before_hosts(database_url, "bad.test", "broken.test", "none.test", "?")
    async with hosted(database_url) as here:
        with structlog.testing.capture_logs() as events:
            assert (await sign_in(here, "acme/ada", "crm.test")).tenant == "acme@crm.test"
        assert events == []


@SQLITE_ONLY
async def test_users_who_said_no_host_were_at_the_connectors_own(database_url: str) -> None:
    before_hosts(database_url, "")
    async with hosted(database_url) as here:
        assert (await sign_in(here, "acme/ada", "crm.test")).tenant == "acme"
        assert (await sign_in(here, "acme/ada", "")).tenant == "acme"
        assert (await sign_in(here, "acme/ada", "evil.test")).tenant == "acme@evil.test"


# ------------------------------------------------------------------------------------------------------- numbers


class Saying(Plain):
    """A connector with any answer to a sign-in that a test wants."""

    info: Any = None

    async def get_user_info(self, session: Session) -> UserInfo:
        return self.info  # type: ignore[no-any-return] # connectors may get it wrong


@asynccontextmanager
async def saying(database_url: str, info: Any) -> AsyncIterator[RuntimeFixture]:
    async with runtime_fixture(database_url, Saying) as here:
        connector = here.runtime.connector("memory")
        assert isinstance(connector, Saying)
        connector.info = info
        yield here


async def test_ids_may_be_numbers(database_url: str) -> None:
    async with saying(database_url, UserInfo(id=7, name="Ada", tenant=2**70)) as here:
        user = await here.user()
        assert (user.tenant, user.id) == (str(2**70), "7")
        found = await here.context.users.find(str(2**70), "memory", "7")
        assert found is not None
        info = UserInfo(id=7, name="Ada L.", tenant=2**70)
        assert await here.context.users.refresh_profile(here.runtime.connector("memory"), user, info)


GOOD: dict[str, Any] = {"id": "u-1", "name": "Ada", "tenant": "acme"}


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tenant": True}, "UserInfo.tenant: expected a text or a whole number, not bool"),
        ({"id": False}, "UserInfo.id: expected a text or a whole number, not bool"),
        ({"id": 7.0}, "UserInfo.id: expected a text or a whole number, not float"),
        ({"tenant": float("nan")}, "UserInfo.tenant: expected a text or a whole number, not float"),
        ({"tenant": None}, "UserInfo.tenant: expected a text or a whole number, not NoneType"),
        ({"id": ["u-1"]}, "UserInfo.id: expected a text or a whole number, not list"),
        ({"tenant": ""}, "UserInfo.tenant: expected 1 to 255 characters"),
        ({"id": "u" * 256}, "UserInfo.id: expected 1 to 255 characters"),
        ({"tenant": 10**5000}, "UserInfo.tenant: expected 1 to 255 characters"),
        ({"tenant": "a\0b"}, "UserInfo.tenant: expected no control characters"),
        ({"tenant": "a\x1b[2J"}, "UserInfo.tenant: expected no control characters"),
        ({"id": "\ud800"}, "UserInfo.id: expected no control characters"),
        ({"name": None}, "UserInfo.name: expected a text, not NoneType"),
        (None, "expected a UserInfo of get_user_info, not dict"),
    ],
)
async def test_who_says_nothing_that_can_be_used_is_not_signed_in(
    database_url: str, changes: dict[str, Any] | None, words: str
) -> None:
    info = GOOD if changes is None else UserInfo(**{**GOOD, **changes})
    async with saying(database_url, info) as here:
        with structlog.testing.capture_logs() as events, pytest.raises(Rejected) as refused:
            await here.user()
        assert refused.value.detail == words
        assert events == [
            {"event": "connector_unusable", "log_level": "error", "connector": "memory", "detail": words}
        ]
    assert run_sql(database_url, 'SELECT * FROM "users"') == []
    assert run_sql(database_url, 'SELECT * FROM "tenants"') == []


# --------------------------------------------------------------------------------------------------------- moves


async def test_a_crm_that_has_moved_is_the_same_tenant(database_url: str) -> None:
    async with hosted(database_url) as here:
        ada, ben = [await sign_in(here, f"acme/{name}", "crm.test") for name in ("ada", "ben")]
        other = await sign_in(here, "otto/ada", "crm.test")
        await here.runtime.submit(ada, to_log_request(body(message(1))))
        moved = await move(here, ada.tenant, "NEW.test.")
        assert (moved.before, moved.host, moved.users) == (("https://crm.test",), "https://new.test", 2)
        again = await sign_in(here, "acme/ada", "new.test")
        assert (again.tenant, again.session_id) == (ada.tenant, ada.session_id), (
            "the user's tokens are still good"
        )
        assert (await here.runtime.submit(again, to_log_request(body(message(1), message(2))))).log_ids == [
            "2"
        ]
        assert len(here.crm.activities) == 1, "nothing is logged again"
        for user, hostname in ((ada, "new.test"), (ben, "new.test"), (other, "crm.test")):
            found = await here.context.users.find(user.tenant, "hosted", user.id)
            assert found is not None
            assert found.hostname == hostname
        assert (await sign_in(here, "acme/ada", "crm.test")).tenant != ada.tenant
        (entry,) = await here.store.read(lambda: transactions.read_audit(0, 10))
        assert (entry.operator, entry.act, entry.role) == (BY.name, "move_tenant", "administer")
        assert (entry.tenant, entry.platform, entry.subject) == (ada.tenant, "hosted", "https://new.test")


async def test_calls_go_to_the_new_host_with_the_credentials_that_users_have(database_url: str) -> None:
    async with hosted(database_url) as here:
        ada = await sign_in(here, "acme/ada", "crm.test")
        await move(here, ada.tenant, "new.test")
        here.context.users.invalidate(ada.tenant, "hosted", ada.id)  # as after two seconds
        session = await here.context.users.session(here.runtime.connector("hosted"), ada.tenant, ada.id)
        assert (session.hostname, session.http._base_url) == ("new.test", "https://new.test/api")
        assert session.credentials.api_key == "acme/ada"
        assert (session.tenant, session.crm_tenant) == ("acme@crm.test", "acme")


async def test_a_tenant_of_before_with_several_hosts_is_left_with_one(database_url: str) -> None:
    before_hosts(database_url, "crm.test", "evil.test", "?")
    async with hosted(database_url) as here:
        strangers = await sign_in(here, "acme/eve", "evil.test")
        assert strangers.tenant == "acme", "as it was before"
        moved = await move(here, "acme", "crm.test")
        assert set(moved.before) == {"crm.test", "https://evil.test", "?"}
        assert (await sign_in(here, "acme/ada", "crm.test")).tenant == "acme"
        assert (await sign_in(here, "acme/eve", "evil.test")).tenant == "acme@evil.test"
    assert tenants_of(database_url) == {
        ("acme", "acme", "hosted", "https://crm.test"),
        ("acme@evil.test", "acme", "hosted", "https://evil.test"),
    }


async def test_a_host_where_another_tenant_is_is_refused(database_url: str) -> None:
    before_hosts(database_url, "old.test")
    async with hosted(database_url) as here:
        first, second = [await sign_in(here, "acme/ada", host) for host in ("a.test", "b.test")]
        for host, whose in (("b.test", second.tenant), ("old.test", "acme")):
            before = tenants_of(database_url)
            with pytest.raises(HostTaken) as taken:
                await move(here, first.tenant, host)
            assert str(taken.value) == whose
            assert tenants_of(database_url) == before
        found = await here.context.users.find(first.tenant, "hosted", "ada")
        assert found is not None
        assert found.hostname == "a.test"
        assert (await move(here, first.tenant, "a.test")).before == ("https://a.test",), "it is there already"
        assert await here.store.read(lambda: transactions.read_audit(0, 10)) != []


@SQLITE_ONLY
async def test_what_is_no_move_changes_nothing(database_url: str) -> None:
    async with hosted(database_url) as here:
        ada = await sign_in(here, "acme/ada", "crm.test")
        before = tenants_of(database_url)
        with pytest.raises(TenantUnknown):
            await move(here, "nobody", "new.test")
        with pytest.raises(TenantUnknown):
            await move(here, ada.tenant, "new.test", "checked")
        for hostname in ("", "https://new.test", "new.test:8443", "a b"):
            with pytest.raises(BadRequest, match="hostname: expected the name of a host"):
                await move(here, ada.tenant, hostname)
        with pytest.raises(BadRequest, match="the connector hosted does not take it"):
            await move(here, ada.tenant, "bad.test")
        for roles in ({Role.TEXT, Role.ACT}, set()):
            operator = Operator("eve", frozenset(roles))
            with pytest.raises(RoleMissing):
                await Tenants(here.store).move(
                    operator, here.runtime.connector("hosted"), ada.tenant, "new.test"
                )
        assert tenants_of(database_url) == before
        assert await here.store.read(lambda: transactions.read_audit(0, 10)) == []


async def test_a_connector_that_begins_to_answer_for_its_hosts(database_url: str) -> None:
    """Its tenants are moved to no host at all, one by one: their names alone tell them apart from then on."""
    async with hosted(database_url) as here:
        ada = await sign_in(here, "acme/ada", "crm.test")
        run_sql(database_url, """UPDATE "tenants" SET "platform" = 'checked'""")
        run_sql(database_url, """UPDATE "users" SET "platform" = 'checked'""")
        assert (await move(here, ada.tenant, "new.test", "checked")).host == ""
        assert (await sign_in(here, "acme/ada", "any.test", "checked")).tenant == ada.tenant


# --------------------------------------------------------------------------------------------------------- races


async def test_a_sign_in_that_a_move_overtakes_writes_nothing_into_the_tenant(database_url: str) -> None:
    async with hosted(database_url) as here:
        ada = await sign_in(here, "acme/ada", "crm.test")
        stale = UserRow(ada.tenant, "hosted", "ada", "Ada", "crm.test", None, None, b"x", "session")
        await move(here, ada.tenant, "new.test")
        place = TenantPlace("acme", "hosted", "https://crm.test")
        with pytest.raises(TenantMoved):
            await here.store.write(partial(transactions.sign_in, stale, place))
        row = await here.store.read(lambda: transactions.find_user(ada.tenant, "hosted", "ada"))
        assert row is not None
        assert (row.hostname, row.credentials != b"x") == ("new.test", True)


class Overtaken(Tenants):
    """A move comes in between, just when it is known whose a sign-in is."""

    moving: Callable[[], Any] | None = None

    async def tenant_of(self, connector: Any, place: TenantPlace) -> str:
        tenant = await super().tenant_of(connector, place)
        if self.moving is not None:
            moving, self.moving = self.moving, None
            await moving()
        return tenant


async def test_who_signs_in_at_the_old_host_while_the_crm_moves_is_another_tenants(database_url: str) -> None:
    async with hosted(database_url) as here:
        ada = await sign_in(here, "acme/ada", "crm.test")
        overtaken = Overtaken(here.store)
        overtaken.moving = lambda: move(here, ada.tenant, "new.test")
        here.context.users._tenants = overtaken
        late = await sign_in(here, "acme/eve", "crm.test")
        assert late.tenant != ada.tenant
        assert late.hostname == "crm.test"
    hosts = run_sql(database_url, f"""SELECT "hostname" FROM "users" WHERE "tenant" = '{ada.tenant}'""")  # noqa: S608 - our own name
    assert hosts == [("new.test",)]


async def test_a_name_of_before_is_good_no_longer_once_the_tenant_has_moved(database_url: str) -> None:
    """Nor is it where the move comes in between its being read and its being put in a host's place."""
    before_hosts(database_url, "crm.test")
    async with hosted(database_url) as here:
        place = TenantPlace("acme", "hosted", "https://crm.test")
        names = [
            hostname for hostname, _ in await here.store.read(lambda: transactions.find_hostnames(place))
        ]
        await move(here, "acme", "new.test")
        assert await here.store.write(lambda: transactions.join_tenant(place, names)) is None
        assert (await sign_in(here, "acme/eve", "crm.test")).tenant == "acme@crm.test"
        assert (await sign_in(here, "acme/ada", "new.test")).tenant == "acme"


async def test_many_sign_ins_and_moves_at_once_leave_nobody_at_the_old_host(database_url: str) -> None:
    async with hosted(database_url) as here:
        tenant = (await sign_in(here, "acme/user0", "host0.test")).tenant
        for number in range(8):
            users = (sign_in(here, f"acme/user{each}", f"host{number}.test") for each in range(6))
            done = await asyncio.gather(*users, move(here, tenant, f"host{number + 1}.test"))
            assert done[-1].host == f"https://host{number + 1}.test"
            at = run_sql(
                database_url,
                f"""SELECT DISTINCT "hostname" FROM "users" WHERE "tenant" = '{tenant}'""",  # noqa: S608 - our own name
            )
            assert at == [(f"host{number + 1}.test",)]


async def test_first_sign_ins_at_once_after_the_upgrade_go_on(database_url: str) -> None:
    before_hosts(database_url, "crm.test", "www.crm.test")
    async with hosted(database_url) as here:
        names = itertools.cycle(("crm.test", "www.crm.test"))
        users = (sign_in(here, f"acme/user{each}", next(names)) for each in range(12))
        assert {user.tenant for user in await asyncio.gather(*users)} == {"acme"}
    assert tenants_of(database_url) == {("acme", "acme", "hosted", "https://crm.test")}


async def test_first_sign_ins_at_once_make_one_tenant(database_url: str) -> None:
    async with hosted(database_url) as here:
        others = (sign_in(here, f"acme/user{each}", "crm.test") for each in range(12))
        assert {user.tenant for user in await asyncio.gather(*others)} == {"acme@crm.test"}
    assert len(tenants_of(database_url)) == 1


# ---------------------------------------------------------------------------------------------------------- lists


async def test_tenants_are_listed_page_by_page(database_url: str) -> None:
    before_hosts(database_url, "a.test", "b.test")
    async with hosted(database_url) as here:
        await sign_in(here, "otto/ada", "crm.test")
        await sign_in(here, "acme/ada", "", "memory")
        tenants = Tenants(here.store)
        whole = await tenants.page()
        assert [(each.tenant, each.platform, each.host, each.crm_tenant) for each in whole.tenants] == [
            ("acme", "hosted", "a.test", "acme"),
            ("acme", "hosted", "b.test", "acme"),
            ("acme", "memory", "", "acme"),
            ("otto@crm.test", "hosted", "https://crm.test", "otto"),
        ]
        assert whole.next is None
        found, after = [], None
        while (page := await tenants.page(after=after, limit=1)).tenants:
            found += page.tenants
            after = page.next
        assert found == whole.tenants
        assert (await tenants.page("acme", "memory")).tenants == [whole.tenants[2]]
        for after in (
            "",
            "x",
            "[]",
            "\ud800",
            '{"tenant":"\\u0000","platform":"","host":"","crmTenant":"","createdAt":1}',
        ):
            with pytest.raises(BadRequest, match="after: "):
                await tenants.page(after=after)


async def test_an_erased_tenant_has_no_host(database_url: str) -> None:
    async with hosted(database_url) as here:
        ada = await sign_in(here, "acme/ada", "crm.test")
        other = await sign_in(here, "acme/ada", "other.test")

        def erase() -> Transaction[Any]:
            return transactions.erase_tenant(ada.tenant, None, None)

        await here.store.write(erase)
        assert {tenant for tenant, *_ in tenants_of(database_url)} == {other.tenant}
        assert (await sign_in(here, "acme/ada", "crm.test")).tenant == ada.tenant
