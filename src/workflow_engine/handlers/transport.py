"""Connections to targets: each is made to an address that was judged.

What the operator wrote into the settings (models, Agent Mesh, MCP servers by name) is called as it stands, over a pool
of its own: a connection that was never judged must not be there for a step that writes the same address into its URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import httpcore
import httpx

from workflow_engine.egress import Egress
from workflow_engine.errors import TaskError
from workflow_engine.handlers.output import storable_text
from workflow_engine.handlers.threads import Threads
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger

_TRUSTED = "workflow_engine.trusted"
_NEXT_ADDRESS_SECONDS = 0.5  # until the next address of a host is tried
_MOST_ADDRESSES = 8
_MOST_LOOKUPS = 16

_log = get_logger("egress")


def trust(request: httpx.Request) -> None:
    """Send a request where the operator's settings lead, whatever the policy says of that address."""
    request.extensions[_TRUSTED] = True


def distrust(request: httpx.Request) -> None:
    """Judge where a request goes after all: for one that a target redirects elsewhere."""
    request.extensions.pop(_TRUSTED, None)


def is_trusted(request: httpx.Request) -> bool:
    return _TRUSTED in request.extensions


def denied(host: str, reason: str, **facts: Any) -> TaskError:
    """The error of a host that no step may call. Counted and logged, with facts that are for operators only."""
    metrics.egress_denied.inc()
    _log.warning("egress denied", host=host, reason=reason, **facts)
    return TaskError("egress_denied", f"The host {storable_text(host, 300)} {reason}.", retryable=False)


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over two pools. Belongs to one event loop.

    Args:
        egress: Judges every connection for a request that is not trusted.
        limits: Of each pool.
    """

    def __init__(self, egress: Egress, limits: httpx.Limits) -> None:
        self._limits = limits
        # From the environment only SSL_CERT_FILE and SSL_CERT_DIR are read, an operator's own authorities; no proxies.
        self._certificates = httpx.create_ssl_context(trust_env=True)
        self._resolvers = Threads(_MOST_LOOKUPS, name="resolver")
        self._trusted = self._pool(None)
        self._judged = self._pool(egress)

    def _pool(self, egress: Egress | None) -> httpx.AsyncHTTPTransport:
        transport = httpx.AsyncHTTPTransport(verify=self._certificates, trust_env=False)
        transport._pool = httpcore.AsyncConnectionPool(  # httpx has no parameter for the network
            ssl_context=self._certificates,
            max_connections=self._limits.max_connections,
            max_keepalive_connections=self._limits.max_keepalive_connections,
            keepalive_expiry=self._limits.keepalive_expiry,
            network_backend=_Network(self._resolvers, egress),
        )
        return transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await (self._trusted if is_trusted(request) else self._judged).handle_async_request(request)

    async def aclose(self) -> None:
        await self._trusted.aclose()
        await self._judged.aclose()
        self._resolvers.close()


class _Network(httpcore.AsyncNetworkBackend):
    """Resolves a host once, judges all that comes of it, and connects to those very addresses.

    TLS and the `Host` header know the name alone, as ever.

    Args:
        resolvers: For questions to a name server. Not the event loop's own threads: one that does not answer would
            hold up the connections to Postgres, and the end of the process.
        egress: Who judges; None = nobody.
    """

    def __init__(self, resolvers: Threads, egress: Egress | None) -> None:
        self._resolvers = resolvers
        self._egress = egress
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        addresses = await self._resolve(host, port, timeout)
        if self._egress is not None and (reason := self._egress.refusal(host, port, addresses)):
            raise denied(host, reason, port=port, addresses=addresses)
        *others, last = addresses[:_MOST_ADDRESSES]
        for address in others:
            left = _NEXT_ADDRESS_SECONDS if end is None else min(_NEXT_ADDRESS_SECONDS, end - loop.time())
            try:
                return await self._network.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue  # the next one tells
        left_for_last = None if end is None else end - loop.time()
        return await self._network.connect_tcp(last, port, left_for_last, local_address, socket_options)

    async def _resolve(self, host: str, port: int, timeout: float | None) -> Sequence[str]:
        """The addresses of a host, each once, in the order in which they should be tried; at least one."""
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(timeout):
                found = await self._resolvers.run(look_up)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        if not addresses:
            raise httpcore.ConnectError("the name has no address")
        return addresses

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol("no sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
