"""Activities whose body is limited: nothing is dropped, the log goes on in another one that says so."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from messagelog.compose import LogFormat
from messagelog.connectors import BodyFull, ConnectorError, Measure, OutcomeUnknown
from support.memory_crm import Appending, Batches, Call, Crm, Html, Plain, ReadingBack
from support.requests import body, message, thread
from support.runtime_fixture import RuntimeFixture, runtime_fixture

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 420


def limited(kind: type[Plain], limit: int = LIMIT, **more: Any) -> Callable[[Crm], Plain]:
    return type(kind.__name__, (kind,), {"body_limit": limit, **more})


class Markdown(Plain):
    log_format = LogFormat.MARKDOWN


class AppendingHtml(Appending):
    log_format = LogFormat.HTML


def texts(here: RuntimeFixture) -> Counter[str]:
    """How often each text stands anywhere in the CRM."""
    return Counter(re.findall(r"text-\d+", "\n".join(each.body for each in here.crm.activities.values())))


def titles(here: RuntimeFixture) -> list[bool]:
    """Whether each activity's subject says that it goes on, in the order of their making."""
    return ["(continued)" in each.subject for each in here.crm.activities.values()]


@pytest.mark.parametrize("kind", [Plain, Html, Markdown, Batches, Appending, AppendingHtml, ReadingBack])
async def test_a_day_with_more_than_fits_is_in_several_activities_each_message_once(
    database_url: str, kind: type[Plain]
) -> None:
    async with runtime_fixture(database_url, limited(kind)) as here:
        sent = [message(number, f"text-{number:02}") for number in range(1, 26)]
        for upto in (3, 4, 20, 25):
            answer = await here.send(body(*sent[:upto]))
            assert answer.successful
        assert texts(here) == Counter({f"text-{number:02}": 1 for number in range(1, 26)})
        assert len(here.crm.activities) > 2
        assert titles(here) == [False] + [True] * (len(here.crm.activities) - 1)
        assert all(len(each.body) <= LIMIT for each in here.crm.activities.values())
        assert set((await here.states()).values()) == {"logged"}
        rows = await here.rows()
        for activity in here.crm.activities.values():
            held = {id_ for id_, row in rows.items() if row.third_party_log_id == activity.id}
            assert {f"text-{int(id_):02}" for id_ in held} == set(re.findall(r"text-\d+", activity.body))
        again = await here.send(body(*sent))
        assert again.log_ids == []


async def test_a_full_activity_is_left_alone_by_what_comes_later(database_url: str) -> None:
    async with runtime_fixture(database_url, limited(Plain)) as here:
        sent = [message(number, f"text-{number:02}") for number in range(1, 12)]
        await here.send(body(*sent[:10]))
        first = next(iter(here.crm.activities.values()))
        first.body += "\n\nCalled her, all settled."
        before = first.body
        await here.send(body(*sent))
        assert first.body == before
        assert texts(here)["text-11"] == 1


async def test_people_may_fill_an_activity(database_url: str) -> None:
    async with runtime_fixture(database_url, limited(Plain)) as here:
        await here.send(body(message(1, "text-01")))
        here.crm.only.body += "\n" + "A long note. " * 40
        note = here.crm.only.body
        await here.send(body(message(1, "text-01"), message(2, "text-02")))
        assert next(iter(here.crm.activities.values())).body == note
        assert texts(here) == {"text-01": 1, "text-02": 1}


@pytest.mark.parametrize("measure", list(Measure))
async def test_a_message_that_is_too_long_by_itself_is_shortened_and_says_so(
    database_url: str, measure: Measure
) -> None:
    async with runtime_fixture(database_url, limited(Plain, 1_000, body_measure=measure)) as here:
        await here.send(body(message(1, "text-01 " + "🙂" * 50_000), message(2, "text-02")))
        assert texts(here) == {"text-01": 1, "text-02": 1}
        assert all(measure.of(each.body) <= 1_000 for each in here.crm.activities.values())
        for each in here.crm.activities.values():
            each.body.encode()  # no half emoji


@pytest.mark.parametrize("kind", [Plain, Html, Appending, ReadingBack])
async def test_a_thread_with_more_than_fits_is_in_several_activities_each_entry_once(
    database_url: str, kind: type[Plain]
) -> None:
    async with runtime_fixture(database_url, limited(kind, 900)) as here:
        said = [f"text-{number:02}" for number in range(1, 41)]
        for upto in (30, 31, 40):
            answer = await here.send(thread(*said[:upto]))
            assert answer.successful
        assert texts(here) == Counter(dict.fromkeys(said, 1))
        assert titles(here) == [False] + [True] * (len(here.crm.activities) - 1)
        assert len(here.crm.activities) > 2
        assert all(len(each.body) <= 900 for each in here.crm.activities.values())
        assert set((await here.states()).values()) == {"logged"}
        calls = len(here.crm.calls)
        assert (await here.send(thread(*said))).log_ids == []
        assert len(here.crm.calls) == calls


async def test_a_deleted_activity_is_made_anew_and_the_full_one_before_it_is_not(database_url: str) -> None:
    async with runtime_fixture(database_url, limited(Plain, not_found_means_gone=True)) as here:
        sent = [message(number, f"text-{number:02}") for number in range(1, 12)]
        await here.send(body(*sent[:10]))
        last = list(here.crm.activities)[-1]
        del here.crm.activities[last]
        kept = texts(here)
        await here.send(body(*sent))
        assert texts(here) == Counter({f"text-{number:02}": 1 for number in range(1, 12)})
        assert kept == Counter(dict.fromkeys(kept, 1)), "what was in the full one is there once still"
        assert titles(here) == [False] + [True] * (len(here.crm.activities) - 1)


async def test_equal_texts_on_both_sides_of_the_border_are_two(database_url: str) -> None:
    """The activity that is full holds the same words of the same minute: that is no answer to where the new one is."""

    def lose_the_second(call: Call) -> ConnectorError | None:
        second = call.kind == "create" and len(here.crm.activities) == 2
        return OutcomeUnknown("no answer") if second else None

    async with runtime_fixture(database_url, limited(ReadingBack, 300)) as here:
        here.crm.after = lose_the_second
        at = message(1)["creationTime"]
        for number in range(1, 7):
            await here.send(body(*(message(n, "text-01", at=at + n) for n in range(1, number + 1))))
            await here.runtime.idle()
            await here.runtime.sweep()
            await here.runtime.idle()
        assert texts(here) == {"text-01": 6}
        assert set((await here.states()).values()) == {"logged"}


async def test_what_no_activity_can_hold_fails_and_says_why(database_url: str) -> None:
    async with runtime_fixture(database_url) as here:
        here.crm.before = lambda _call: BodyFull("HTTP 413")
        answer = await here.send(body(message(1)))
        assert not answer.successful
        assert "too long for Memory CRM" in answer.return_message.message
        assert await here.states() == {"1": "failed"}


async def test_another_contact_cannot_take_a_log_that_goes_on(database_url: str) -> None:
    async with runtime_fixture(database_url, limited(Plain)) as here:
        sent = [message(number, f"text-{number:02}") for number in range(1, 12)]
        await here.send(body(*sent))
        refused = await here.send(body(message(99), contact="c-2", name="Omar Reyes"))
        assert not refused.successful
        assert {each.contact_id for each in here.crm.activities.values()} == {"c-1"}
