"""Who asks, as far as the request itself says: under which name it was sent here, from which page, from where."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

# Names that nobody can register in the public DNS, so that no web site can point one at a machine in here.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".test", ".home.arpa", ".svc")
_USUAL_PORTS = (":80", ":443")
_SUBNET = 64  # bits: what one customer gets of IPv6


class Hosts:
    """The names under which an engine is known.

    A web site can have its own name lead to an address in here, and its scripts then read and write as if they were
    ours (DNS rebinding). So requests are served under addresses, names that cannot be registered, and `allowed`.

    Args:
        allowed: Names separated by commas; `.example.com` stands for all below it, `*` for any.
    """

    def __init__(self, allowed: str) -> None:
        names = [name.strip().lower() for name in allowed.split(",") if name.strip()]
        self.any = "*" in names
        self._names = frozenset(name for name in names if not name.startswith("."))
        self._suffixes = tuple(name for name in names if name.startswith("."))

    def knows(self, name: str) -> bool:
        """Whether requests to this name are served."""
        return self.any or self.names(name) or "." not in name or name.endswith(_PRIVATE_SUFFIXES) or is_address(name)

    def names(self, name: str) -> bool:
        """Whether the name is one of those that were given."""
        return name in self._names or name.endswith(self._suffixes)


def host_name(authority: str) -> str:
    """The name or address in a `Host` header, in lower case, without port and brackets."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower().removesuffix(".")


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_of_another_site(headers: Mapping[str, str], hosts: Hosts) -> bool:
    """Whether a browser sends this for a page that is not ours. What is no browser says nothing of the kind."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
    try:
        authority = urlsplit(origin).netloc.lower()
    except ValueError:
        return True
    return not authority or (
        _without_usual_port(authority) != _without_usual_port(headers.get("host", "").lower())
        and not hosts.names(host_name(authority))
    )


def is_of_our_page(headers: Mapping[str, str]) -> bool:
    """Whether a script of ours asks for this. One of another origin could say so only if we allowed it to."""
    return headers.get("x-requested-with") == "workflow-engine"


def address_of(scope: Mapping[str, Any]) -> str:
    """Where a request comes from, for counting: an address, of IPv6 its network."""
    client = scope.get("client")
    if not client:
        return "unknown"
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return str(client[0])
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, _SUBNET), strict=False))
    return str(address)


def _without_usual_port(authority: str) -> str:
    for port in _USUAL_PORTS:
        authority = authority.removesuffix(port)
    return authority
