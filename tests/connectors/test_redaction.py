"""A CRM's answer is kept without credentials, in all the ways in which the CRM may quote them."""

from __future__ import annotations

import base64
import html
import json
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.connectors.redaction import LONGEST, READ, REDACTED, redact

TOKENS = st.text(string.ascii_letters + string.digits + "-._~+/=", min_size=12, max_size=80)
PLAIN = st.text(st.characters(codec="utf-8"), max_size=60)

QUOTED = (
    "{}",
    "The token {} is not valid.",
    '{{"error": "bad", "headers": {{"Authorization": "Bearer {}"}}}}',
    "Authorization: Custom {}\r\nHost: crm.example",
    "GET /v1/notes?access_token={}&limit=1 HTTP/1.1",
    "https://grace:{}@crm.example/api",
    '{{"message": "{{\\"refresh_token\\": \\"{}\\"}}"}}',
    "<error><session-id>{}</session-id></error>",
    "api_key={}",
    "api-key => '{}'",
    "&quot;client_secret&quot;:&quot;{}&quot;",
    "Set-Cookie: sid={}; HttpOnly",
    "password: {}",
)
"""Ways in which CRMs quote what they were sent. All but the first two can be told without knowing the secret."""

SPELLED = (
    str,
    str.upper,
    html.escape,
    lambda text: quote(text, safe=""),
    lambda text: json.dumps(text)[1:-1],
    lambda text: text.replace("/", "\\/"),
    lambda text: base64.b64encode(text.encode()).decode(),
)


def pieces(secret: str, size: int = 8) -> set[str]:
    return {secret[at : at + size].lower() for at in range(len(secret) - size + 1)}


def assert_clean(text: str, secret: str, around: str = "") -> None:
    """No eight characters in a row of the secret are in the text, but for those that stand around it anyway."""
    left = text.lower().replace(REDACTED, "\n")
    found = {piece for piece in pieces(secret) if piece in left}
    assert found <= {piece for piece in found if piece in around.lower()}, (secret, text)


@given(
    secret=TOKENS, quoted=st.sampled_from(QUOTED), spelled=st.sampled_from(SPELLED), before=PLAIN, after=PLAIN
)
def test_a_known_secret_never_survives_nor_do_its_pieces(
    secret: str, quoted: str, spelled: object, before: str, after: str
) -> None:
    assert callable(spelled)
    said = spelled(secret)
    text = f"{before} {quoted.format(said)} {after}"
    kept = redact(text, [f"Bearer {secret}"])
    assert_clean(kept, secret)
    assert_clean(kept, said)


@given(secret=TOKENS, start=st.integers(0, 40), size=st.integers(8, 40))
def test_a_piece_of_a_known_secret_does_not_survive(secret: str, start: int, size: int) -> None:
    piece = secret[start % (len(secret) - 7) :][:size]
    assert_clean(redact(f"unknown key {piece}... (shortened)", [secret]), secret)


@given(secret=TOKENS.filter(lambda text: any(map(str.isalnum, text))), quoted=st.sampled_from(QUOTED[2:]))
def test_what_follows_a_telling_name_does_not_survive_unknown(secret: str, quoted: str) -> None:
    said = quote(secret, safe="") if quoted.startswith("https:") else secret
    assert_clean(redact(quoted.format(said)), said)


@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "00Dxx0000001gPL!AR8AQJXg5oj8jXSgxJfA0lBog.39AsX.LVpxezPwuX5VAIrrbbHMuol7GQxnMeYMN7cj8EoWr78nt1u44zU31IbYNNJguseu",
        "AKIAIOSFODNN7EXAMPLE/bPxRfiCYEXAMPLEKEY1234567890",
    ],
)
def test_what_looks_like_a_token_does_not_survive(secret: str) -> None:
    assert_clean(redact(f"I do not know {secret} at all"), secret)


def test_the_password_of_a_basic_header_is_known() -> None:
    header = base64.b64encode(b"grace:hopper-1906").decode()
    assert "hopper-1906" not in redact("no user with hopper-1906", [f"Basic {header}"])


@given(secret=TOKENS, hidden=st.integers(0, 80))
def test_a_secret_that_is_cut_in_two_does_not_survive(secret: str, hidden: int) -> None:
    filler = "no. " * (READ // 4)
    text = filler[: READ - hidden % len(secret)] + secret + " and more"
    kept = redact(text[-READ:] if hidden % 2 else text, [secret])
    assert_clean(kept, secret)
    # Behind what was redacted before, the end of what was read may be kept too.
    long = "token=" + "y" * (READ - 12 - hidden % 10) + " " + secret
    left = redact(long, [secret]).replace(REDACTED, "")
    assert not any(left.rstrip("…").endswith(secret[:size]) for size in range(4, len(secret) + 1))


def test_what_a_person_needs_stays() -> None:
    body = json.dumps(
        {
            "errors": [
                {"code": "INVALID_FIELD", "message": "No such contact 0035g00000XyZ12", "field": "contactId"}
            ],
            "requestId": "4f0c7b1e-8a4c-4f57-9d42-6a1f6a3f0b77",
        }
    )
    assert redact(body, ["Bearer something-else-entirely"]) == body


@given(text=st.text(max_size=3 * LONGEST), secrets=st.lists(st.text(max_size=20), max_size=3))
def test_it_is_never_longer_than_what_is_kept(text: str, secrets: list[str]) -> None:
    assert len(redact(text, secrets)) <= LONGEST


@pytest.mark.parametrize(
    "text",
    ["a" * 10**6, "token" * 10**5, "<" * 10**5, "//" * 10**5, '\\"' * 10**5, "&quot;token&quot;:" * 10**4],
)
def test_a_hostile_answer_takes_no_time(text: str) -> None:
    began = time.process_time()
    redact(text, ["Bearer " + "a" * 200])
    assert time.process_time() - began < 5


def test_as_many_secrets_as_a_form_has_room_for_are_taken_out_at_once() -> None:
    """Looked for one by one, they would keep the process for half a minute."""
    words = [f"{number:05x}" for number in range(2**16, 2**16 + 14_000)]
    assert redact(f"a {words[0]} b {words[-1].upper()} c", [" ".join(words)]) == "a [redacted] b [redacted] c"
    assert redact("<p>" * READ, [" ".join(words)]).startswith("<p><p>")
