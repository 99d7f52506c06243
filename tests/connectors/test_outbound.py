"""No spelling of an address, no answer of the DNS and no redirect leads inside, but to hosts that are named."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvloop
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from messagelog.connectors import Credentials, CrmHttp, MediaUnavailable, OAuth, Rejected, Unavailable
from messagelog.connectors.outbound import NamedHosts, Outbound, find_refusal, is_public
from messagelog.core.delivery.media import MediaFetcher
from messagelog.core.users.oauth import OAuthClient, TokenEndpoint
from messagelog.messages import MediaAttachment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from hypothesis.strategies import SearchStrategy

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

INSIDE_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
INSIDE_V6 = [
    "::/8",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
BEFORE_V4 = ["::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "fe80::"]
"""Prefixes behind which an IPv4 address is an IPv6 one."""


def within(*networks: str) -> SearchStrategy[Address]:
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(network=network))


def embedded(address: ipaddress.IPv4Address, before: str) -> Address:
    return ipaddress.IPv6Address(int(ipaddress.IPv6Address(before)) + int(address))


@example(ipaddress.IPv4Address("192.0.0.192"))
@given(within(*INSIDE_V4, *INSIDE_V6))
def test_what_is_inside_is_not_public(address: Address) -> None:
    assert not is_public(str(address))


@given(st.ip_addresses(v=4), st.sampled_from(BEFORE_V4))
def test_no_ipv4_address_is_public_in_the_clothes_of_ipv6(
    address: ipaddress.IPv4Address, before: str
) -> None:
    assert not is_public(str(embedded(address, before)))
    assert not is_public(str(ipaddress.IPv6Address((0x2002 << 112) + (int(address) << 80) + 1)))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450::1"]
)
def test_what_is_public(address: str) -> None:
    assert is_public(address)


def test_an_address_of_a_link_is_none() -> None:
    assert not is_public("fe80::1%2")
    assert not is_public("2606:4700::1111%2")


# --------------------------------------------------------------------------------------------- real sockets


class Names(AbstractResolver):
    """A DNS that says what it is told to; each name has one answer after another, the last for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = {name.replace("_", "."): each for name, each in answers.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = self._answers.get(host)
        if answers is None:
            raise OSError(f"no such host: {host}")
        now = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in now
        ]

    async def close(self) -> None:
        pass


@dataclass
class Inside:
    """A server of this machine, on both of its loopback addresses, that must not be reached."""

    port: int = 0
    reached: int = 0
    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached += 1
        self.writers.append(writer)
        while await reader.readline():
            writer.write(self.answer)
            while await reader.readline() not in {b"\r\n", b""}:
                pass


@asynccontextmanager
async def inside() -> AsyncIterator[Inside]:
    found = Inside()
    async with await asyncio.start_server(found.connected, "127.0.0.1", 0) as server:
        found.port = server.sockets[0].getsockname()[1]
        async with await asyncio.start_server(found.connected, "::1", found.port):
            yield found
            for writer in found.writers:
                writer.close()


@asynccontextmanager
async def outbound(named: Collection[str] = (), **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    connector = Outbound(NamedHosts(named), use_dns_cache=False, **options)
    async with aiohttp.ClientSession(connector=connector) as client:
        yield client


async def refusal(client: aiohttp.ClientSession, url: str) -> str:
    """Why a URL is not asked."""
    with pytest.raises(aiohttp.ClientConnectorError) as raised:
        await client.get(url, ssl=False)
    refused = find_refusal(raised.value)
    assert refused is not None
    return str(refused)


def numbers(value: int) -> SearchStrategy[str]:
    """The spellings of a number that some parsers of addresses take."""
    return st.sampled_from(
        [f"{value}", f"{value:#x}", f"{value:#X}", f"0{value:o}", f"000{value:o}", f"{value:03d}"]
    )


def spelled(address: ipaddress.IPv4Address) -> SearchStrategy[str]:
    """Return the spellings of an IPv4 address: one to four numbers; the last has the rest."""
    octets = [int(part) for part in str(address).split(".")]

    def joined(count: int) -> SearchStrategy[str]:
        rest = int.from_bytes(bytes(octets[count - 1 :]), "big")
        return st.tuples(*map(numbers, (*octets[: count - 1], rest))).map(".".join)

    mapped = st.sampled_from(BEFORE_V4).map(lambda before: f"[{embedded(address, before)}]")
    long = st.sampled_from(BEFORE_V4).map(lambda before: f"[{embedded(address, before).exploded}]")
    dotted = st.just(f"[::ffff:{address}]")
    odd = st.sampled_from(
        [
            f"{address}.",
            str(address).translate(str.maketrans("0127", "０①②⑦")),
            str(address).replace(".", "。"),
        ]
    )
    return st.integers(1, 4).flatmap(joined) | mapped | long | dotted | odd


LOOPBACK = st.just("127.0.0.1") | st.ip_addresses(network="127.0.0.0/8").map(str)
HOSTS = LOOPBACK.map(ipaddress.IPv4Address).flatmap(spelled) | st.sampled_from(
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost..",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "0.0.0.0",  # noqa: S104 - asked, not bound to
        "0",
        "[::1%1]",
        "[::1%lo]",
    ]
)


def test_no_spelling_of_this_machine_reaches_it() -> None:
    with asyncio.Runner() as runner:

        @given(HOSTS, st.sampled_from(["http", "https"]))
        @settings(max_examples=80)
        @example("127.1", "https")
        @example("2130706433", "https")
        @example("0x7f.1", "https")
        @example("0177.0.0.1", "https")
        @example("[::ffff:127.0.0.1]", "https")
        @example("[::1%lo]", "https")
        @example("0", "http")
        def check(host: str, scheme: str) -> None:
            runner.run(reach_no_server(f"{scheme}://{host}"))

        check()


async def reach_no_server(origin: str) -> None:
    async with inside() as listener, outbound() as client:
        url = f"{origin}:{listener.port}/secret"
        with pytest.raises((aiohttp.ClientError, ValueError)):
            await client.get(url, ssl=False)
        with pytest.raises((Rejected, Unavailable, ValueError)):  # and never an unknown outcome
            await CrmHttp(client, url).post("/activities", json={})
        assert listener.reached == 0


async def test_they_would_be_reached_otherwise() -> None:
    """So that the test above is not about a server that is not there."""
    async with inside() as listener, outbound({"127.0.0.0/8", "::1"}) as client:
        for host in ("127.0.0.1", "localhost", "0x7f.1", "[::1]"):
            async with client.get(f"http://{host}:{listener.port}/") as answer:
                assert answer.status == 200
        assert listener.reached == 4


# ------------------------------------------------------------------------------------------------- the DNS


async def test_what_a_name_leads_to_is_looked_at_each_time() -> None:
    """An answer of the DNS that changes between two look-ups (DNS rebinding) changes nothing."""
    names = Names(crm_test=[["127.0.0.1"], ["::1"], ["10.0.0.1", "127.0.0.1", "::1"]])
    async with inside() as listener, outbound(resolver=names) as client:
        for _ in range(4):
            told = await refusal(client, f"https://crm.test:{listener.port}/")
            assert told == "the address of crm.test is not a public one"
        assert listener.reached == 0


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_each_of_several_addresses_is_looked_at(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """They are tried in tasks of their own, side by side."""

    async def ask() -> None:
        names = Names(
            crm_test=[["::1", "127.0.0.1", "::", "10.0.0.1"]], mixed_test=[["10.0.0.1", "127.0.0.1"]]
        )
        async with inside() as listener, outbound({"127.0.0.1"}, resolver=names) as client:
            async with client.get(f"http://mixed.test:{listener.port}/") as answer:
                assert answer.status == 200
            assert listener.reached == 1
        async with inside() as listener, outbound(resolver=names) as client:
            await refusal(client, f"https://crm.test:{listener.port}/")
            assert listener.reached == 0

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask())


async def test_a_redirect_does_not_lead_inside() -> None:
    names = Names(crm_test=[["127.0.0.1"]], inside_test=[["127.0.0.1"]])
    async with inside() as listener, outbound({"crm.test"}, resolver=names) as client:
        location = f"https://inside.test:{listener.port}/secret"
        listener.answer = f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()
        told = await refusal(client, f"http://crm.test:{listener.port}/")
        assert told == "the address of inside.test is not a public one"
        assert listener.reached == 1


