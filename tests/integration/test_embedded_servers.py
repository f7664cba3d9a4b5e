"""The embedded PostgreSQL and Valkey keep their promises: durable, private, restartable, and never left behind."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from support import eventually
from support.processes import is_alive

from workflow_engine.embedded.places import DirectoryLock, free_port, port_is_free, temporary_data_directory
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.embedded.process import Child
from workflow_engine.embedded.valkey import Valkey
from workflow_engine.errors import StackUnavailable

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")


@pytest.fixture
def directory() -> Iterator[Path]:
    path = temporary_data_directory()
    yield path
    shutil.rmtree(path)


def secrets_others_can_read(directory: Path) -> list[Path]:
    """Files under `directory` that some other account could open, judged by every mode on the way from there."""
    found = []
    for parent, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if (Path(parent) / name).stat().st_mode & stat.S_IXOTH]
        found += [Path(parent) / name for name in files if (Path(parent) / name).stat().st_mode & stat.S_IROTH]
    return found


def test_a_commit_survives_kill_9_and_the_server_comes_back_on_the_same_port(directory: Path) -> None:
    with Postgres(directory) as postgres:
        with psycopg.connect(postgres.url) as connection:
            connection.execute("CREATE TABLE kept (value int)")
            connection.execute("INSERT INTO kept VALUES (42)")
        url, pid = postgres.url, postgres.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not postgres.alive)
        postgres.start()
        assert postgres.url == url
        assert postgres.pid != pid
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT value FROM kept").fetchall() == [(42,)]


def test_commits_are_durable_and_only_the_password_opens_the_door(directory: Path) -> None:
    with Postgres(directory) as postgres:
        with psycopg.connect(postgres.url) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                assert connection.execute(f"SHOW {setting}").fetchone() == ("on",), setting
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(postgres.url.replace("workflow:", "workflow:not"))
        assert secrets_others_can_read(directory) == []


def test_a_second_server_on_the_same_directory_is_refused_and_told_who_has_it(directory: Path) -> None:
    with (
        Postgres(directory),
        pytest.raises(StackUnavailable, match=rf"in use by workflow-engine, PostgreSQL \(pid {os.getpid()}\)"),
    ):
        Postgres(directory).start()


def test_the_data_is_there_after_a_stop_and_a_start(directory: Path) -> None:
    with Postgres(directory) as postgres, psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS value")
    with Postgres(directory) as postgres, psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT value FROM kept").fetchall() == [(1,)]


def test_a_cluster_of_another_major_version_is_refused(directory: Path) -> None:
    with Postgres(directory):
        pass
    (directory / "cluster" / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(StackUnavailable, match="made by PostgreSQL 14"):
        Postgres(directory).start()


@as_root
def test_as_root_the_server_runs_under_another_account_and_root_keeps_its_closed_directories() -> None:
    closed = Path(tempfile.mkdtemp())  # 0700 of root, as root's home
    link = closed / "data" / "cluster"
    try:
        with Postgres(closed / "data") as postgres:
            assert psutil.Process(postgres.pid).uids().real != 0
            place = link.resolve()
            assert not place.is_relative_to(closed), "the account cannot get into a closed directory"
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        with Postgres(closed / "data") as again:
            assert again.alive
            assert link.resolve() == place, "the data is found again"
    finally:
        shutil.rmtree(link.resolve(), ignore_errors=True)
        shutil.rmtree(closed)


def test_valkey_comes_back_on_the_same_port_and_clients_cannot_make_it_write_files(directory: Path) -> None:
    import redis

    with Valkey(directory) as valkey:
        assert valkey.pid is not None
        url = valkey.url
        os.kill(valkey.pid, signal.SIGKILL)
        eventually(lambda: not valkey.alive)
        valkey.start()
        assert valkey.url == url
        with redis.Redis.from_url(url) as client:
            assert client.ping()
            with pytest.raises(redis.ResponseError, match="protected config"):
                client.config_set("dir", "/tmp")


def test_valkey_takes_another_port_when_the_preferred_one_is_taken(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Valkey(directory, preferred_port=port) as valkey:
            assert valkey.port != port


def test_servers_end_with_the_process_that_started_them_even_by_kill_9(directory: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from workflow_engine.embedded.postgres import Postgres\n"
        "from workflow_engine.embedded.valkey import Valkey\n"
        "directory = Path(sys.argv[1])\n"
        "with Postgres(directory / 'p') as p, Valkey(directory / 'v') as v:\n"
        "    print(p.pid, v.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        assert all(map(is_alive, children))
        parent.kill()
    eventually(lambda: not any(map(is_alive, children)))


def test_a_child_that_ignores_its_signal_is_killed(directory: Path) -> None:
    log = directory / "child.log"
    child = Child(["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], log=log)
    eventually(lambda: "ready" in log.read_text())
    child.stop(grace=0.05)
    assert child.exit_code == -signal.SIGKILL


def test_a_lock_is_free_again_once_its_holder_let_go(directory: Path) -> None:
    first, second = DirectoryLock(directory), DirectoryLock(directory)
    first.acquire("the first")
    with pytest.raises(StackUnavailable, match="the first"):
        second.acquire("the second")
    first.release()
    second.acquire("the second")
    second.release()


def test_the_preferred_port_is_taken_only_when_it_is_free() -> None:
    port = free_port()
    assert free_port(port) == port
    with socket.create_server(("127.0.0.1", port)):
        assert not port_is_free(port)
        assert free_port(port) != port
