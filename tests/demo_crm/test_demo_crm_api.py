import asyncio
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from messagelog.testing.demo_crm import API_KEYS, TENANTS, DemoCrmClient, DemoCrmServer, serve_demo_crm

NOTE = {"contact_id": "c-1", "subject": "SMS with Maya", "body": "Hello"}


@pytest.fixture
async def crm(tmp_path: Path) -> AsyncIterator[DemoCrmServer]:
    async with serve_demo_crm(tmp_path / "crm.db") as server:
        yield server


@pytest.fixture
async def ada(crm: DemoCrmServer) -> AsyncIterator[DemoCrmClient]:
    async with crm.api_client("demo-ada") as api_client:
        yield api_client


@pytest.fixture
async def otto(crm: DemoCrmServer) -> AsyncIterator[DemoCrmClient]:
    async with crm.api_client("demo-otto") as api_client:
        yield api_client


async def log(api_client: DemoCrmClient, **changes: object) -> dict[str, Any]:
    answer = await api_client.ask("POST", "/api/activities", json=NOTE | changes)
    assert answer.status == 201, answer.body
    activity: dict[str, Any] = answer.body
    return activity


async def names(api_client: DemoCrmClient, query: str = "") -> list[str]:
    answer = await api_client.ask("GET", f"/api/contacts{query}")
    assert answer.status == 200
    return [contact["name"] for contact in answer.body]


async def test_keys_belong_to_users_of_known_tenants(crm: DemoCrmServer) -> None:
    for key, user in API_KEYS.items():
        assert user.tenant in TENANTS
        async with crm.api_client(key) as api_client:
            answer = await api_client.ask("GET", "/api/me")
        assert answer.body == {
            "id": user.id,
            "name": user.name,
            "tenant": user.tenant,
            "timezone": "America/Los_Angeles",
            "timezone_offset": "-08:00",
            "features": {"external_ids": True, "append_only": False, "body_limit": None},
        }


async def test_without_a_key_nothing_is_shown(ada: DemoCrmClient) -> None:
    paths = (
        "/api/me",
        "/api/contacts",
        "/api/activities",
        "/api/attachments/f-1",
        "/api/chaos",
        "/api/stats",
    )
    for path, authorization in product(paths, ("Bearer nobody", "Basic demo-ada", "demo-ada", "")):
        answer = await ada.ask("GET", path, headers={"Authorization": authorization})
        assert (answer.status, answer.body) == (401, {"error": "an API key is needed"})


async def test_a_contact_is_found_by_the_digits_of_its_number(ada: DemoCrmClient) -> None:
    for query in ("+14155550142", "%2B14155550142", "+1%20(415)%20555-0142", "14155550142"):
        assert await names(ada, f"?phone={query}") == ["Maya Patel"]
    assert await names(ada, "?phone=+14155550123") == ["Nina Castillo", "Castillo Bakery"]
    assert await names(ada, "?phone=+493023125042") == ["Lena Förster"]
    for nobody in ("+14155550188", "4155550142", "", "unknown"):
        assert await names(ada, f"?phone={nobody}") == []


async def test_a_contact_is_found_by_a_part_of_its_name(ada: DemoCrmClient) -> None:
    assert await names(ada, "?name=may") == ["Maya Patel"]
    assert await names(ada, "?name=CASTILLO") == ["Nina Castillo", "Castillo Bakery"]
    assert await names(ada, "?name=F%C3%96R") == ["Lena Förster"]
    assert await names(ada, "?name=%25") == []
    assert await names(ada, "?name=bakery&phone=+14155550123") == ["Castillo Bakery"]
    assert len(await names(ada)) == len(TENANTS["acme"].contacts)


async def test_contacts_show_their_own_options(ada: DemoCrmClient) -> None:
    maya = (await ada.ask("GET", "/api/contacts/c-1")).body
    assert maya.pop("created_at").endswith("Z")
    assert maya == {
        "id": "c-1",
        "name": "Maya Patel",
        "type": "contact",
        "phone": "+14155550142",
        "fields": {
            "matter": [{"const": "m-1", "title": "Renewal 2026"}, {"const": "m-2", "title": "Onboarding"}],
            "billable": True,
        },
    }
    contacts = (await ada.ask("GET", "/api/contacts")).body
    assert [c["name"] for c in contacts if "matter" in c["fields"]] == ["Maya Patel", "Omar Reyes"]
    assert [c["name"] for c in contacts if c["type"] == "lead"] == ["Priya Nair"]
    assert [c["name"] for c in contacts if not c["phone"]] == ["Tom Becker"]


