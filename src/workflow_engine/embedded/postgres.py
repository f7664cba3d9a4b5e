"""One PostgreSQL cluster of our own: made on first use, started, stopped, restarted on the same port and data.

with Postgres(Path("data")) as postgres:
    psycopg.connect(postgres.url)

Commits are durable (`fsync` and `synchronous_commit` are on): what was accepted survives a kill -9. Only 127.0.0.1
listens, and only the generated password opens it.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import psycopg
from psycopg import sql

from workflow_engine.embedded.binaries import PostgresBinaries, find_postgres, postgres_for
from workflow_engine.embedded.places import (
    DirectoryLock,
    free_port,
    make_data_directory,
    port_is_free,
    private_directory,
    write_secret,
)
from workflow_engine.embedded.process import Child, run, service_account, tail
from workflow_engine.errors import StackUnavailable

USER = "workflow"
DATABASE = "workflow"
START_SECONDS = 30.0
STOP_SECONDS = 30.0
_TRY_SECONDS = 0.02
_ENV = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # the path of a socket has a length limit that a deep data directory breaks
    "max_connections": "300",
    "shared_buffers": "128MB",
    "jit": "off",  # compiling costs more than any of the engine's statements takes
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_line_prefix": "%m [%p] %q%d ",
}


class Postgres:
    """A private PostgreSQL server with its data in `data_dir`.

    Attributes:
        port: Its TCP port, from the first start on; kept over restarts.
        binaries: The programs it runs; `pgbench` and `psql` lie beside them when the bundle has them.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        log: Path | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Nothing is started yet.

        Args:
            data_dir: A directory for this server alone; made if it is not there.
            port: TCP port; None = any free one.
            log: Its log; None = `postgres.log` in `data_dir`.
            settings: Of postgresql.conf, instead of or beside the usual ones.
        """
        self._directory = data_dir.absolute()
        self._log = log or self._directory / "postgres.log"
        self._settings = {**_SETTINGS, **settings}
        self._lock = DirectoryLock(self._directory)
        self._locked = False
        self._account = service_account()
        self._child: Child | None = None
        self._password = ""
        self._port_is_given = port is not None
        self.port = port or 0
        self.binaries: PostgresBinaries = find_postgres()

    @property
    def url(self) -> str:
        """Connection string of the database `workflow`, with the password. Valid once started."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster while it runs."""
        return self._child.pid if self._child and self._child.alive else None

    @property
    def alive(self) -> bool:
        return self.pid is not None

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start the server and wait until it answers; make the cluster first if there is none. Also restarts.

        Raises:
            StackUnavailable: It did not come up within `timeout` seconds, or another process uses the directory.
        """
        if self.alive:
            return
        make_data_directory(self._directory)
        if not self._locked:
            self._lock.acquire("workflow-engine, PostgreSQL")
            self._locked = True
        place = private_directory(self._directory / "cluster", self._account)
        self.binaries = postgres_for(self.binaries, self._account, place)
        self._make_cluster(place)
        self._password = (self._directory / "password").read_text().strip()
        self._await_ready(place / "data", time.monotonic() + timeout)

    def stop(self) -> None:
        """Stop the server: connections are cut, a checkpoint is written. The data stays."""
        if self._child:
            self._child.stop(signal.SIGINT, grace=STOP_SECONDS)
            self._child = None
        self._lock.release()
        self._locked = False

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_cluster(self, place: Path) -> None:
        data = place / "data"
        if data.exists():
            made_by = int((data / "PG_VERSION").read_text())
            if made_by != self.binaries.major:
                raise StackUnavailable(
                    f"{self._directory} was made by PostgreSQL {made_by}, but {self.binaries.version} is at hand",
                    hint="Remove that directory to begin anew.",
                )
            return
        password = secrets.token_urlsafe(24)
        write_secret(self._directory / "password", password)
        for_initdb = place / "password"  # initdb reads it under the other account
        write_secret(for_initdb, password, owner=self._account)
        # A cluster gets its name when it is whole: an interrupted initdb is never taken for one.
        draft = place / "data.draft"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            run(
                [
                    self.binaries["initdb"],
                    *("--pgdata", draft, "--username", USER, "--pwfile", for_initdb),
                    *("--auth", "scram-sha-256", "--no-locale", "--encoding", "UTF8"),
                ],
                account=self._account,
                env=_ENV,
            )
        finally:
            for_initdb.unlink()
        draft.rename(data)

    def _await_ready(self, data: Path, deadline: float) -> None:
        while True:
            if self._child is None or not self._child.alive:
                # Also reached again: backends of a killed postmaster may hold its shared memory for a moment, and
                # another process may have taken the port.
                if not self._port_is_given:
                    self.port = self.port if self.port and port_is_free(self.port) else free_port()
                self._child = self._spawn(data)
            try:
                self._greet()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    self.stop()
                    raise StackUnavailable(f"PostgreSQL did not start: {error}\n{tail(self._log)}") from error
                time.sleep(_TRY_SECONDS)
            else:
                self._port_is_given = True  # clients know it now
                return

    def _spawn(self, data: Path) -> Child:
        settings = [f"--{name}={value}" for name, value in {**self._settings, "port": str(self.port)}.items()]
        return Child(
            [self.binaries["postgres"], "-D", data, *settings],
            log=self._log,
            env=_ENV,
            account=self._account,
            death_signal=signal.SIGINT,  # a fast shutdown
            cwd="/",
        )

    def _greet(self) -> None:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            # 3D000 has no class of its own here: libpq reports failures to connect as text.
            if f'database "{DATABASE}" does not exist' not in str(error):
                raise
            administration = self.url.removesuffix(DATABASE) + "postgres"
            with psycopg.connect(administration, autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
