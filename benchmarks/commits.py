"""The physical limit: how many single-INSERT transactions per second the server makes durable.

By pgbench, which costs the client next to nothing. Where there is none, threads with psycopg do the same; they share
one Python, so on a fast disk the figure is then the client's limit rather than the server's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from benchmarks.server import Server
from workflow_engine.errors import StackUnavailable

INSERT = "insert into bench_commits (value) values (1)"


def prepare(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table bench_commits (id bigint generated always as identity primary key, value int)")


def find_pgbench(server: Server) -> Path | None:
    return next((program for program in _candidates(server) if program.exists()), None)


def commits_per_second(pgbench: Path | None, database_url: str, *, clients: int, seconds: int) -> float:
    """Durable single-INSERT transactions per second of `clients` connections, over `seconds`."""
    if pgbench is None:
        return _by_threads(database_url, clients, seconds)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(INSERT + ";\n")
        script.flush()
        done = subprocess.run(
            [pgbench, "--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--jobs={min(clients, 2)}",
             f"--time={seconds}", f"--file={script.name}", database_url],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    found = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise StackUnavailable(f"pgbench failed: {(done.stderr.strip() or done.stdout.strip())[-1000:]}")
    return float(found.group(1))


def _candidates(server: Server) -> Iterator[Path]:
    if server.programs:
        yield server.programs / "pgbench"
    if found := shutil.which("pgbench"):
        yield Path(found)
    yield from sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin/pgbench"), reverse=True)


def _by_threads(database_url: str, clients: int, seconds: int) -> float:
    counts = [0] * clients
    begin = threading.Barrier(clients)

    def run(number: int) -> None:
        with psycopg.connect(database_url, autocommit=True, prepare_threshold=0) as connection:
            begin.wait()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                connection.execute(INSERT)
                counts[number] += 1

    threads = [threading.Thread(target=run, args=[number]) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds
