"""Connects to public addresses over TLS, and to private hosts that the operator names.

Users say where their CRM is, and messages say where their media are. Neither may make this server ask another machine
of its own network, nor itself. So each address is checked when a socket is made for it, which is after every look-up of
a name and for every hop of a redirect: the address that was checked is the one that is connected to.
"""

from __future__ import annotations

import ipaddress
import socket
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import structlog

from messagelog.connectors.hostname import is_hostname
from messagelog.errors import MessagelogError

if TYPE_CHECKING:
    from collections.abc import Collection

    _Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TLS: Final = frozenset({"https", "wss"})

# Public by their numbers (to older Pythons), and yet a way into private networks: relays of 6to4, Azure's host of
# each machine, and the IETF's own network, with gateways that are always the nearest ones, and Oracle's host.
_NOT_PUBLIC_V4: Final = tuple(
    map(ipaddress.IPv4Network, ("192.88.99.0/24", "168.63.129.16/32", "192.0.0.0/24"))
)

# All public IPv6 addresses are in the first of these. Not public are those that lead to an IPv4 address (Teredo, 6to4;
# NAT64's and mapped ones are elsewhere), and those for documentation; older Pythons know only one of those networks.
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)

_MOST_LOGGED: Final = 1000  # hosts: users name them, and must not fill the log

SETTING: Final = "MESSAGELOG_PRIVATE_HOSTS"
"""The setting in which the operator names such hosts."""

_log = structlog.get_logger(__name__)

# The scheme and host that are asked for: the maker of a socket gets an address and nothing else. (Tasks that are
# started meanwhile, one for each address of a host, have it too.)
_asked: ContextVar[tuple[str, str] | None] = ContextVar("messagelog_outbound", default=None)


class AddressRefused(MessagelogError, OSError):
    """A host that this server does not connect to. The text holds the host's name, and neither a URL nor an address."""


class NamedHosts:
    """The hosts that the operator names: host names, addresses and networks. Raises `ValueError` for anything else."""

    def __init__(self, named: Collection[str] = ()) -> None:
        self._names: set[str] = set()
        self._networks: list[_Network] = []
        for each in named:
            network = _network(each)
            if network is None and not is_hostname(_plain(each)):
                raise ValueError(f"{each} is neither a host name, nor an address, nor a network")
            if network is None:
                self._names.add(_plain(each))
            elif network.prefixlen == 0:
                raise ValueError(f"{each} would be every host there is")
            else:
                self._networks.append(network)

    def has(self, host: str, address: str) -> bool:
        """Return whether a host is named, or the address that it is at."""
        if _plain(host) in self._names:
            return True
        at = ipaddress.ip_address(address)
        return any(at in network for network in self._networks)


class Outbound(aiohttp.TCPConnector):
    """Makes the connections of an `aiohttp.ClientSession`, and refuses those to private addresses or without TLS.

    A refusal is a `ClientConnectorError` as any other, with `AddressRefused` in it: see `find_refusal`.
    """

    def __init__(self, named: NamedHosts, **options: Any) -> None:
        super().__init__(**options, socket_factory=self._make_socket)
        self._named = named
        self._logged: set[str] = set()

    async def connect(self, req: aiohttp.ClientRequest, *how: Any, **named: Any) -> Any:
        """Return a connection for this request, an existing or a new one."""
        asking = _asked.set((req.url.scheme, req.url.raw_host or ""))
        try:
            return await super().connect(req, *how, **named)
        finally:
            _asked.reset(asking)

    def _make_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Make the socket for an address. Without a host that was asked for there is none."""
        family, type_, protocol, _, place = info
        scheme, host = _asked.get() or ("", "")
        address = str(place[0])
        if not self._named.has(host, address):
            if scheme not in _TLS:
                raise self._refusal(
                    host, f"{host} is not asked over {scheme or 'this'}, which is in the clear"
                )
            if not is_public(address):
                raise self._refusal(host, f"the address of {host} is not a public one")
        return socket.socket(family, type_, protocol)

    def _refusal(self, host: str, why: str) -> AddressRefused:
        if host not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add(host)
            _log.warning("address_refused", host=host, why=why, setting=SETTING)
        return AddressRefused(why)


def find_refusal(error: Exception) -> AddressRefused | None:
    """Return the refusal behind an error of aiohttp's; None if it is another error."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    return inner if isinstance(inner, AddressRefused) else None


def is_public(address: str) -> bool:
    """Return whether an IP address is public: not of a private network, this machine, a link or a group."""
    at = ipaddress.ip_address(address)
    if not at.is_global or at.is_multicast or at.is_reserved:
        return False
    if isinstance(at, ipaddress.IPv4Address):
        return not any(at in network for network in _NOT_PUBLIC_V4)
    return at.scope_id is None and at in _PUBLIC_V6 and not any(at in network for network in _NOT_PUBLIC_V6)


def _network(text: str) -> _Network | None:
    """Return a network, or an address as a network of one; None for a name."""
    try:
        return ipaddress.ip_network(text.strip("[]"))
    except ValueError:
        return None


def _plain(host: str) -> str:
    return host.lower().rstrip(".")