async def test_a_new_contact_gets_the_next_id_and_is_found(ada: DemoCrmClient) -> None:
    draft = {"name": "Ira Novak", "phone": "(415) 555-0188", "type": "lead", "fields": {"matter": []}}
    answer = await ada.ask("POST", "/api/contacts", json=draft)
    assert answer.status == 201
    assert answer.body["id"] == f"c-{len(TENANTS['acme'].contacts) + 1}"
    assert await names(ada, "?phone=4155550188") == ["Ira Novak"]
    assert (await ada.ask("GET", f"/api/contacts/{answer.body['id']}")).body == answer.body


async def test_an_activity_comes_back_as_it_was_logged(ada: DemoCrmClient) -> None:
    body = "Zeile 1\n<b>$& \\1</b> \N{OLD PERSONAL COMPUTER} \u2028 \x00"
    fields = {"matter": "m-2", "billable": True, "topic": "", "weight": 1.5, "big": 10**30, "none": None}
    logged = await log(ada, body=body, format="text/html", fields=fields, external_id="conversation 1")
    times = (logged["created_at"], logged["updated_at"])
    assert times[0] == times[1]
    assert logged == {
        "id": "a-1",
        "contact_id": "c-1",
        "subject": "SMS with Maya",
        "body": body,
        "format": "text/html",
        "fields": fields,
        "external_id": "conversation 1",
        "attachments": [],
        "created_by": "u-ada",
        "created_at": times[0],
        "updated_at": times[1],
    }
    assert (await ada.ask("GET", "/api/activities/a-1")).body == logged


async def test_activities_are_listed_newest_last_and_by_what_is_asked(ada: DemoCrmClient) -> None:
    for contact, external_id in (("c-1", "x"), ("c-2", "y"), ("c-1", None)):
        await log(ada, contact_id=contact, external_id=external_id)
    for query, expected in {
        "": ["a-1", "a-2", "a-3"],
        "?contact_id=c-1": ["a-1", "a-3"],
        "?contact_id=c-99": [],
        "?contact_id=1": [],
        "?external_id=y": ["a-2"],
        "?external_id=": [],
        "?id=a-3": ["a-3"],
        "?id=c-3": [],
        "?contact_id=c-2&external_id=x": [],
    }.items():
        answer = await ada.ask("GET", f"/api/activities{query}")
        assert [activity["id"] for activity in answer.body] == expected, query


async def test_equal_creations_at_once_make_one_activity(ada: DemoCrmClient) -> None:
    drafts = [NOTE | {"body": f"attempt {n}", "external_id": "one"} for n in range(50)]
    answers = await asyncio.gather(*(ada.ask("POST", "/api/activities", json=draft) for draft in drafts))
    assert sorted(answer.status for answer in answers) == [200] * 49 + [201]
    (first,) = (answer.body for answer in answers if answer.status == 201)
    assert all(answer.body == first for answer in answers)
    assert (await ada.ask("GET", "/api/activities")).body == [first]
    assert (await log(ada))["id"] == "a-2"


async def test_a_change_keeps_what_it_does_not_name(ada: DemoCrmClient) -> None:
    logged = await log(ada, fields={"matter": "m-1", "billable": True})
    change = {"body": "Hello again", "fields": {"matter": "m-2"}, "contact_id": "c-2"}
    answer = await ada.ask("PATCH", "/api/activities/a-1", json=change)
    assert answer.status == 200
    expected = logged | change | {"fields": {"matter": "m-2", "billable": True}}
    assert answer.body == expected | {"updated_at": answer.body["updated_at"]}
    assert answer.body["updated_at"] >= logged["updated_at"]
    assert (await ada.ask("PATCH", "/api/activities/a-1", json={})).body == answer.body
    assert (await ada.ask("GET", "/api/activities/a-1")).body == answer.body


async def test_an_entry_is_appended(ada: DemoCrmClient) -> None:
    for text_format, body, expected in (
        ("text/plain", "one", "one\ntwo"),
        ("text/markdown", "- one", "- one\ntwo"),
        ("text/html", "<p>one</p>", "<p>one</p>two"),
        ("text/plain", "", "two"),
    ):
        logged = await log(ada, format=text_format, body=body)
        answer = await ada.ask("POST", f"/api/activities/{logged['id']}/entries", json={"text": "two"})
        assert (answer.status, answer.body["body"]) == (201, expected)


