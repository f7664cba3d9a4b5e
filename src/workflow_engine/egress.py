"""Where requests may go. Judged are addresses, at the moment of the connection: a name may lead anywhere, and elsewhere
a second later.

There are two walls. The surroundings of the machine are closed to all that an author writes, always: a cloud tells
every process there the machine's credentials. An address written so that people do not recognise it (`2130706433`,
`0x7f.1`) is never written by accident, and closed as well. Where egress is *guarded*, only port 443 of public addresses
is open, and what the operator allows beside it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOKS_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_PORT = re.compile(r"(.*):(\d{1,5})")
_HIGHEST_PORT = 65535
_HTTPS = 443
_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


_SURROUNDINGS = _networks(
    "169.254.0.0/16", "fe80::/10", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::254/128",
    "fd20:ce::254/128", "fd00:42::42/128", "224.0.0.0/4", "ff00::/8",
)  # fmt: skip
# Python's `is_global` and `is_private` are no filters: they take NAT64 and 6to4 of a private address for public ones.
_NOT_PUBLIC = _networks(
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def forbidden_host(host: str) -> str | None:
    """Why a host, as written in a URL, may never be called; None when it may be tried."""
    name = unicodedata.normalize("NFKC", host).lower().rstrip(".")
    if name in _NAMES:
        return "tells the secrets of the machine"
    address = _address(name)
    if address is None:
        return None
    if isinstance(address, ipaddress.IPv4Address) and name != str(address):
        return f"is the address {address} in disguise: write it in its usual form"
    return "is an address of the machine's surroundings" if _of_surroundings(address) else None


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an operator opens beside the public internet: one host, all below a domain, or a network; or one port.

    Attributes:
        port: The only one that is meant; None = all.
        host: In lower case; with a dot in front, all hosts below that domain.
        network: None with `host` = every public address, at `port`.
    """

    port: int | None
    host: str | None = None
    network: _Network | None = None

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """
        Raises:
            ValueError: What is wrong with it.
        """
        if "://" in text:
            raise ValueError(f"{text!r}: write a host, a domain (.example.com) or a network, not a URL")
        where, port = _split_port(text.strip().lower())
        if where == "*":
            if port is None:
                raise ValueError("'*' needs a port, such as *:80, which is then open at all public addresses")
            return cls(port)
        try:
            return cls(port, network=ipaddress.ip_network(where))
        except ValueError as error:
            if "/" in where or _LOOKS_NUMERIC.fullmatch(where) or ":" in where:
                raise ValueError(f"{text!r} is no network: {error}") from None
        name = where.removeprefix("*")
        if not name.isascii():
            name = name.encode("idna").decode()
        if not _HOST.fullmatch(name.removeprefix(".")):
            raise ValueError(f"{text!r} is no host, no domain (.example.com) and no network (10.0.0.0/8)")
        return cls(port, host=name)

    def opens(self, host: str, port: int, address: _Address) -> bool:
        """Whether a connection to this address under this name may be made, though it is not public."""
        if self.port not in (None, port):
            return False
        if self.host is not None:
            return host.endswith(self.host) if self.host.startswith(".") else host == self.host
        return self.network is not None and any(_within(one, self.network) for one in (address, _unwrapped(address)))

    def opens_port(self, port: int) -> bool:
        """Whether this port is open at all public addresses."""
        return self.host is None and self.network is None and self.port == port


@dataclass(frozen=True, slots=True)
class Egress:
    """The policy of a process for what an author, a model or a target wants to have called.

    Attributes:
        guarded: Whether anything is closed but the machine's surroundings.
        allowed: What is open all the same.
    """

    guarded: bool = False
    allowed: tuple[Allowed, ...] = ()

    def refusal(self, host: str, port: int, addresses: Iterable[str]) -> str | None:
        """Why a host may not be connected to, given every address it has now; None when it may.

        One that may not be called closes them all: who answers with a public and a private address wants the latter
        to be tried. The reason does not tell addresses, for a stranger may read it.
        """
        name = host.lower().rstrip(".")
        return next(filter(None, (self._refusal(name, port, ipaddress.ip_address(one)) for one in addresses)), None)

    def _refusal(self, host: str, port: int, address: _Address) -> str | None:
        if _of_surroundings(address):
            return "has an address of the machine's surroundings"
        if not self.guarded or any(entry.opens(host, port, address) for entry in self.allowed):
            return None
        if not _is_public(address):
            return "has an address that is not public, and WORKFLOW_EGRESS_ALLOW does not name it"
        if port != _HTTPS and not any(entry.opens_port(port) for entry in self.allowed):
            return f"may be called by https on port {_HTTPS} only: WORKFLOW_EGRESS_ALLOW opens no port {port} there"
        return None


def parse_allowed(text: str) -> tuple[Allowed, ...]:
    """The entries of a text, separated by commas.

    Raises:
        ValueError: What is wrong with the first that is wrong.
    """
    return tuple(Allowed.parse(entry) for entry in text.split(",") if entry.strip())


def _split_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:80`, `[fd00::/8]:80`, `fd00::/8`: where, and which port."""
    if text.startswith("["):
        inner, _, rest = text[1:].partition("]")
        where, found = inner, _PORT.fullmatch(rest)
        if rest and (found is None or found[1]):
            raise ValueError(f"{text!r}: after the bracket only a port may follow")
    else:
        found = _PORT.fullmatch(text) if text.count(":") == 1 else None
        where = found[1] if found else text
    port = int(found[2]) if found else None
    if port is not None and not 1 <= port <= _HIGHEST_PORT:
        raise ValueError(f"{text!r}: there is no port {port}")
    return where, port


def _address(name: str) -> _Address | None:
    try:
        return ipaddress.ip_address(name.partition("%")[0].strip("[]"))
    except ValueError:
        pass
    if not _LOOKS_NUMERIC.fullmatch(name):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))  # as resolvers read it; nothing is resolved
    except OSError:
        return None


def _of_surroundings(address: _Address) -> bool:
    inner = _unwrapped(address)
    return any(_within(one, network) for one in (address, inner) for network in _SURROUNDINGS)


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if inner := address.ipv4_mapped or (_last_32_bits(address) if address in _NAT64 else None):
            return _is_public(inner)
        if address not in _PUBLIC_V6:
            return False
    return not _of_surroundings(address) and not any(_within(address, network) for network in _NOT_PUBLIC)


def _within(address: _Address, network: _Network) -> bool:
    return address.version == network.version and address in network


def _unwrapped(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64 or address.packed[:12] == bytes(12):
        return _last_32_bits(address)
    return address.ipv4_mapped or address.sixtofour or address


def _last_32_bits(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(address.packed[12:])
