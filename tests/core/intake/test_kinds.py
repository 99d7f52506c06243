"""A conversation, a thread and a group are three logs, whatever their ids are, and a group is one for each contact."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messagelog.core import Times
from messagelog.storage import transactions
from support.memory_crm import Finding, lost
from support.requests import MAYA, OMAR, body, message, thread
from support.runtime_fixture import RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from messagelog.storage import LogKey

BOTH = (MAYA, OMAR)
AT = 1_783_998_000_000


def day(log: str, *messages: tuple[str, str], contact: str = "c-1") -> dict[str, Any]:
    """A conversation's messages, as pairs of id and text, under this id of its log."""
    made = body(*(message(id_, text, at=AT) for id_, text in messages), conversation=log, contact=contact)
    made["logInfo"]["conversationLogId"] = log
    return made


def group(log: str, *messages: tuple[str, str], contact: str = "c-1") -> dict[str, Any]:
    """The same of a group."""
    made = day(log, *messages, contact=contact)
    made["logInfo"]["correspondents"] = list(BOTH)
    return made


def texts(here: RuntimeFixture) -> dict[str, list[str]]:
    """The texts that stand in the CRM, by contact; each as often as it is there."""
    found: dict[str, list[str]] = {}
    for activity in here.crm.activities.values():
        found.setdefault(activity.contact_id, []).extend(re.findall(r"said \w", activity.body))
    return {contact: sorted(said) for contact, said in found.items()}


async def keys(here: RuntimeFixture) -> Counter[tuple[str, str]]:
    return Counter((log.key.kind, log.key.conversation_log_id) for log in await here.logs())


