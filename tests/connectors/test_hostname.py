"""What is a host's name stays one wherever it is put into a URL, and all spellings of a host are one."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from messagelog.connectors.hostname import host_of, is_hostname, normal_hostname

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


# ----------------------------------------------------------------------------------------------- one host, or two

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda label: label[2:4] != "--"
)
UNICODE_LABEL = st.text("abcäöüßéøñçжшдλπ中文日本", min_size=1, max_size=6)
ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda each: f"[{each}]")
HOSTS = st.lists(LABEL | UNICODE_LABEL, min_size=1, max_size=3).map(".".join) | ADDRESSES
PORTS = st.none() | st.integers(1, 65535)


@st.composite
def spelled(draw: st.DrawFn, scheme: str, host: str, port: int | None) -> str:
    """A URL of a host in one of its spellings."""
    default = {"http": 80, "https": 443}[scheme]
    forms = [host, host.upper() if host.isascii() else host]
    if not host.startswith("["):
        forms += [each + "." for each in forms]
    if not host.isascii():
        forms += [yarl.URL(f"https://{host}").raw_host or "", host.replace(".", "\u3002")]
    if host.startswith("["):
        forms.append(f"[{ipaddress.ip_address(host.strip('[]')).exploded}]")
    ports = [f":{port}"] if port is not None else ["", f":{default}"]
    if port == default:
        ports.append("")
    user = draw(st.sampled_from(("", "user@", "user:word@")))
    behind = draw(st.sampled_from(("", "/", "/api", "/api?x=https://evil.test", "#@evil.test")))
    said = draw(st.sampled_from((scheme, scheme.upper())))
    return f"{said}://{user}{draw(st.sampled_from(forms))}{draw(st.sampled_from(ports))}{behind}"


@given(st.data(), st.sampled_from(("http", "https")), HOSTS, PORTS)
def test_all_spellings_of_a_host_are_one(
    data: st.DataObject, scheme: str, host: str, port: int | None
) -> None:
    one, other = (data.draw(spelled(scheme, host, port)) for _ in range(2))
    assert host_of(one) == host_of(other)
    assert host_of(host_of(one)) == host_of(one)
    assert host_of(one).isascii()


@given(st.data(), *[st.tuples(st.sampled_from(("http", "https")), HOSTS, PORTS)] * 2)
def test_no_spelling_makes_one_host_of_two(
    data: st.DataObject, one: tuple[str, str, int | None], other: tuple[str, str, int | None]
) -> None:
    """Two are one only where the machine that is connected to is one: its name, its port and its scheme."""
    first, second = (data.draw(spelled(*each)) for each in (one, other))
    connected_to = [
        (url.scheme, (url.raw_host or "").rstrip("."), url.port)
        for url in (yarl.URL(first), yarl.URL(second))
    ]
    assert (host_of(first) == host_of(second)) is (connected_to[0] == connected_to[1])


@given(st.data(), st.lists(LABEL | UNICODE_LABEL, min_size=1, max_size=3).map(".".join))
def test_all_spellings_of_a_name_are_one(data: st.DataObject, name: str) -> None:
    url = yarl.URL(data.draw(spelled("https", name, None)))
    said = url.host if data.draw(st.booleans()) else url.raw_host
    assert normal_hostname(said or "") == normal_hostname(name)
    assert normal_hostname(name) == host_of(f"https://{name}").removeprefix("https://")


@given(LETTERS | st.text(max_size=12))
def test_a_normal_name_is_a_name(text: str) -> None:
    name = normal_hostname(text)
    if name is not None:
        assert is_hostname(name)
        assert normal_hostname(name) == name == name.lower()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://crm.test", "https://crm.test"),
        ("HTTPS://CRM.test.:443/api", "https://crm.test"),
        ("http://crm.test:8069", "http://crm.test:8069"),
        ("http://crm.test", "http://crm.test"),
        ("https://b\u00fccher.test", "https://xn--bcher-kva.test"),
        ("https://[0:0:0:0:0:0:0:1]:8443", "https://[::1]:8443"),
    ],
)
def test_how_a_host_is_written(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/api",
        "crm.test",
        "ftp://crm.test",
        "https://",
        "https://crm..test",
        "https://a b/",
        "https://x:99999",
    ],
)
def test_a_url_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        host_of(url)
