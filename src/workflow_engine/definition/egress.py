"""Addresses that no step may call, wherever the engine runs: those of this host's surroundings, and disguised ones.

A cloud tells every process on a machine the machine's credentials at a link-local address. An address written so that
people do not recognise it (`2130706433`, `0x7f.1`) is never written by accident.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOKS_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")
_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",
        "fe80::/10",
        "168.63.129.16/32",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "fd00:ec2::254/128",
        "224.0.0.0/4",
        "ff00::/8",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def forbidden_host(host: str) -> str | None:
    """Why a host, as written in a URL, may not be called; None when it may be tried."""
    name = unicodedata.normalize("NFKC", host).lower().rstrip(".")
    if name in _NAMES:
        return "tells the secrets of the machine"
    address = _address(name)
    if address is None:
        return None
    if isinstance(address, ipaddress.IPv4Address) and name != str(address):
        return f"is the address {address} in disguise: write it in its usual form"
    inner = _unwrapped(address)
    if any(one in network for one in (address, inner) for network in _NETWORKS if one.version == network.version):
        return "is an address of the machine's surroundings"
    return None


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


def _unwrapped(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64 or address.packed[:12] == bytes(12):
        return ipaddress.IPv4Address(address.packed[12:])
    return address.ipv4_mapped or address.sixtofour or address
