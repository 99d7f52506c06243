"""Any input is a request or a `BadRequest`."""

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from messagelog.messages import BadRequest, LogRequest, MessageKind, parse_log_request

GOOD = [json.loads(p.read_bytes()) for p in sorted((Path(__file__).parent / "payloads").glob("*.json"))]

# Python's own encoder writes lone surrogates as escapes, and NaN and Infinity, which are not JSON.
anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(categories=None))
    | st.sampled_from([10**400, -(10**20), "9" * 300, "\x00", "\ud83d", {"id": None}, [None], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def check_that_it_names_the_place(error: BadRequest) -> None:
    assert error.path
    assert error.problem


def outcome(body: bytes) -> LogRequest | None:
    try:
        request = parse_log_request(body)
    except BadRequest as error:
        check_that_it_names_the_place(error)
        return None
    # An accepted request has the properties that the rest relies on.
    assert request.contact_id
    assert request.info.conversation_id or request.info.is_empty
    anonymous = {MessageKind.VOICEMAIL, MessageKind.FAX}
    alone = {message.kind for message in request.info.loggable} <= anonymous
    assert request.info.correspondents or request.info.is_empty or alone
    assert len({message.id for message in request.info.messages}) == len(request.info.messages)
    for message in request.info.messages:
        assert isinstance(message.id, str)
        assert message.sent_at is None or isinstance(message.sent_at, int)
        assert message.kind
        assert isinstance(message.media.attachments, tuple)
    assert request.thread.version >= 0
    return request


@given(st.binary())
@example(b'{"logInfo":{"messages":[{"id":"\\ud83d"}]}}')
def test_arbitrary_bytes(body: bytes) -> None:
    outcome(body)


@given(anything)
def test_arbitrary_json(sent: Any) -> None:
    outcome(json.dumps(sent).encode())


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [prefix, *(path for key, item in inner for path in paths(item, (*prefix, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    sent = copy.deepcopy(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(paths(sent)[1:]))
        holder = sent
        for key in place[:-1]:
            holder = holder[key]
        if draw(st.booleans()):
            holder[place[-1]] = copy.deepcopy(draw(anything))
        else:
            del holder[place[-1]]
    return sent


@given(mutated())
def test_mutations_of_good_payloads(sent: Any) -> None:
    outcome(json.dumps(sent).encode())


@given(st.sampled_from(GOOD), st.data())
def test_cut_and_garbled_payloads(sent: Any, data: st.DataObject) -> None:
    raw = bytearray(json.dumps(sent).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    outcome(bytes(raw))
    outcome(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
