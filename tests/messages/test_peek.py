"""A peek at a body never differs from reading all of it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.compose import facts_of
from messagelog.core.intake.plan import plan_request
from messagelog.messages import BadRequest, MessageKind, parse_log_request, peek

_ids = st.one_of(
    st.text(max_size=5), st.integers(), st.sampled_from(["1", "2", "x" * 256, "\u2028", "\ud800", "a b"])
)
_oddities = st.one_of(st.none(), st.just([]), st.just({}), st.text(max_size=3), st.integers(), st.booleans())


def body(ids: list[Any], **changes: Any) -> dict[str, Any]:
    info = {
        "conversationLogId": "conv/7/13/2026",
        "conversationId": "conv",
        "messages": [{"id": id_, "type": "SMS", "creationTime": 1_783_900_000_000} for id_ in ids],
        "correspondents": [{"phoneNumber": "+14155550142"}],
    }
    top = {key: changes.pop(key) for key in ("contactId",) if key in changes}
    return {"logInfo": {**info, **changes}, "contactId": "c-1", **top}


def agrees(sent: bytes) -> bool:
    """Return whether the peek found ids, which must be those of the whole request."""
    seen = peek(sent)
    if seen is None:
        return False
    request = parse_log_request(sent)
    plan = plan_request(
        request,
        tenant="acme",
        platform="crm",
        contact_id=request.contact_id,
        kinds=frozenset(MessageKind),
        day_of=str,
        arrived_at=0,
    )
    assert seen.conversation_log_id == plan.key.conversation_log_id
    assert seen.contact_id == plan.contact_id
    assert not plan.key.shared
    assert set(seen.message_ids) == {item.id for item in plan.items}
    return True


@given(st.lists(_ids, max_size=12))
def test_the_ids_are_those_that_a_plan_has(ids: list[Any]) -> None:
    sent = json.dumps(body(ids)).encode()
    try:
        parse_log_request(sent)
    except BadRequest:
        assert peek(sent) is None
    else:
        agrees(sent)


@given(
    st.sampled_from(["conversationLogId", "messages", "correspondents", "owner", "contactId"]),
    _oddities,
)
def test_what_is_odd_is_left_to_who_reads_it_all(field: str, value: Any) -> None:
    sent = json.dumps(body([str(number) for number in range(10)], **{field: value})).encode()
    try:
        agrees(sent)
    except BadRequest:
        pytest.fail("a look saw something in a body that cannot be read")


def test_an_ordinary_conversation_is_seen() -> None:
    assert agrees(json.dumps(body([str(number) for number in range(10)])).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"owner": {"name": "Support"}},
        {"owner": None},
        {"correspondents": [{"phoneNumber": "+1"}, {"phoneNumber": "+2"}]},
        {"correspondents": [None]},
        {"conversationLogId": None},
        {"contactId": ""},
    ],
)
def test_groups_threads_and_odd_bodies_are_not_looked_at(changes: dict[str, Any]) -> None:
    assert peek(json.dumps(body([str(number) for number in range(10)], **changes)).encode()) is None


@pytest.mark.parametrize("sent", [b"", b"{", b"null", b"\xff", b"[" * 100_000, b"\xef\xbb\xbf{}"])
def test_what_is_no_json_is_not_looked_at(sent: bytes) -> None:
    assert peek(sent) is None


def test_few_messages_and_too_many_are_not_looked_at() -> None:
    assert peek(json.dumps(body(["1"])).encode()) is None
    assert peek(json.dumps(body([str(number) for number in range(1001)])).encode()) is None


_STATUSES = st.sampled_from(
    [None, "Queued", "Sent", "Delivered", "Received", "DeliveryFailed", "SendingFailed"]
)
_CODES = st.sampled_from([None, "SMS-CAR-413", "SMS-UP-410", "NoFaxMachine", "unheard of"])
_RECIPIENTS = st.lists(
    st.fixed_dictionaries(
        {"phoneNumber": st.just("+14155550142")},
        optional={"messageStatus": _STATUSES, "errorCode": _CODES, "faxErrorCode": _CODES},
    ),
    max_size=2,
)
_FACTS = st.fixed_dictionaries(
    {},
    optional={
        "messageStatus": _STATUSES,
        "deliveryErrorCode": _CODES,
        "transcript": st.sampled_from([None, "", "In progress", "Please call me back."]),
        "vmTranscriptionStatus": st.sampled_from([None, "InProgress", "Completed"]),
        "to": _RECIPIENTS,
    },
)


@given(st.lists(_FACTS, min_size=1, max_size=3), st.booleans())
def test_what_may_have_facts_is_read_whole(facts: list[dict[str, Any]], spaced: bool) -> None:
    """A message that was not delivered, or has a transcript, may have changed since it was logged."""
    made = body([str(number) for number in range(10)])
    for message, more in zip(made["logInfo"]["messages"], itertools.cycle(facts), strict=False):
        message.update(more)
    sent = json.dumps(made, separators=(", ", ": ") if spaced else (",", ":")).encode()
    has_facts = any(facts_of(each, b"key") for each in parse_log_request(sent).info.messages)
    assert not has_facts or peek(sent) is None
