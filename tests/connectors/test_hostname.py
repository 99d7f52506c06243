"""What is a host's name stays one wherever it is put into a URL."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from messagelog.connectors.hostname import is_hostname

LETTERS = st.text("abz09-_.:/?#@\\[]%é \uff20\u3002\n\t;&=")


@given(LETTERS | st.text(max_size=12) | st.tuples(LETTERS, LETTERS).map(".crm.test".join))
def test_nothing_in_a_hostname_stands_for_another_part_of_a_url(text: str) -> None:
    if is_hostname(text):
        parts = urlsplit(f"https://{text}/api")
        assert (parts.netloc, parts.path, parts.query, parts.fragment) == (text, "/api", "", "")
        assert yarl.URL(f"https://{text}/api").raw_host == text.lower()


@pytest.mark.parametrize(
    "text",
    ["crm.test", "localhost", "temp", "a", "eu-1.crm.test", "my_crm.test", "10.0.0.1", "xn--bcher-kva.test"],
)
def test_names_of_hosts(text: str) -> None:
    assert is_hostname(text)


@pytest.mark.parametrize(
    "text", ["", ".", "crm.test.", "-a.test", "a-.test", "a" * 64, ".".join(["a" * 63] * 4)]
)
def test_what_is_none(text: str) -> None:
    assert not is_hostname(text)
