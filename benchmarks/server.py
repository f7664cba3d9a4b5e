"""The PostgreSQL a run uses, databases on it that are dropped afterwards, and worker and engine processes."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from workflow_engine.bootstrap import migrate
from workflow_engine.embedded.places import free_port, temporary_data_directory
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.process import Child, tail
from workflow_engine.embedded.readiness import engine_is_ready
from workflow_engine.embedded.valkey import Valkey
from workflow_engine.errors import StackUnavailable

DATABASE_URL = "WORKFLOW_BENCH_DATABASE_URL"
_START_SECONDS = 120.0  # until a process is ready; a second on a machine that has nothing else to do


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL on which we may create databases."""

    url: str
    description: str
    programs: Path | None  # where the server's own pgbench may be
    postmaster: int | None  # its process, when it is ours
    counts_statements: bool = False  # by pg_stat_statements, in databases that ask for it

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """URL of a new database, dropped at the end."""
        name = f"workflow_bench_{secrets.token_hex(4)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            yield make_conninfo(self.url, dbname=name)
        finally:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    @contextmanager
    def engine_database(self) -> Iterator[str]:
        """URL of a new database with the engine's schema, dropped at the end."""
        with self.empty_database() as url:
            migrate(url)
            yield url


@contextmanager
def open_server() -> Iterator[Server]:
    """The server of `WORKFLOW_BENCH_DATABASE_URL`, whose role may create databases, else an embedded one."""
    with ExitStack() as stack:
        programs = postmaster = None
        if (url := os.environ.get(DATABASE_URL)) is None:
            directory = temporary_data_directory()
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            postgres = stack.enter_context(Postgres(directory))
            _load_statements(postgres)
            url, programs, postmaster = postgres.url, postgres.binaries.directory, postgres.pid
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute(
                "select current_setting('server_version'), current_setting('fsync'),"
                " current_setting('synchronous_commit'), current_setting('shared_buffers')"
            ).fetchone()
        assert row is not None
        kind = "given" if os.environ.get(DATABASE_URL) else "embedded"
        yield Server(
            url,
            f"{kind} PostgreSQL {row[0]}, fsync={row[1]}, synchronous_commit={row[2]}, shared_buffers={row[3]}",
            programs,
            postmaster,
            counts_statements=postmaster is not None,
        )


def _load_statements(postgres: Postgres) -> None:
    """Have the server able to count statements, but count none until a database asks for it."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("alter system set shared_preload_libraries = 'pg_stat_statements'")
    postgres.stop()
    postgres.start()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("alter system set pg_stat_statements.track = 'none'")
        connection.execute("alter system set compute_query_id = 'off'")
        connection.execute("select pg_reload_conf()")
        connection.execute("create extension pg_stat_statements")


@contextmanager
def workers(
    database_url: str, *, processes: int = 2, concurrency: int | None = None, ports: Sequence[int] = ()
) -> Iterator[list[int]]:
    """Pids of worker processes, started as an operator does, registered and idle.

    Args:
        database_url: The engine's database.
        processes: How many; with `ports`, one for each of them.
        concurrency: Slots of each; None: the default.
        ports: Where each shows its metrics; none: nowhere.
    """
    logs = temporary_data_directory()  # as in production, the files of LOG_DIR are written
    environment = {
        **os.environ,
        "LOG_DIR": str(logs),
        "DATABASE_URL": database_url,
        "WORKFLOW_INCLUDE": "benchmarks.handlers",
        "WORKER_SHUTDOWN_TIMEOUT": "5",
    }
    environment.pop("WORKER_CONCURRENCY", None)
    if concurrency is not None:
        environment["WORKER_CONCURRENCY"] = str(concurrency)
    command = [sys.executable, "-m", "workflow_engine.cli", "worker"]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, logs, ignore_errors=True)
        log = logs / "stdout.log"
        before = _active_workers(database_url)
        children = [
            Child(command, log=log, env={**environment, "WORKER_METRICS_PORT": str(port)})
            for port in ports or [0] * processes
        ]
        for child in children:
            stack.callback(child.stop)
        deadline = time.monotonic() + _START_SECONDS
        while _active_workers(database_url) < before + len(children):
            if time.monotonic() > deadline:
                raise StackUnavailable(f"The workers did not register:\n{tail(log)}")
            time.sleep(0.05)
        yield [child.pid for child in children]


@contextmanager
def engine(database_url: str, settings: Mapping[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """Port and pid of an engine process with default settings, beside a Valkey of its own."""
    logs = temporary_data_directory()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, logs, ignore_errors=True)
        redis = stack.enter_context(Valkey(logs / "valkey"))
        port = free_port()
        environment = {**os.environ, "LOG_DIR": str(logs), "DATABASE_URL": database_url, "REDIS_URL": redis.url}
        environment.update(settings or {})
        command = [sys.executable, "-m", "workflow_engine.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
        log = logs / "stdout.log"
        child = Child(command, log=log, env=environment)
        stack.callback(child.stop)
        deadline = time.monotonic() + _START_SECONDS
        while not engine_is_ready(port):
            if time.monotonic() > deadline:
                raise StackUnavailable(f"The engine did not become ready:\n{tail(log)}")
            time.sleep(0.05)
        yield port, child.pid


def transactions(server: Server, database_url: str) -> int:
    """How many have been committed in that database, counted from outside of it."""
    name = conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(server.url, autocommit=True) as connection:
        row = connection.execute("select xact_commit from pg_stat_database where datname = %s", [name]).fetchone()
    assert row is not None
    return int(row[0])


def metrics_ports(count: int) -> list[int]:
    """Free ports for the metrics of so many workers."""
    ports: list[int] = []
    while len(ports) < count:
        ports.append(free_port(avoid=frozenset(ports)))
    return ports


def _active_workers(database_url: str) -> int:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("select count(*) from workflow.workers where status = 'active'").fetchone()
    assert row is not None
    return int(row[0])
