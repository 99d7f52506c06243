"""Plugins: what they see, what they may change, and what becomes of a request when one fails or refuses."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import pytest
from structlog.testing import capture_logs

from messagelog.connectors import Rejected
from messagelog.core import Times
from messagelog.core.intake.plugins import RefusedByPlugin, RequiredPluginFailed
from messagelog.messages import peek
from messagelog.plugins import Refused
from messagelog.plugins.redaction import Redaction
from messagelog.storage import Sealer
from support.live_server import SQLITE_ONLY
from support.memory_crm import ReadingBack
from support.requests import body, message, thread
from support.runtime_fixture import SECRET, RuntimeFixture, runtime_fixture
from support.scripted_plugin import ScriptedPlugin, to_capitals, with_info

if TYPE_CHECKING:
    from collections.abc import Callable

    from messagelog.messages import LogRequest

CARD, MASKED = "4111 1111 1111 1111", "••••••••••••1111"
SECRET_WORD = "swordfish"


def raises(error: BaseException) -> Callable[[Any], Any]:
    def does(_request: Any) -> Any:
        raise error

    return does


def first_message(request: LogRequest, **fields: Any) -> LogRequest:
    first, *rest = request.info.messages
    return with_info(request, messages=(msgspec.structs.replace(first, **fields), *rest))


def first_entity(request: LogRequest, **fields: Any) -> LogRequest:
    first, *rest = request.info.entities
    return with_info(request, entities=(msgspec.structs.replace(first, **fields), *rest))


def in_form(request: LogRequest, value: Any) -> LogRequest:
    return msgspec.structs.replace(request, additional_submission=value)


async def nothing_is_stored(here: RuntimeFixture) -> bool:
    return not here.crm.calls and not await here.logs()


# ------------------------------------------------------------------------------------ what they may do


async def test_plugins_change_what_is_logged_in_their_order(database_url: str) -> None:
    plugins = [
        ScriptedPlugin(to_capitals, name="one"),
        ScriptedPlugin(lambda each: first_message(each, text=None), name="two"),
    ]
    async with runtime_fixture(database_url, plugins=plugins) as here:
        answer = await here.send(body(message(1, "hello")))
        assert answer.log_ids == ["1"]
        assert answer.return_message.message == "Message logged"
        assert "HELLO" in here.crm.only.body
        ((_, second_saw),) = plugins[1].saw
        assert second_saw.info.messages[0].subject == "HELLO"


@SQLITE_ONLY
async def test_a_plugin_knows_whose_request_it_is_and_no_secret(database_url: str) -> None:
    uri = "https://media.ringcentral.com/restapi/v1.0/content/5"
    page = f"https://reader.example/?media={quote(uri, safe='')}"
    files = [{"id": 5, "uri": f"{uri}?access_token={SECRET_WORD}", "type": "MmsAttachment", "link": page}]
    files.append({"id": 6, "link": f"{page}&access_token={SECRET_WORD}", "type": "MmsAttachment"})
    plugin = ScriptedPlugin(lambda request: request)
    async with runtime_fixture(database_url, plugins=[plugin]) as here:
        await here.send(body(message(1, attachments=files), rcAccessToken=SECRET_WORD))
        ((context, request),) = plugin.saw
        assert (context.tenant, context.user_id) == ("acme", "ada")
        assert (context.platform, context.crm) == ("memory", "Memory CRM")
        assert SECRET_WORD not in repr(msgspec.to_builtins(request))
        one, other = request.info.messages[0].attachments
        assert (one.uri, one.link, other.link) == (uri, page, page)


@SQLITE_ONLY
async def test_the_token_that_a_plugin_does_not_see_is_kept(database_url: str) -> None:
    given: list[Any] = []

    class Noting(ReadingBack):
        async def create_message_log(self, session: Any, log: Any) -> Any:
            given.append(log.message.media.first("image").opener is not None)
            return await super().create_message_log(session, log)

    file = {
        "id": 5,
        "uri": "https://media.ringcentral.com/5",
        "type": "MmsAttachment",
        "contentType": "image/png",
    }
    for plugin in (ScriptedPlugin(to_capitals), ScriptedPlugin(lambda request: request)):
        request = body(message(1, attachments=[file]), rcAccessToken="t", conversation=f"c{len(given)}")
        request["logInfo"]["messages"][0]["id"] = len(given) + 1
        async with runtime_fixture(database_url, Noting, plugins=[plugin]) as here:
            assert (await here.send(request)).successful
    assert given == [True, True]


@SQLITE_ONLY
async def test_a_plugin_may_drop_attachments_and_notes(database_url: str) -> None:
    def dropping(request: LogRequest) -> LogRequest:
        return with_info(request, entities=request.info.entities[:1])

    async with runtime_fixture(database_url, plugins=[ScriptedPlugin(dropping)]) as here:
        assert (await here.send(thread("kept", "dropped"))).successful
        assert "kept" in here.crm.only.body
        assert "dropped" not in here.crm.only.body
        again = await here.send(thread("kept", "dropped"))
        assert again.return_message.message == "Already logged"


@SQLITE_ONLY
async def test_plugins_do_not_see_what_is_logged_already(database_url: str) -> None:
    plugin = ScriptedPlugin(lambda request: request)
    sent = body(*(message(number) for number in range(1, 11)))
    async with runtime_fixture(database_url, plugins=[plugin]) as here:
        await here.send(sent)
        before = len(plugin.saw)
        user = await here.user()
        seen = peek(msgspec.json.encode(sent))
        assert seen is not None
        assert await here.runtime.answer_if_logged(user, seen) is not None
        assert len(plugin.saw) == before


# ------------------------------------------------------------------------------------------- failures

FAILURES: dict[str, Any] = {
    "an error": raises(RuntimeError(SECRET_WORD)),
    "a timeout of its own": raises(TimeoutError(SECRET_WORD)),
    "a cancellation of its own": raises(asyncio.CancelledError(SECRET_WORD)),
    "too slow": lambda _request: asyncio.Event().wait(),
    "nothing": lambda _request: None,
    "something else": lambda request: request.info,
    "another id": lambda request: first_message(request, id="other"),
    "another time": lambda request: first_message(
        request, creation_time=request.info.messages[0].sent_at + 1
    ),
    "another direction": lambda request: first_message(request, direction="Outbound"),
    "another kind": lambda request: first_message(request, type="Fax"),
    "fewer messages": lambda request: with_info(request, messages=request.info.messages[1:]),
    "another order": lambda request: with_info(request, messages=request.info.messages[::-1]),
    "another log": lambda request: with_info(request, conversation_log_id="other"),
    "another conversation": lambda request: with_info(request, conversation_id="other"),
    "another date": lambda request: with_info(request, date="other"),
    "another contact": lambda request: msgspec.structs.replace(request, contact_id="c-2"),
    "another number": lambda request: with_info(
        request, correspondents=(msgspec.structs.replace(request.info.correspondents[0], phone_number="+1"),)
    ),
    "a group": lambda request: with_info(request, correspondents=request.info.correspondents * 2),
    "a wrong type": lambda request: first_message(request, subject=5),
    "what is no JSON": lambda request: in_form(request, {"a": object()}),
    "half an emoji": lambda request: first_message(request, subject="\ud83d"),
}


@pytest.mark.parametrize("name", FAILURES)
@SQLITE_ONLY
async def test_without_a_plugin_that_fails_it_is_logged_as_it_was_with_a_warning(
    database_url: str, name: str
) -> None:
    broken = ScriptedPlugin(FAILURES[name], name="broken", seconds=0.01 if name == "too slow" else 5.0)
    last = ScriptedPlugin(to_capitals, name="last")
    async with runtime_fixture(database_url, plugins=[broken, last]) as here:
        with capture_logs() as logs:
            answer = await here.send(body(message(1, "hello"), message(2, "bye")))
        assert answer.log_ids == ["1", "2"]
        assert answer.return_message.message == "Message logged. The plugin broken did not run."
        assert answer.return_message.message_type == "warning"
        assert here.crm.only.body.index("HELLO") < here.crm.only.body.index("BYE")
        assert here.crm.only.contact_id == "c-1"
        (line,) = [each for each in logs if each["event"] == "plugin_failed"]
        assert line["plugin"] == "broken"
        assert SECRET_WORD not in repr(line)
        assert set((await here.rows()).keys()) == {"1", "2"}


@pytest.mark.parametrize("name", ["an error", "too slow", "nothing", "another id"])
@pytest.mark.parametrize("by_operator", [True, False])
@SQLITE_ONLY
async def test_without_a_required_plugin_nothing_is_stored_and_it_can_be_logged_later(
    database_url: str, name: str, *, by_operator: bool
) -> None:
    plugin = ScriptedPlugin(FAILURES[name], name="needed", seconds=0.01, required=not by_operator)
    parts: dict[str, Any] = {
        "plugins": [plugin],
        "required_plugins": frozenset({"needed"} if by_operator else ()),
    }
    async with runtime_fixture(database_url, **parts) as here:
        with pytest.raises(RequiredPluginFailed) as refused:
            await here.send(body(message(1, SECRET_WORD)))
        assert str(refused.value) == (
            "Nothing was logged, since the plugin needed did not run. Please log again later."
        )
        assert await nothing_is_stored(here)
        plugin.does, plugin.__dict__["seconds"] = to_capitals, 5.0
        assert (await here.send(body(message(1, "hello")))).log_ids == ["1"]
        assert "HELLO" in here.crm.only.body


@pytest.mark.parametrize(
    "does",
    [
        lambda request: first_entity(request, id="other"),
        lambda request: first_entity(request, record_type="AliveNote"),
        lambda request: first_entity(request, last_modified_time=None),
        lambda request: with_info(request, entities=request.info.entities[::-1]),
        lambda request: with_info(request, entities=()),
        lambda request: with_info(request, owner=None),
        lambda request: with_info(request, last_modified_time=None),
    ],
)
@SQLITE_ONLY
async def test_entities_of_a_thread_may_go_and_no_more(database_url: str, does: Any) -> None:
    async with runtime_fixture(database_url, plugins=[ScriptedPlugin(does, required=True)]) as here:
        with pytest.raises(RequiredPluginFailed):
            await here.send(thread("one", "two"))
        assert await nothing_is_stored(here)


@SQLITE_ONLY
async def test_a_form_that_a_failing_plugin_has_changed_in_place_is_as_it_was(database_url: str) -> None:
    def does(request: LogRequest) -> Any:
        assert request.additional_submission
        request.additional_submission["matter"]["id"] = "other"
        raise RuntimeError

    async with runtime_fixture(database_url, plugins=[ScriptedPlugin(does)]) as here:
        await here.send(body(message(1), submission={"matter": {"id": "m-1"}}))
        assert here.crm.only.fields == {"matter": {"id": "m-1"}}


@SQLITE_ONLY
async def test_all_plugins_together_leave_the_crm_its_time(database_url: str) -> None:
    slow = [
        ScriptedPlugin(lambda _request: asyncio.Event().wait(), name=f"slow-{number}", seconds=60)
        for number in (1, 2)
    ]
    times = Times(answer=0.08, call=5.0, lease=60.0)
    async with runtime_fixture(database_url, plugins=slow, settings=times) as here:
        answer = await here.send(body(message(1)))
        assert (
            "The plugin slow-1 did not run. The plugin slow-2 did not run." in answer.return_message.message
        )
        assert answer.log_ids == ["1"]


@SQLITE_ONLY
async def test_the_end_of_a_request_is_not_a_plugins_failure(database_url: str) -> None:
    entered = asyncio.Event()

    async def waiting() -> Any:
        entered.set()
        await asyncio.Event().wait()

    async with runtime_fixture(database_url, plugins=[ScriptedPlugin(lambda _request: waiting())]) as here:
        sending = asyncio.create_task(here.send(body(message(1))))
        await entered.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await nothing_is_stored(here)


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("Messages of this client are not logged.", "Messages of this client are not logged."),
        ("two\nlines\x00", "two lines\x00"),
        ("", "The plugin told has refused this."),
        ("x" * 1000, "x" * 300),
    ],
)
@SQLITE_ONLY
async def test_a_refusal_is_told_as_the_plugin_words_it(database_url: str, sentence: str, told: str) -> None:
    async with runtime_fixture(database_url, plugins=[ScriptedPlugin(raises(Refused(sentence)))]) as here:
        with pytest.raises(RefusedByPlugin) as refused:
            await here.send(body(message(1)))
        assert str(refused.value) == told
        assert await nothing_is_stored(here)


# ------------------------------------------------------------------------------ redaction, exactly once


@pytest.mark.parametrize("kind", [ReadingBack])
async def test_switching_redaction_on_changes_nothing_that_is_logged(database_url: str, kind: Any) -> None:
    async with runtime_fixture(database_url, kind) as before:
        await before.send(body(message(1, f"first {CARD}")))
    redaction = Redaction({})
    async with runtime_fixture(database_url, kind, crm=before.crm, plugins=[redaction]) as here:
        again = await here.send(body(message(1, f"first {CARD}")))
        assert again.return_message.message == "Already logged"
        more = await here.send(body(message(1, f"first {CARD}"), message(2, f"second {CARD}")))
        assert more.log_ids == ["2"]
        text = here.crm.only.body
        assert (text.count(CARD), text.count(f"second {MASKED}")) == (1, 1)
        repeated = await here.send(body(message(1, f"first {CARD}"), message(2, f"second {CARD}")))
        assert repeated.return_message.message == "Already logged"
        assert here.crm.only.body == text


async def test_a_newer_snapshot_of_a_thread_is_redacted_as_a_whole(database_url: str) -> None:
    async with runtime_fixture(database_url, ReadingBack) as before:
        await before.send(thread(f"first {CARD}"))
        assert CARD in before.crm.only.body
    async with runtime_fixture(database_url, ReadingBack, crm=before.crm, plugins=[Redaction({})]) as here:
        await here.send(thread(f"first {CARD}", f"second {CARD}"))
        text = here.crm.only.body
        assert CARD not in text
        assert [text.count(f"{word} {MASKED}") for word in ("first", "second")] == [1, 1]


@SQLITE_ONLY
async def test_what_is_kept_to_be_logged_is_redacted(database_url: str) -> None:
    async with runtime_fixture(database_url, plugins=[Redaction({})]) as here:
        here.crm.before = lambda _call: Rejected("HTTP 422")
        assert not (await here.send(body(message(1, CARD)))).successful
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
        ((sealed,),) = connection.execute('SELECT "payload" FROM "messageLogs"').fetchall()
    kept = Sealer(SECRET).open(sealed, "messageLogs", "acme", "memory", "1").decode()
    assert MASKED in kept
    assert CARD not in kept


async def test_the_same_request_twice_at_once_is_logged_once(database_url: str) -> None:
    async with runtime_fixture(database_url, plugins=[Redaction({})]) as here:
        sent = body(message(1, CARD))
        answers = await asyncio.gather(*(here.send(sent) for _ in range(5)))
        assert all(answer.successful for answer in answers)
        assert here.crm.count("create") == 1
        assert here.crm.only.body.count(MASKED) == 1