async def test_concurrent_entries_are_all_kept(ada: DemoCrmClient) -> None:
    await log(ada, body="0")
    path = "/api/activities/a-1/entries"
    await asyncio.gather(*(ada.ask("POST", path, json={"text": str(n)}) for n in range(1, 100)))
    lines = (await ada.ask("GET", "/api/activities/a-1")).body["body"].split("\n")
    assert lines[0] == "0"
    assert sorted(map(int, lines)) == list(range(100))


async def test_files_come_back_byte_for_byte_as_downloads(ada: DemoCrmClient) -> None:
    await log(ada)
    content = bytes(range(256)) * 1000
    path = "/api/activities/a-1/attachments"
    answer = await ada.ask(
        "POST", f"{path}?file_name=f%C3%A4x%0D%0A.pdf", data=content, headers={"Content-Type": "image/tiff"}
    )
    shown = {"id": "f-1", "file_name": "fäx\r\n.pdf", "content_type": "image/tiff", "size": 256_000}
    assert (answer.status, answer.body) == (201, shown)
    empty = await ada.ask("POST", f"{path}?file_name=empty", data=b"", headers={"Content-Type": "text/plain"})
    activity = (await ada.ask("GET", "/api/activities/a-1")).body
    assert activity["attachments"] == [shown, empty.body]
    download = await ada.ask("GET", "/api/attachments/f-1")
    assert (download.status, download.body) == (200, content)
    assert download.headers["Content-Type"] == "image/tiff"
    assert download.headers["Content-Disposition"] == "attachment; filename*=UTF-8''f%C3%A4x%0D%0A.pdf"
    assert (await ada.ask("POST", path, data=b"?")).status == 422


async def test_a_deleted_activity_is_gone_with_its_files_and_its_id_is_not_used_again(
    ada: DemoCrmClient,
) -> None:
    await log(ada, external_id="again")
    await ada.ask("POST", "/api/activities/a-1/attachments?file_name=x", data=b"x")
    answer = await ada.ask("DELETE", "/api/activities/a-1")
    assert (answer.status, answer.body) == (204, None)
    assert (await ada.ask("GET", "/api/attachments/f-1")).status == 404
    assert (await ada.ask("DELETE", "/api/activities/a-1")).body == {"error": "no such activity"}
    assert (await log(ada, external_id="again"))["id"] == "a-2"


async def test_tenants_do_not_see_each_other(
    ada: DemoCrmClient, otto: DemoCrmClient, crm: DemoCrmServer
) -> None:
    await log(ada, external_id="same", body="Ada's")
    await ada.ask("POST", "/api/activities/a-1/attachments?file_name=x", data=b"secret")
    await ada.ask("POST", "/api/contacts", json={"name": "Only Ada's"})
    assert (await otto.ask("GET", "/api/activities")).body == []
    assert await names(otto, "?name=ada") == []
    assert len(await names(otto)) == len(TENANTS["otto"].contacts)
    for method, path in (
        ("GET", "/api/activities/a-1"),
        ("PATCH", "/api/activities/a-1"),
        ("DELETE", "/api/activities/a-1"),
        ("GET", "/api/attachments/f-1"),
        ("GET", f"/api/contacts/c-{len(TENANTS['acme'].contacts) + 1}"),
    ):
        answer = await otto.ask(method, path, json={"body": "Otto's"} if method == "PATCH" else None)
        assert answer.status == 404, path
    assert (await otto.ask("POST", "/api/activities/a-1/entries", json={"text": "!"})).status == 404
    assert (await otto.ask("POST", "/api/activities/a-1/attachments?file_name=x", data=b"")).status == 404

    his = await log(otto, external_id="same", body="Otto's")
    assert (his["id"], his["body"], his["created_by"]) == ("a-1", "Otto's", "u-otto")
    assert (await otto.ask("GET", "/api/activities/a-1")).body["attachments"] == []
    async with crm.api_client("demo-grace") as grace:
        (hers,) = (await grace.ask("GET", "/api/activities?external_id=same")).body
    assert (hers["body"], hers["created_by"]) == ("Ada's", "u-ada")


async def test_what_does_not_exist_is_not_found(ada: DemoCrmClient) -> None:
    await log(ada)
    for activity_id in ("a-2", "a-0", "a-01", "a--1", "c-1", "1", "a-", "a-9999999999999999999", "a-%C2%B2"):
        answer = await ada.ask("GET", f"/api/activities/{activity_id}")
        assert (answer.status, answer.body) == (404, {"error": "no such activity"})
        assert (await ada.ask("GET", f"/api/activities?id={activity_id}")).body == []


