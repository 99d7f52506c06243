from __future__ import annotations

import json
import sqlite3

from bench import bodies
from bench.check import CrmContents, faults
from bench.options import read_options
from bench.profile import tables
from bench.rows import old_conversation, our_rows
from bench.sampler import Sampled
from bench.scenarios import SCENARIOS
from bench.wire import take
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from messagelog.messages import parse_log_request
from messagelog.storage import schema

A, B = bodies.FIRST_CONVERSATION, bodies.FIRST_CONVERSATION + 1
ONE = bodies.FIRST_MESSAGE


def contents(*, unknown: int = 0, **activities: list[int]) -> CrmContents:
    return CrmContents(activities, created=len(activities), updated=0, unknown=unknown)


def test_each_message_once_is_right() -> None:
    assert faults([(A, ONE, 2), (B, ONE + 2, 1)], contents(x=[ONE, ONE + 1], y=[ONE + 2])) == []


def test_what_is_missing_is_told() -> None:
    assert faults([(A, ONE, 2)], contents(x=[ONE])) == [f"1 messages were never logged, such as {ONE + 1}."]


def test_what_was_logged_twice_is_told() -> None:
    assert faults([(A, ONE, 1)], contents(x=[ONE, ONE])) == [
        f"1 messages were logged more than once, such as {ONE}."
    ]


def test_two_activities_of_a_conversation_are_told() -> None:
    assert faults([(A, ONE, 2)], contents(x=[ONE], y=[ONE + 1])) == [
        f"1 conversations have more than one activity, such as {A}."
    ]


def test_an_activity_of_two_conversations_is_told() -> None:
    assert faults([(A, ONE, 1), (B, ONE + 1, 1)], contents(x=[ONE, ONE + 1])) == [
        "1 activities are not of one conversation, such as x."
    ]


def test_additions_to_nothing_and_messages_of_nobody_are_told() -> None:
    assert len(faults([(A, ONE, 1)], contents(x=[ONE, ONE + 7], unknown=1))) == 2


def test_every_body_is_one_that_the_server_takes() -> None:
    for scenario in SCENARIOS.values():
        request = parse_log_request(scenario.template.fill(A, ONE))
        assert request.info.conversation_id == str(A)
        assert request.is_shared == scenario.name.startswith("thread")
        assert len(request.info.messages) == scenario.template.messages


def test_each_message_says_its_number() -> None:
    body = SCENARIOS["twenty"].template.fill(A, ONE)
    subjects = [message["subject"] for message in json.loads(body)["logInfo"]["messages"]]
    assert sorted(subject[-14:-1] for subject in subjects) == [str(ONE + index) for index in range(20)]


def test_messages_are_taken_when_they_are_whole() -> None:
    buffer = bytearray(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab")
    assert take(buffer) is None
    buffer += b"cGET /seen HTTP/1.1\r\n\r\n"
    assert take(buffer) == (b"HTTP/1.1 200 OK\r\nContent-Length: 3", b"abc")
    assert take(buffer) == (b"GET /seen HTTP/1.1", b"")
    assert buffer == b""


def test_every_column_that_needs_a_value_gets_one() -> None:
    logs, messages = our_rows(10, "sqlite")
    assert '"blocks"' in logs
    assert '"version"' in messages


def test_the_conversation_of_a_filled_row_is_known() -> None:
    with sqlite3.connect(":memory:") as connection:
        for table in (schema.conversation_logs, schema.message_logs):
            connection.execute(str(CreateTable(table).compile(dialect=sqlite.dialect())))
        for statement in our_rows(500, "sqlite"):
            connection.execute(statement)
        rows = connection.execute('SELECT "id", "conversationId" FROM "messageLogs"').fetchall()
        logs = connection.execute('SELECT count(*) FROM "conversationLogs"').fetchone()
    assert len(rows) == 500
    assert logs[0] == len({conversation for _, conversation in rows})
    assert all(conversation == str(old_conversation(int(id_[1:]), 500)) for id_, conversation in rows)


def test_a_quick_run_is_short() -> None:
    quick = read_options(["--quick"])
    assert (quick.rounds, len(quick.scenarios), quick.peer) == (1, 4, True)
    assert read_options(["--profile"]).profile == "new"


def test_a_profile_names_areas() -> None:
    stacks = [(3, [("/x/messagelog/compose/log.py", "entries"), ("/x/messagelog/core/calls.py", "prepare")])]
    areas = next(iter(tables(Sampled(stacks), requests=1, processor=1.0)))
    assert areas.columns[0]._cells == ["composing the text"]
