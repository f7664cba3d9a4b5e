"""A client that costs less than what it measures: open sockets, requests that are ready bytes, one thread.

It knows no more of HTTP than the engine's answers need: a status and a `Content-Length`.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from workflow_engine.errors import StackUnavailable

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Drive:
    """Some requests and how they were answered."""

    seconds: float = 0.0  # from the first request to the last answer
    cpu: float = 0.0  # seconds of this client
    latencies: list[float] = field(default_factory=list)  # seconds, of each request
    last: bytes = b""  # the body of the last answer


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    sent_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)


def request(method: str, path: str, body: Any = None) -> bytes:
    """A request as it goes over the wire; `body` as JSON."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = json.dumps(body, separators=(",", ":"))
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}".encode()


def drive(
    port: int, wanted: bytes, *, connections: int, count: int, on_answer: Callable[[bytes], None] | None = None
) -> Drive:
    """Send the same request `count` times over `connections` to a port of this machine, each as soon as its connection
    has answered the one before.

    Raises:
        StackUnavailable: An answer was no success, or none came.
    """
    done = Drive()
    with selectors.DefaultSelector() as selector:
        opened = [_open(port, selector) for _ in range(min(connections, count))]
        cpu, begin = time.process_time(), time.perf_counter()
        for connection in opened:
            _send(connection, wanted)
        left = count - len(opened)
        while len(done.latencies) < count:
            ready = selector.select(_PATIENCE_SECONDS)
            if not ready:
                raise StackUnavailable(f"No answer within {_PATIENCE_SECONDS:g} s")
            for key, _ in ready:
                connection = key.data
                answer = _receive(connection)
                if answer is None:
                    continue
                done.latencies.append(time.perf_counter() - connection.sent_at)
                done.last = answer
                if on_answer is not None:
                    on_answer(answer)
                if left:
                    left -= 1
                    _send(connection, wanted)
                else:
                    selector.unregister(connection.socket)
                    connection.socket.close()
        done.seconds, done.cpu = time.perf_counter() - begin, time.process_time() - cpu
    return done


def _open(port: int, selector: selectors.BaseSelector) -> _Connection:
    opened = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = _Connection(opened)
    selector.register(opened, selectors.EVENT_READ, connection)
    return connection


def _send(connection: _Connection, wanted: bytes) -> None:
    connection.sent_at = time.perf_counter()
    connection.socket.sendall(wanted)


def _receive(connection: _Connection) -> bytes | None:
    """The body of an answer that is whole."""
    chunk = connection.socket.recv(1 << 20)
    if not chunk:
        raise StackUnavailable("The engine closed a connection")
    connection.received += chunk
    head = connection.received.find(b"\r\n\r\n")
    if head < 0:
        return None
    found = _LENGTH.search(connection.received, 0, head)
    end = head + 4 + (int(found[1]) if found else 0)
    if len(connection.received) < end:
        return None
    answer = bytes(connection.received)
    connection.received.clear()
    if not answer.startswith(b"HTTP/1.1 20"):
        raise StackUnavailable(f"The engine answered {answer[:500].decode(errors='replace')}")
    return answer[head + 4 :]