MISFITS: list[tuple[str, object, str]] = [
    ("/api/activities", NOTE | {"contact_id": "c-99"}, "contact_id"),
    ("/api/activities", NOTE | {"contact_id": 1}, "contact_id"),
    ("/api/activities", NOTE | {"subject": None}, "subject"),
    ("/api/activities", NOTE | {"format": "text/rtf"}, "format"),
    ("/api/activities", NOTE | {"fields": []}, "fields"),
    ("/api/activities", NOTE | {"fields": {"deep": [[1]]}}, "fields"),
    ("/api/activities", NOTE | {"external_id": 5}, "external_id"),
    ("/api/activities", NOTE | {"external_id": ""}, "external_id"),
    ("/api/activities", NOTE | {"boddy": ""}, "boddy"),
    ("/api/activities", {"contact_id": "c-1", "body": ""}, "subject"),
    ("/api/activities", [], "object"),
    ("/api/activities/a-1/entries", {"text": 1}, "text"),
    ("/api/contacts", {"name": ""}, "name"),
    ("/api/contacts", {"name": "x", "type": "company"}, "type"),
    ("/api/contacts", {"phone": "1"}, "name"),
    ("/api/chaos", {"delay": 1}, "delay"),
]


async def test_what_does_not_fit_is_named(ada: DemoCrmClient) -> None:
    await log(ada)
    for path, payload, named in MISFITS:
        answer = await ada.ask("POST", path, json=payload)
        assert answer.status == 422, payload
        assert named in answer.body["error"]
    assert len((await ada.ask("GET", "/api/activities")).body) == 1


async def test_a_change_that_does_not_fit_changes_nothing(ada: DemoCrmClient) -> None:
    logged = await log(ada)
    for change in ({"contact_id": "c-99", "body": "new"}, {"body": None}, {"external_id": "x"}):
        assert (await ada.ask("PATCH", "/api/activities/a-1", json=change)).status == 422
    assert (await ada.ask("GET", "/api/activities/a-1")).body == logged


async def test_what_is_not_json_is_refused(ada: DemoCrmClient) -> None:
    texts = (
        b"",
        b"{",
        b"nonsense",
        b'{"body": "\xff"}',
        b'{"body": "\\ud800"}',
        b'{"status":' + b"[" * 100_000,
    )
    for path, text in product(("/api/activities", "/api/chaos"), texts):
        answer = await ada.ask("POST", path, data=text)
        assert answer.status == 400 or (path, answer.status) == ("/api/activities", 422), text[:20]
        assert set(answer.body) == {"error"}


async def test_what_is_too_large_is_refused(ada: DemoCrmClient) -> None:
    answer = await ada.ask("POST", "/api/activities", json=NOTE | {"body": "x" * (4 * 1024 * 1024)})
    assert (answer.status, answer.body["limit"]) == (413, 4 * 1024 * 1024)


async def test_unknown_paths_and_methods_are_answered_as_json(ada: DemoCrmClient) -> None:
    assert (await ada.ask("GET", "/api/nothing")).body == {"error": "Not Found"}
    answer = await ada.ask("PUT", "/api/activities/a-1")
    assert (answer.status, answer.body) == (405, {"error": "Method Not Allowed"})


async def test_stats_count_what_was_done(ada: DemoCrmClient, otto: DemoCrmClient) -> None:
    await log(ada, external_id="x")
    await ada.ask("POST", "/api/activities", json=NOTE | {"external_id": "x"})
    await ada.ask("POST", "/api/activities", json=NOTE | {"contact_id": "c-99"})
    await ada.ask("PATCH", "/api/activities/a-1", json={"body": "new"})
    await ada.ask("POST", "/api/activities/a-1/entries", json={"text": "!"})
    await ada.ask("POST", "/api/activities/a-1/attachments?file_name=x", data=b"x")
    await ada.ask("DELETE", "/api/activities/a-1")
    assert (await ada.ask("GET", "/api/stats")).body == {
        "contacts": len(TENANTS["acme"].contacts),
        "creates": 1,
        "upserts": 1,
        "updates": 1,
        "entries": 1,
        "attachments": 1,
        "deletes": 1,
        "calls": 7,
    }
    assert (await otto.ask("GET", "/api/stats")).body["creates"] == 0
