"""What a request means for the journal: whose log it is about, and what may have to be written."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messagelog.core.intake.plan import day_in, plan_request
from messagelog.messages import MessageKind
from messagelog.storage.records.journal import LogKind
from support.requests import MAYA, OMAR, START, body, message, thread, to_log_request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from messagelog.core.intake.plan import RequestPlan

ALL_KINDS = frozenset(MessageKind)
ARRIVED = START + 9_000_000
BOTH = (MAYA, OMAR)
GONE: list[dict[str, Any]] = [{"availability": "Deleted"}, {"availability": "Purged"}]
STUB = {"id": "9", "creationTime": START}


def plan(
    made: dict[str, Any], *, kinds: Iterable[MessageKind] = ALL_KINDS, contact: str = "c-1"
) -> RequestPlan:
    return plan_request(
        to_log_request(made),
        tenant="acme",
        platform="memory",
        contact_id=contact,
        kinds=frozenset(kinds),
        day_of=day_in(dt.UTC),
        arrived_at=ARRIVED,
    )


def ids(made: RequestPlan) -> list[str]:
    return [item.id for item in made.items]


def without_log_id(made: dict[str, Any], **info: Any) -> dict[str, Any]:
    """A request that does not name its log."""
    del made["logInfo"]["conversationLogId"]
    made["logInfo"].update(info)
    return made


# --------------------------------------------------------------------------------------- whose log


def test_a_conversation_of_a_day_has_a_log() -> None:
    made = plan(body(message(1), message(2)))
    assert made.key == ("acme", "memory", "conv/7/13/2026", False, "")
    assert made.key.kind is LogKind.CONVERSATION
    assert (made.conversation_id, made.contact_id, ids(made)) == ("conv", "c-1", ["1", "2"])
    assert made.refused == ()


def test_a_group_has_a_log_for_each_contact() -> None:
    request = body(message(1), correspondents=BOTH)
    first, second = plan(request), plan(request, contact="c-2")
    assert first.key.kind is LogKind.GROUP
    assert first.key == ("acme", "memory", "conv/7/13/2026", False, "c-1")
    assert first.key.conversation_log_id == "conv/7/13/2026-c-1"
    assert first.conversation_id == "conv-c-1"
    assert second.key == first.key._replace(group_contact_id="c-2")
    assert ids(first) == ids(second) == ["1"], "messages keep their own ids"


@pytest.mark.parametrize("correspondents", [(MAYA,), BOTH])
def test_a_shared_thread_is_one_log_whatever_the_number_of_its_correspondents(
    correspondents: tuple[dict[str, Any], ...],
) -> None:
    request = thread("Hi.", "Hello.")
    request["logInfo"]["correspondents"] = list(correspondents)
    made = plan(request)
    assert made.key == ("acme", "memory", "thread-1", True, "")
    (item,) = made.items
    assert (item.id, item.sent_at, item.message) == ("thread-1", ARRIVED, None)
    assert item.thread is not None
    assert item.version == item.thread.version


def test_a_shared_thread_that_does_not_name_its_log_is_that_of_its_conversation() -> None:
    assert plan(without_log_id(thread("Hi."))).key.client_log_id == "thread-1"


def test_a_contact_is_no_part_of_the_key_but_of_a_groups() -> None:
    assert plan(body(message(1)), contact="c-1").key == plan(body(message(1)), contact="c-2").key


# ---------------------------------------------------------------------------------------- derived ids


@pytest.mark.parametrize(
    ("info", "log_id"),
    [
        ({}, "conv/2026-07-14"),
        ({"date": "7/13/2026"}, "conv/7/13/2026"),
        ({"date": "Montag, 13. Juli"}, "conv/Montag, 13. Juli"),  # the browser's words, as they are
        ({"date": ""}, "conv/2026-07-14"),
    ],
)
def test_a_log_without_a_name_is_that_of_the_conversation_and_the_day(
    info: dict[str, Any], log_id: str
) -> None:
    assert plan(without_log_id(body(message(1)), **info)).key.client_log_id == log_id


def test_the_day_is_that_of_the_newest_message() -> None:
    day = 86_400_000
    made = plan(without_log_id(body(message(1, at=START), message(2, at=START + 3 * day))))
    assert made.key.client_log_id == "conv/2026-07-17"


def test_without_a_time_the_day_is_when_it_arrived() -> None:
    undated = {key: value for key, value in message(1).items() if not key.endswith("Time")}
    made = plan(without_log_id(body(undated)))
    assert made.key.client_log_id == f"conv/{day_in(dt.UTC)(ARRIVED)}"
    assert made.items[0].sent_at == ARRIVED


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", "2026-07-14"),
        ("America/Los_Angeles", "2026-07-13"),
        ("Pacific/Kiritimati", "2026-07-14"),
    ],
)
def test_a_day_is_that_of_a_zone(zone: str, day: str) -> None:
    assert START == 1_783_998_000_000  # 2026-07-14 03:00 UTC
    assert day_in(ZoneInfo(zone))(START) == day


# ------------------------------------------------------------------------------------------- selected


def select(request: dict[str, Any], *chosen: str) -> dict[str, Any]:
    return {**request, "selectedMessageIds": list(chosen)}


def test_selected_messages_have_a_log_of_their_own() -> None:
    made = plan(select(body(message(1), message(2), message(3)), "3", "1"))
    assert ids(made) == ["1", "3"]
    assert re.fullmatch(r"conv/selected/[0-9a-f]{24}", made.key.client_log_id)


@pytest.mark.parametrize("day", ["7/13/2026", "7/14/2026"])
def test_the_log_of_selected_messages_is_the_same_whatever_day_the_request_names(day: str) -> None:
    plain = plan(select(body(message(1), message(2)), "1", "2"))
    assert plan(select(body(message(2), message(1), day=day), "2", "1")).key == plain.key


def test_the_log_of_selected_messages_does_not_go_by_their_times() -> None:
    """A record that comes with another time, as one without `creationTime`, is the same message."""
    first = select(body(message(1, at=START), message(2, at=START + 1)), "1", "2")
    second = select(body(message(2, at=START), message(1, at=START + 1)), "1", "2")
    assert plan(first).key == plan(second).key


def test_what_is_selected_but_not_sent_changes_nothing() -> None:
    request = body(message(1), message(2))
    assert plan(select(request, "1", "77")) == plan(select(request, "1"))


def test_other_messages_are_another_log() -> None:
    request = body(message(1), message(2))
    keys = {plan(select(request, *chosen)).key for chosen in (("1",), ("2",), ("1", "2"))}
    assert len(keys) == 3


def test_the_selection_of_the_logs_own_information_counts_too() -> None:
    request = body(message(1), message(2), selectedMessageIds=["2"])
    assert plan(request) == plan(select(body(message(1), message(2)), "2"))


# ---------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("kinds", "items", "refused"),
    [
        ({MessageKind.SMS}, ["1"], ["2", "3"]),
        ({MessageKind.VOICEMAIL, MessageKind.FAX}, ["2", "3"], ["1"]),
        ({MessageKind.SMS, MessageKind.VOICEMAIL, MessageKind.FAX}, ["1", "2", "3"], []),
        ((), [], ["1", "2", "3"]),
    ],
)
def test_messages_of_kinds_that_are_not_logged_are_refused(
    kinds: Iterable[MessageKind], items: list[str], refused: list[str]
) -> None:
    request = body(message(1), message(2, type="VoiceMail"), message(3, type="Fax"))
    made = plan(request, kinds=kinds)
    assert ids(made) == items
    assert [each.id for each in made.refused] == refused


def test_a_kind_that_nobody_knows_is_refused_where_only_the_others_are_logged() -> None:
    made = plan(body(message(1, type="Pager")), kinds=ALL_KINDS - {MessageKind.OTHER})
    assert (ids(made), [each.id for each in made.refused]) == ([], ["1"])


def test_a_thread_is_refused_as_a_whole_where_threads_are_not_logged() -> None:
    made = plan(thread("Hi.", "Hello."), kinds={MessageKind.SMS})
    assert made.items == ()
    assert [each.id for each in made.refused] == ["e0", "e1"]


# ---------------------------------------------------------------------------------- gone, and the order


@pytest.mark.parametrize("gone", [*GONE, {"availability": "purged"}])
def test_what_was_deleted_or_purged_is_neither_logged_nor_refused(gone: dict[str, Any]) -> None:
    request = body(message(1), message(2, **gone), message(3))
    for kinds in (ALL_KINDS, ()):
        made = plan(request, kinds=kinds)
        found = ids(made) + [each.id for each in made.refused]
        assert found == ["1", "3"]


def test_an_id_without_anything_is_neither() -> None:
    assert ids(plan(body(message(1), STUB))) == ["1"]


def test_a_message_that_is_alive_is_logged() -> None:
    assert ids(plan(body(message(1, availability="Alive")))) == ["1"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ((("b", 2), ("a", 3), ("c", 1)), ["c", "b", "a"]),
        ((("10", 1), ("9", 1), ("100", 1)), ["9", "10", "100"]),
        ((("b", 1), ("a", 1)), ["a", "b"]),
    ],
)
def test_messages_are_in_the_order_in_which_they_were_sent(
    sent: tuple[tuple[str, int], ...], expected: list[str]
) -> None:
    made = plan(body(*(message(id_, at=START + at) for id_, at in sent)))
    assert ids(made) == expected
    times = [item.sent_at for item in made.items]
    assert times == sorted(times)


sent_drawn = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.integers(0, 3),
        st.sampled_from(["SMS", "VoiceMail", "Fax", "Pager"]),
        st.sampled_from([{}, *GONE]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda each: each[0],
).filter(lambda each: any(not more for *_, more in each))


@settings(max_examples=200)
@given(
    sent_drawn.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))),
    st.sets(st.integers(1, 40), max_size=3),
    st.sets(st.sampled_from(sorted(MessageKind))),
    st.sampled_from([(MAYA,), BOTH]),
    st.booleans(),
)
def test_the_same_request_in_any_order_is_the_same_plan(
    orders: tuple[list[tuple[int, int, str, dict[str, Any]]], ...],
    selected: set[int],
    kinds: set[MessageKind],
    correspondents: tuple[dict[str, Any], ...],
    named: bool,
) -> None:
    plans = []
    for order in orders:
        messages = (message(id_, at=START + at, type=type_, **gone) for id_, at, type_, gone in order)
        request = body(*messages, correspondents=correspondents)
        request["selectedMessageIds"] = [str(each) for each in selected]
        plans.append(plan(request if named else without_log_id(request), kinds=kinds))
    assert plans[0] == plans[1]
    found = ids(plans[0]) + [each.id for each in plans[0].refused]
    assert len(found) == len(set(found)), "each message is in one place"
    alive = {str(id_) for id_, _, _, gone in orders[0] if not gone}
    assert set(found) == (alive & {str(each) for each in selected} if selected else alive)
    assert all(item.message is not None and item.message.kind in kinds for item in plans[0].items)
