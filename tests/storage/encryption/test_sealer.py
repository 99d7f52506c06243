"""What is stored sealed opens with the same secret, in the same row, unaltered; and in no other way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagelog.storage import Sealer
from messagelog.storage.encryption.sealer import DataKeys, SealBroken, key_id_of

SECRET = "a-secret-for-tests-0123456789-abcdef"
SEALER = Sealer(SECRET)
ROW = ("messageLogs", "acme", "crm", "1")
TEXT = b"the gate code is 4711"
HEAD = 5

contexts = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=5).map(tuple)


@given(st.binary(max_size=300), contexts)
def test_what_is_sealed_opens_again(text: bytes, context: tuple[str, ...]) -> None:
    assert SEALER.open(SEALER.seal(text, *context), *context) == text


def test_another_sealer_of_the_same_secret_opens_it() -> None:
    assert Sealer(SECRET).open(SEALER.seal(TEXT, *ROW), *ROW) == TEXT


def test_another_secret_does_not_open_it() -> None:
    with pytest.raises(SealBroken, match="another secret key"):
        Sealer(SECRET + "!").open(SEALER.seal(TEXT, *ROW), *ROW)


@pytest.mark.parametrize(
    "other",
    [
        ("users", "acme", "crm", "1"),
        ("messageLogs", "globex", "crm", "1"),
        ("messageLogs", "acme", "other", "1"),
        ("messageLogs", "acme", "crm", "2"),
        ("messageLogs", "acme", "crm"),
        (*ROW, ""),
        (),
    ],
)
def test_another_row_does_not_open_it(other: tuple[str, ...]) -> None:
    with pytest.raises(SealBroken, match="another row"):
        SEALER.open(SEALER.seal(TEXT, *ROW), *other)


@given(contexts, contexts)
def test_no_two_contexts_are_one(ours: tuple[str, ...], other: tuple[str, ...]) -> None:
    sealed = SEALER.seal(TEXT, *ours)
    if ours == other:
        assert SEALER.open(sealed, *other) == TEXT
    else:
        with pytest.raises(SealBroken):
            SEALER.open(sealed, *other)


parts = st.text(st.sampled_from("a1:\0é"), max_size=6)


@given(parts, parts, st.data())
def test_what_two_parts_say_cannot_be_shifted_between_them(
    first: str, second: str, data: st.DataObject
) -> None:
    joined = first + second
    place = data.draw(st.integers(0, len(joined)).filter(lambda place: place != len(first)))
    with pytest.raises(SealBroken):
        SEALER.open(SEALER.seal(TEXT, "t", first, second), "t", joined[:place], joined[place:])


@given(parts, parts)
def test_a_part_that_looks_like_two_is_one(first: str, second: str) -> None:
    forged = f"{first}{len(second.encode())}:{second}"
    with pytest.raises(SealBroken):
        SEALER.open(SEALER.seal(TEXT, first, second), forged)


def test_any_altered_byte_is_noticed() -> None:
    sealed = SEALER.seal(TEXT, *ROW)
    for place in range(len(sealed)):
        for bit in range(8):
            altered = bytearray(sealed)
            altered[place] ^= 1 << bit
            with pytest.raises(SealBroken):
                SEALER.open(bytes(altered), *ROW)


def test_any_missing_or_added_byte_is_noticed() -> None:
    sealed = SEALER.seal(TEXT, *ROW)
    for end in range(len(sealed)):
        with pytest.raises(SealBroken):
            SEALER.open(sealed[:end], *ROW)
    with pytest.raises(SealBroken):
        SEALER.open(sealed + b"\0", *ROW)


@given(st.binary(max_size=80))
def test_bytes_that_nobody_sealed_do_not_open(forged: bytes) -> None:
    head = SEALER.seal(b"", *ROW)[:HEAD]
    for sealed in (forged, head + forged):
        with pytest.raises(SealBroken):
            SEALER.open(sealed, *ROW)


@given(st.binary(min_size=4, max_size=100), st.text(st.characters(codec="utf-8"), min_size=4, max_size=20))
def test_neither_text_nor_context_is_in_the_bytes(text: bytes, name: str) -> None:
    sealed = SEALER.seal(text, "messageLogs", name)
    assert text not in sealed
    assert name.encode() not in sealed
    assert b"messageLogs" not in sealed
    assert SECRET.encode() not in sealed


def test_equal_texts_are_sealed_differently() -> None:
    assert len({SEALER.seal(TEXT, *ROW) for _ in range(100)}) == 100


def test_each_purpose_has_a_key_of_its_own() -> None:
    keys = keys_of(SEALER)
    assert len(set(keys)) == 4
    assert {len(key) for key in keys} == {32}
    assert keys == keys_of(Sealer(SECRET))
    assert not set(keys_of(Sealer(SECRET + "!"))) & set(keys)


def keys_of(sealer: Sealer) -> tuple[bytes, ...]:
    return sealer.entry_key, sealer.account_key, sealer.token_keys.signing, sealer.state_keys.signing


# ------------------------------------------------------------------------------------------------- rings

SECRETS = tuple(f"secret key number {number} of the tests, 0123456789" for number in range(5))
rings = st.lists(st.sampled_from(SECRETS), min_size=1, unique=True)


def ring(secrets: list[str]) -> Sealer:
    return Sealer(secrets[0], secrets[1:])


@given(rings, rings, contexts, st.binary(max_size=50))
def test_a_ring_opens_what_one_of_its_secrets_sealed_and_nothing_else(
    ours: list[str], theirs: list[str], context: tuple[str, ...], text: bytes
) -> None:
    sealed = ring(theirs).seal(text, *context)
    assert key_id_of(sealed) == Sealer(theirs[0]).key_id
    if theirs[0] in ours:
        assert ring(ours).open(sealed, *context) == text
    else:
        with pytest.raises(SealBroken, match="another secret key"):
            ring(ours).open(sealed, *context)


@given(rings, contexts, contexts, st.data())
def test_a_ring_opens_no_other_row_and_nothing_altered(
    secrets: list[str], context: tuple[str, ...], other: tuple[str, ...], data: st.DataObject
) -> None:
    sealed = Sealer(data.draw(st.sampled_from(secrets))).seal(TEXT, *context)
    if other != context:
        with pytest.raises(SealBroken):
            ring(secrets).open(sealed, *other)
    altered = bytearray(sealed)
    altered[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        ring(secrets).open(bytes(altered), *context)


@given(rings)
def test_a_value_that_says_it_is_under_another_key_of_the_ring_does_not_open(secrets: list[str]) -> None:
    sealed = ring(secrets).seal(TEXT, *ROW)
    for other in secrets[1:]:
        forged = sealed[:1] + Sealer(other).key_id + sealed[HEAD:]
        with pytest.raises(SealBroken):
            ring(secrets).open(forged, *ROW)


@given(rings)
def test_the_keys_of_a_ring_are_those_of_its_secrets(secrets: list[str]) -> None:
    sealer = ring(secrets)
    assert sealer.key_ids == tuple(Sealer(secret).key_id for secret in secrets)
    for secret in secrets:
        alone = Sealer(secret)
        assert sealer.token_keys.by_id[alone.key_id.hex()] == alone.token_keys.signing
        assert sealer.state_keys.by_id[alone.key_id.hex()] == alone.state_keys.signing
        assert sealer.derive_keys(alone.key_id) == DataKeys(alone.entry_key, alone.account_key)
    assert sealer.token_keys.signing == Sealer(secrets[0]).token_keys.signing


def test_two_secrets_with_one_key_id_cannot_be_in_one_ring() -> None:
    one, other = (f"two-secret-keys-with-one-key-id-{number}" for number in (14195, 71911))
    assert Sealer(one).key_id == Sealer(other).key_id
    with pytest.raises(ValueError, match="same key id"):
        Sealer(one, [other])


def test_nothing_that_is_printed_shows_a_key() -> None:
    sealer = Sealer(SECRETS[0], SECRETS[1:])
    shown = repr((sealer, sealer.token_keys, sealer.derive_keys(sealer.key_id)))
    for key in (*keys_of(sealer), *sealer.token_keys.by_id.values()):
        assert repr(key)[2:-1] not in shown
    assert SECRETS[1] not in shown