async def test_a_connection_to_a_host_that_is_named_serves_no_other() -> None:
    names = Names(crm_test=[["127.0.0.1"]], other_test=[["127.0.0.1"]])
    async with inside() as listener, outbound({"CRM.test."}, resolver=names) as client:
        async with client.get(f"http://crm.test:{listener.port}/") as answer:
            assert await answer.read() == b"{}"
        await refusal(client, f"https://other.test:{listener.port}/")
        await refusal(client, f"https://127.0.0.1:{listener.port}/")
        async with client.get(f"http://crm.test:{listener.port}/") as answer:
            assert answer.status == 200
        assert listener.reached == 1, "the earlier connection"


async def test_a_public_host_is_not_asked_in_the_clear() -> None:
    async with outbound(resolver=Names(crm_test=[["1.1.1.1"]])) as client:
        told = await refusal(client, "http://crm.test/")
        assert told == "crm.test is not asked over http, which is in the clear"


async def test_without_a_request_there_is_no_socket() -> None:
    connector = Outbound(NamedHosts())
    with pytest.raises(OSError, match="in the clear"):
        connector._make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("1.1.1.1", 443)))
    await connector.close()


# ------------------------------------------------------------------------------------------- who is told


async def test_a_refusal_names_the_host_alone_and_is_told_once() -> None:
    with capture_logs() as lines:
        async with inside() as listener, outbound() as client:
            base = f"https://localhost:{listener.port}/api/secret-path"
            http = CrmHttp(client, base, headers={"Authorization": "Bearer secret-key"})
            for call in (http.get("/a", params={"key": "secret"}), http.post("/b", json={"text": "secret"})):
                with pytest.raises(Rejected) as raised:
                    await call
                assert raised.value.detail == "the address of localhost is not a public one"
                assert raised.value.__cause__ is None
            assert listener.reached == 0
    (line,) = lines
    assert (line["event"], line["log_level"], line["host"]) == ("address_refused", "warning", "localhost")
    assert line["setting"] == "MESSAGELOG_PRIVATE_HOSTS", "the operator reads what to do about it"
    assert "secret" not in str(line)


async def test_media_inside_are_not_fetched() -> None:
    async with inside() as listener, outbound() as client:
        host = f"localhost:{listener.port}"
        opener = MediaFetcher(client, {host}).opener("secret-token")
        assert opener is not None
        attachment = MediaAttachment(
            id="1",
            kind="file",
            content_type=None,
            file_name=None,
            size=None,
            duration=None,
            uri=f"https://{host}/file",
            view_link=None,
        )
        with pytest.raises(MediaUnavailable, match="the address of localhost is not a public one"):
            async with opener(attachment):
                pass
        assert listener.reached == 0


async def test_an_authorization_server_inside_is_not_asked() -> None:
    async with inside() as listener, outbound() as client:
        url = f"https://localhost:{listener.port}/token"
        oauth = OAuth(authorization_url=url, token_url=url, revocation_url=url)
        endpoint = TokenEndpoint(client, seconds=5, clock=lambda: 0)
        with pytest.raises(Rejected, match="the address of localhost is not a public one"):
            await endpoint.exchange(
                oauth, OAuthClient("id", "secret"), code="1", redirect_uri="https://x.test", verifier=None
            )
        with pytest.raises(Rejected):
            await endpoint.revoke(oauth, OAuthClient("id", "secret"), Credentials(access_token="token"))
        assert listener.reached == 0


# --------------------------------------------------------------------------------------------- who is named


@pytest.mark.parametrize(
    ("named", "host", "address", "has"),
    [
        ("crm.test", "crm.test", "10.0.0.1", True),
        ("crm.test", "CRM.TEST.", "10.0.0.1", True),
        ("crm.test", "www.crm.test", "10.0.0.1", False),
        ("10.0.0.0/8", "crm.test", "10.200.0.1", True),
        ("10.0.0.0/8", "crm.test", "11.0.0.1", False),
        ("127.0.0.1", "crm.test", "127.0.0.1", True),
        ("127.0.0.1", "crm.test", "::ffff:127.0.0.1", False),
        ("[::1]", "[::1]", "::1", True),
        ("fd00::/8", "crm.test", "fd00::1", True),
    ],
)
def test_hosts_are_named_by_name_address_or_network(named: str, host: str, address: str, has: bool) -> None:
    assert NamedHosts({named}).has(host, address) is has


@pytest.mark.parametrize(
    "named", ["https://crm.test", "crm.test:8080", "*", "", "10.0.0.1/8", "0.0.0.0/0", "::/0"]
)
def test_what_names_no_host(named: str) -> None:
    with pytest.raises(ValueError, match=r"neither|every"):
        NamedHosts({named})
