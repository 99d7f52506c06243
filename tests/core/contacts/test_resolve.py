"""The contacts that numbers belonged to a moment ago."""

from __future__ import annotations

from collections import Counter
from typing import cast

from messagelog.connectors import Connector, Contact, Credentials, CrmHttp, Session
from messagelog.core.contacts.resolve import RecentContacts


class Counting(Connector):
    """Counts how often each number is asked for; no contact has a number that ends in 0."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def find_contact(self, session: Session, phone_number: str) -> list[Contact]:
        self.asked[phone_number] += 1
        return [] if phone_number.endswith("0") else [Contact(id=phone_number, name=session.tenant)]


def session_of(tenant: str) -> Session:
    return Session(cast("CrmHttp", None), Credentials(api_key="key"), tenant=tenant)


async def test_a_number_is_asked_for_once_a_minute_also_when_no_contact_has_it() -> None:
    now, crm = [100.0], Counting()
    recent = RecentContacts(clock=lambda: now[0])
    for seconds in (0.0, 59.9, 0.1, 30.0, 30.0):
        now[0] += seconds
        assert [found.id for found in await recent.find(crm, session_of("acme"), "+1")] == ["+1"]
        assert await recent.find(crm, session_of("acme"), "+10") == []
    assert crm.asked == {"+1": 3, "+10": 3}


async def test_each_tenant_has_answers_of_its_own() -> None:
    crm, recent = Counting(), RecentContacts()
    for tenant in ("acme", "otto", "acme"):
        assert [found.name for found in await recent.find(crm, session_of(tenant), "+1")] == [tenant]
    assert crm.asked == {"+1": 2}


async def test_a_flood_of_numbers_does_not_push_out_one_that_is_used() -> None:
    crm, recent = Counting(), RecentContacts(clock=lambda: 0.0)
    for number in range(25_000):
        await recent.find(crm, session_of("acme"), f"+49{number}")
        if number % 1_000 == 0:
            await recent.find(crm, session_of("acme"), "+1")
    assert crm.asked["+1"] == 1
    await recent.find(crm, session_of("acme"), "+490")
    assert crm.asked["+490"] == 2, "what was used least recently was forgotten"