async def test_a_groups_conversation_and_one_whose_id_ends_like_it_do_not_meet(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        first = await here.send(group("777", ("900", "said a")))
        second = await here.send(day("777-c-1", ("900-c-1", "said b")))
        assert (first.log_ids, second.log_ids) == (["900-c-1"], ["900-c-1"])
        assert await keys(here) == {("group", "777-c-1"): 1, ("conversation", "777-c-1"): 1}
        assert len(here.crm.activities) == 2
        assert texts(here) == {"c-1": ["said a", "said b"]}
        for request in (group("777", ("900", "said a")), day("777-c-1", ("900-c-1", "said b"))):
            assert (await here.send(request)).log_ids == [], "each is logged already"
        assert len(here.crm.activities) == 2


async def test_a_thread_and_a_day_with_one_id_do_not_meet(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(thread("said a", id_="777"))
        await here.send(day("777", ("900", "said b")))
        await here.send(thread("said a", "said c", id_="777"))
        assert await keys(here) == {("thread", "777"): 1, ("conversation", "777"): 1}
        assert len(here.crm.activities) == 2
        assert texts(here) == {"c-1": ["said a", "said b", "said c"]}


async def test_a_thread_and_a_message_with_one_id_do_not_meet(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(day("a day", ("777", "said a")))
        await here.send(thread("said b", id_="777"))
        assert len(here.crm.activities) == 2
        assert set((await here.states()).values()) == {"logged"}
        assert len(await keys(here)) == 2


async def test_a_message_of_a_group_and_one_of_a_conversation_do_not_meet(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(day("a day", ("900-c-1", "said a")))
        answer = await here.send(group("another", ("900", "said b")))
        assert answer.log_ids == ["900-c-1"]
        assert texts(here) == {"c-1": ["said a", "said b"]}


async def test_of_one_kind_a_message_is_known_in_every_log(database_url: str) -> None:
    """As before: a browser with another language calls the day by another name."""
    async with runtime_fixture(database_url) as here:
        await here.send(day("777/7/13/2026", ("900", "said a")))
        assert (await here.send(day("777/13.7.2026", ("900", "said a")))).log_ids == []
        await here.send(group("777/7/13/2026", ("901", "said b")))
        assert (await here.send(group("777/13.7.2026", ("901", "said b")))).log_ids == []
        assert len(here.crm.activities) == 2


async def test_their_calls_have_keys_of_their_own(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        for request in (group("777", ("1", "a")), day("777-c-1", ("2", "b")), thread("c", id_="777-c-1")):
            await here.send(request)
        made = {activity.key for activity in here.crm.activities.values()}
        assert len(made) == 3


async def test_a_lost_answer_is_found_for_each_kind(database_url: str) -> None:
    async with runtime_fixture(
        database_url, Finding, settings=Times(answer=1.0, call=5.0, lease=60.0)
    ) as here:
        here.crm.after = lost
        requests = (
            group("777", ("900", "said a")),
            day("777-c-1", ("900-c-1", "said b")),
            thread("said c", id_="777-c-1"),
        )
        await asyncio.gather(*(here.send(request) for request in requests))
        here.crm.after = None
        for request in requests:
            await here.send(request)
        await here.runtime.idle()
        assert len(here.crm.activities) == 3
        assert {activity.body.count("said ") for activity in here.crm.activities.values()} == {1}


# ------------------------------------------------------------------------------- whatever the ids are

IDS = st.text("a-", min_size=1, max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> list[tuple[str, str, str, str]]:
    """Kind, id of the log, id of the message, contact."""
    kinds = st.sampled_from(("conversation", "group", "thread"))
    return draw(st.lists(st.tuples(kinds, IDS, IDS, IDS), min_size=2, max_size=8))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@given(sent=requests())
def test_only_what_is_the_same_meets(database_url: str, sent: list[tuple[str, str, str, str]]) -> None:
    """Ids and contacts of two characters, one of them the separator."""
    asyncio.run(_sent(database_url, sent))


async def _sent(database_url: str, sent: list[tuple[str, str, str, str]]) -> None:
    """Sends each as a tenant of its own of this example; counts what the CRM has."""
    _EXAMPLES.append(1)
    who = f"t{len(_EXAMPLES)}/ada"
    async with runtime_fixture(database_url) as here:
        expected: dict[object, str] = {}
        holder: dict[str, str] = {}
        twins: set[tuple[str, str, str]] = set()
        for kind, log, id_, contact in sent:
            # In a contact's log of one to one and in its group's, a message with one id is the same message.
            if (
                kind != "thread"
                and ("group" if kind == "conversation" else "conversation", id_, contact) in twins
            ):
                continue
            twins.add((kind, id_, contact))
            said = f"said {len(expected)}."
            if kind == "thread":
                key: object = (kind, log)
                await here.send(thread(said, id_=log, contact=contact), who)
            elif kind == "group":
                key = (kind, id_, contact)
                await here.send(group(log, (id_, said), contact=contact), who)
            else:
                key = (kind, id_)
                if holder.get(log, contact) == contact or key in expected:
                    await here.send(day(log, (id_, said), contact=contact), who)
                else:
                    continue  # it belongs to another contact, and the user is told
                if key not in expected:
                    holder.setdefault(log, contact)
            expected.setdefault(key, said)
        text = "\n".join(each.body for each in here.crm.activities.values())
        assert [text.count(said) for said in expected.values()] == [1] * len(expected)


_EXAMPLES: list[int] = []


async def test_rows_show_the_references_ids(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        await here.send(group("777", ("900", "said a")))
        shown = await here.store.read(lambda: transactions.show_logs("777-c-1"))
        of_message = await here.store.read(lambda: transactions.show_logs("900-c-1"))
        assert [_key(log.key) for log, _ in shown] == [_key(log.key) for log, _ in of_message]
        assert [log.conversation_id for log, _ in shown] == ["777-c-1"]
        assert await here.store.read(lambda: transactions.show_logs("900")) == []


def _key(key: LogKey) -> tuple[str, str, str]:
    return key.kind, key.client_log_id, key.group_contact_id
