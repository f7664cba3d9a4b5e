"""One Valkey of our own. It keeps nothing on disk: all it holds is derived from Postgres and is written anew.

It has no password, as the one the runbook's `redis-cli` commands speak to: only 127.0.0.1 listens, and settings that
could write files (`dir`, `dbfilename`, modules, DEBUG) cannot be changed by clients.
"""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from workflow_engine.embedded.binaries import find_valkey, valkey_for
from workflow_engine.embedded.places import free_port, make_data_directory, port_is_free, private_directory
from workflow_engine.embedded.process import Child, service_account, tail
from workflow_engine.errors import StackUnavailable

START_SECONDS = 10.0
STOP_SECONDS = 5.0
_TRY_SECONDS = 0.01


class Valkey:
    """A private Valkey (or Redis) server.

    Attributes:
        port: Its TCP port, from the first start on; kept over restarts.
        program: The server's program.
    """

    def __init__(self, data_dir: Path, *, preferred_port: int | None = None, log: Path | None = None) -> None:
        """Nothing is started yet.

        Args:
            data_dir: A directory for this server alone; made if it is not there.
            preferred_port: TCP port to take if it is free; None = any.
            log: Its log; None = `valkey.log` in `data_dir`.
        """
        self._directory = data_dir.absolute()
        self._log = log or self._directory / "valkey.log"
        self._account = service_account()
        self._child: Child | None = None
        self._preferred = preferred_port
        self._port_is_known = False
        self.port = 0
        self.program = find_valkey()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.alive else None

    @property
    def alive(self) -> bool:
        return self.pid is not None

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start the server and wait until it answers. Also restarts, on the same port.

        Raises:
            StackUnavailable: It did not come up within `timeout` seconds.
        """
        if self.alive:
            return
        make_data_directory(self._directory)
        place = private_directory(self._directory / "run", self._account)
        self.program = valkey_for(self.program, self._account, place)
        deadline = time.monotonic() + timeout
        while True:
            if self._child is None or not self._child.alive:
                if not self._port_is_known:
                    self.port = self.port if self.port and port_is_free(self.port) else free_port(self._preferred)
                self._child = self._spawn(place)
            if self._answers():
                self._port_is_known = True
                return
            if time.monotonic() > deadline:
                self.stop()
                raise StackUnavailable(f"Valkey did not start\n{tail(self._log)}")
            time.sleep(_TRY_SECONDS)

    def stop(self) -> None:
        if self._child:
            self._child.stop(signal.SIGTERM, grace=STOP_SECONDS)
            self._child = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, place: Path) -> Child:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "save": "",
            "appendonly": "no",
            "maxmemory": "128mb",
            "maxmemory-policy": "noeviction",  # a key that vanishes silently would look like a decision
            "dir": str(place),
            "daemonize": "no",
        }
        arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return Child([self.program, *arguments], log=self._log, env={"LC_ALL": "C"}, account=self._account, cwd="/")

    def _answers(self) -> bool:
        """Whether our own process answers: another server may have been faster to take the port."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"INFO server\r\n")
                answer = connection.recv(65536)
        except OSError:
            return False
        return f"process_id:{self.pid}\r\n".encode() in answer
