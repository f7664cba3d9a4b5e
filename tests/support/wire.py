"""A way to Postgres that notes which statements go over it, in whose name."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_PLAIN = "sslmode=disable&gssencmode=disable"
_HEAD = 5  # the type of a message and its length, which counts itself


class Wire:
    """A way to a database, at `url`.

    Attributes:
        statements: What was executed so far, in order: the `application_name` of the connection and the text. Each is
            one round trip, as the engine's connections send nothing ahead.
    """

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        self._target = (parts.hostname or "localhost", parts.port or 5432)
        self._server = socket.create_server(("127.0.0.1", 0))
        user = parts.netloc.rpartition("@")[0]
        here = f"127.0.0.1:{self._server.getsockname()[1]}"
        query = f"{parts.query}&{_PLAIN}" if parts.query else _PLAIN
        self.url = urlunsplit(parts._replace(netloc=f"{user}@{here}" if user else here, query=query))
        self.statements: list[tuple[str, str]] = []
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                threading.Thread(target=self._questions, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def _questions(self, client: socket.socket, server: socket.socket) -> None:
        listener = _Listener(self.statements)
        with suppress(OSError):
            while data := client.recv(65536):
                listener.hear(data)  # before the server does, and so before anybody sees an answer
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)


class _Listener:
    """Understands what a client says on one connection, as far as it is needed here."""

    def __init__(self, statements: list[tuple[str, str]]) -> None:
        self._statements = statements
        self._heard = b""
        self._name: str | None = None
        self._prepared: dict[bytes, str] = {}
        self._bound = ""

    def hear(self, data: bytes) -> None:
        self._heard += data
        if self._name is None:
            self._begin()
        while self._name is not None and len(self._heard) >= _HEAD:
            end = 1 + int.from_bytes(self._heard[1:_HEAD], "big")
            if len(self._heard) < end:
                return
            self._note(self._heard[:1], self._heard[_HEAD:end])
            self._heard = self._heard[end:]

    def _begin(self) -> None:
        """The first message has no type; one of a request to cancel, on a connection of its own, is of no interest."""
        if len(self._heard) < 8:
            return
        (length,) = struct.unpack("!I", self._heard[:4])
        if len(self._heard) < length:
            return
        fields = self._heard[8:length].split(b"\0")
        self._name = dict(zip(fields[::2], fields[1::2], strict=False)).get(b"application_name", b"").decode()
        self._heard = self._heard[length:]

    def _note(self, kind: bytes, content: bytes) -> None:
        assert self._name is not None
        if kind == b"Q":
            self._statements.append((self._name, content.rstrip(b"\0").decode()))
        elif kind == b"P":
            name, text, _ = content.split(b"\0", 2)
            self._prepared[name] = text.decode()
        elif kind == b"B":
            _, name, _ = content.split(b"\0", 2)
            self._bound = self._prepared[name]
        elif kind == b"E":
            self._statements.append((self._name, self._bound))
