"""Order of messages, and threads of shared inboxes."""

import itertools
from typing import Any

import pytest

from messagelog.messages import Conversation, Entity, Message, Party, Thread, message_order

T = 1_784_214_000_000


def test_messages_are_ordered_by_time_then_by_id_as_numbers() -> None:
    ordered = [
        Message(id="x"),
        Message(id="99", creation_time=T),
        Message(id="100", creation_time=T),
        Message(id="7", last_modified_time=T + 1),
        Message(id="1", creation_time=T + 2, last_modified_time=T),
    ]
    for order in itertools.permutations(ordered):
        assert sorted(order, key=message_order) == ordered


@pytest.mark.parametrize("wrong", [True, 1.5, "", "x" * 256, "a\x00", "\ud83d", None])
def test_records_made_by_hand_are_checked_too(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^id: "):
        Message(id=wrong)


def test_ids_of_extensions_and_attachments_may_be_numbers() -> None:
    loose: Any = {"extension_id": 178_010_005, "extension_number": 101, "phone_number": 4155550142}
    party = Party(**loose)
    assert (party.extension_id, party.extension_number, party.phone_number) == (
        "178010005",
        "101",
        "4155550142",
    )


def test_agent_name() -> None:
    assert Conversation(conversation_id="1").agent_name is None
    assert Conversation(conversation_id="1", self_party=Party(phone_number="+1")).agent_name == "+1"
    assert (
        Conversation(conversation_id="1", self_party=Party(phone_number="+1", name="Jo")).agent_name == "Jo"
    )


def ids(thread: Thread) -> list[str | None]:
    return [entity.id for entity in thread.entities]


def entity(id_: str, **fields: Any) -> Entity:
    return Entity(id=id_, **fields)


def test_a_thread_with_iso_times_and_hints_without_times_is_sorted() -> None:
    thread = Thread(
        entities=(
            entity("hint first"),
            entity("b", creation_time="2026-07-16T15:10:00Z"),
            entity("hint after b"),
            entity("a", creation_time="2026-07-16T15:00:00Z"),
            entity("c", last_modified_time="2026-07-16T15:20:00.000Z"),
        )
    )
    assert ids(thread) == ["a", "hint first", "b", "hint after b", "c"]
    assert thread.version == 1_784_215_200_000 * 1_000_000 + 5


def test_of_two_versions_of_an_entity_the_newest_stays() -> None:
    old, new = (
        entity("1", text="old", creation_time=T),
        entity("1", text="new", creation_time=T, last_modified_time=T + 1),
    )
    assert Thread(entities=(old, new)).entities == (new,)
    assert Thread(entities=(new, old)).entities == (new,)


def test_the_version_grows_with_changes_and_with_entities() -> None:
    first = Thread(entities=(entity("1", creation_time=T),))
    edited = Thread(entities=(entity("1", creation_time=T, last_modified_time=T + 1),))
    longer = Thread(entities=(*edited.entities, entity("2", creation_time=T)))
    resolved = Thread(entities=longer.entities, last_modified_time=T + 2)

    versions = [Thread().version, first.version, edited.version, longer.version, resolved.version]
    assert versions == sorted(set(versions))
    assert versions[0] == 0
    assert Thread(last_modified_time=7_258_118_399_999, entities=longer.entities).version < 2**63


def test_messages_of_a_thread_without_entities_are_its_entities() -> None:
    author = Party(name="Sam")
    message = Message(id="1", subject="Hi", direction="Outbound", from_=author, creation_time=T)
    made = Entity.from_message(message)
    assert (made.id, made.record_type, made.body_text) == ("1", "AliveMessage", "Hi")
    assert made.author is author
    assert made.happened_at == T
