"""`messagelog preview`: the text that a request would become, or its problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cli_process import command

PAYLOADS = Path(__file__).parents[1] / "messages" / "payloads"
SMS = PAYLOADS / "01-sms-manual.json"


def test_the_subject_then_the_body() -> None:
    done = command("preview", str(SMS), "--zone", "America/Los_Angeles")
    assert done.code == 0
    assert done.out.splitlines() == [
        "SMS conversation with Maya Patel - 2026-07-13",
        "",
        "Conversation with Maya Patel (+14155550142)",
        "  Agent: Jordan Lee",
        "  Date: 2026-07-13",
        "  Messages: 1 SMS",
        "  Times in America/Los_Angeles",
        "",
        "[2026-07-13 8:00 PM PDT] Maya Patel",
        "  Can you send the renewal options?",
    ]


def test_format_language_and_zone() -> None:
    done = command("preview", str(SMS), "--format", "html", "--language", "es", "--zone", "Europe/Madrid")
    assert done.out.startswith(
        "Conversación por SMS con Maya Patel - 14 jul 2026\n\n<p><b>Conversación con Maya Patel"
    )
    assert "<p>14 jul 2026, 5:00 CEST <b>Maya Patel</b>" in done.out


def test_a_shared_thread_in_markdown() -> None:
    thread = (PAYLOADS / "11-shared-sms-thread.json").read_bytes()
    done = command("preview", "-", "--format", "markdown", "--language", "ja", stdin=thread)
    assert done.out.startswith(
        "共有SMSの会話: Maya Patel - 2026/07/16\n\n**共有SMSの会話: Maya Patel (+14155550142)**"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.json"], "nowhere.json cannot be read: No such file or directory."),
        ([str(SMS), "--language", "fr"], "--language: expected one of en, es, ja."),
        ([str(SMS), "--zone", "Nowhere/Land"], "--zone: expected a name such as Europe/Madrid"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: list[str], told: str) -> None:
    done = command("preview", *arguments)
    assert done.code == 2
    assert told in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_a_wrong_field_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(
        '{"contactId": "c", "logInfo": {"correspondents": [{}], "messages": [{"id": "1"}, {"id": []}]}}'
    )
    done = command("preview", str(wrong))
    assert done.code == 2
    assert "logInfo.messages[1].id" in done.err
    wrong.write_text("nonsense")
    assert "body: is not JSON." in command("preview", str(wrong)).err
