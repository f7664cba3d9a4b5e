"""Other engines on the same server, where they have the same loads; only when asked for (`--peers dbos`).

A peer is installed from PyPI into an environment of its own that is removed afterwards: none is a dependency here.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

from benchmarks import definitions
from benchmarks.profiles import Profile
from benchmarks.report import Figure, Row, Table
from benchmarks.server import Server, workers
from benchmarks.workload import Load, run_loads
from workflow_engine.embedded.places import temporary_data_directory
from workflow_engine.errors import StackUnavailable
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

_DBOS = "dbos>=3,<4"
_PROGRAM = Path(__file__).with_name("dbos_program.py")
_SLOTS = 100


def measure_dbos(server: Server, profile: Profile) -> list[Table]:
    """DBOS and the engine, round by round: two processes each, 100 workflows or steps at a time in each."""
    factor = profile.load_factor
    loads = [
        (Load.of("singles", definitions.single(), 1000 * factor), "chain", 1),
        (Load.of("chains of 10", definitions.chain(10), 100 * factor), "chain", 10),
        (Load.of("fan-outs of 100 + join", definitions.fan_out(100), 10 * factor), "fan_out", 100),
    ]
    alone = Load.of("chain of 40", definitions.chain(40), 1)
    theirs = {load.label: Figure(f"DBOS: {load.label}", "steps/s") for load, _, _ in loads}
    ours = {load.label: Figure(f"this engine: {load.label}", "steps/s") for load, _, _ in loads}
    their_chain, our_chain = Figure("DBOS: 40 steps in turn", "ms"), Figure("this engine: 40 steps in turn", "ms")
    with (
        _environment(_DBOS) as python,
        server.empty_database() as their_url,
        server.engine_database() as our_url,
        workers(our_url, concurrency=_SLOTS),
    ):
        their_address = _as_url(their_url)
        for repetition in range(profile.rounds + 1):
            their_rates = [
                load.steps / _run_dbos(python, their_address, shape, size, load.workflows, processes=2)
                for load, shape, size in loads
            ]
            their_seconds = _run_dbos(python, their_address, "chain", 40, 1, processes=1)
            our_seconds = asyncio.run(_run_engine(our_url, [*(load for load, _, _ in loads), alone]))
            if repetition == 0:  # warms both up
                continue
            for (load, _, _), rate, seconds in zip(loads, their_rates, our_seconds, strict=False):
                theirs[load.label].values.append(rate)
                ours[load.label].values.append(load.steps / seconds)
            their_chain.values.append(their_seconds * 1000)
            our_chain.values.append(our_seconds[-1] * 1000)
    rows = []
    for label, figure in theirs.items():
        rows += [Row(figure), Row(ours[label], (("x DBOS", ours[label].ratio_to(figure)),))]
    rows += [Row(their_chain), Row(our_chain, (("x DBOS", our_chain.ratio_to(their_chain)),))]
    return [
        Table(
            "DBOS and this engine, two processes each",
            rows,
            ["DBOS runs workflows in the process that starts them, without a queue: its fastest way"],
        )
    ]


@contextmanager
def _environment(requirement: str) -> Iterator[Path]:
    """The Python of a fresh virtual environment with that requirement."""
    directory = temporary_data_directory()
    python = directory / "venv" / "bin" / "python"
    try:
        if uv := shutil.which("uv"):
            commands = [[uv, "venv", "--python", sys.executable, str(directory / "venv")]]
            commands.append([uv, "pip", "install", "--compile-bytecode", "--python", str(python), requirement])
        else:
            commands = [[sys.executable, "-m", "venv", str(directory / "venv")]]
            commands.append([str(python), "-m", "pip", "install", requirement])
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise StackUnavailable(f"{requirement} could not be installed: {done.stderr.strip()[-1000:]}")
        yield python
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _as_url(conninfo: str) -> str:
    """SQLAlchemy reads URLs only."""
    parts = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(conninfo).items()}
    account = f"{parts['user']}:{parts['password']}" if "password" in parts else parts["user"]
    return f"postgresql://{account}@{parts.get('host', 'localhost')}:{parts.get('port', '5432')}/{parts['dbname']}"


def _run_dbos(python: Path, url: str, shape: str, size: int, count: int, *, processes: int) -> float:
    """Seconds from the first process' begin to the last one's end.

    Raises:
        StackUnavailable: A process failed.
    """
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(  # -P: our `http.py` lies beside the program
                    [python, "-P", _PROGRAM, url, f"bench-{n}", shape, str(size), str(count // processes)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for n in range(processes)
        ]
        for process in running:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise StackUnavailable("A process of DBOS failed; its message is above")
        answers = [process.communicate()[0] for process in _told(running)]
    spans = [json.loads(answer) for answer in answers]
    return float(max(span["last"] for span in spans) - min(span["first"] for span in spans))


def _told(running: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """All are told to go before the answer of any is awaited."""
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return running


async def _run_engine(url: str, loads: list[Load]) -> list[float]:
    pool = Pool(url, size=1)
    await pool.open()
    try:
        store = Store(pool)
        for load in loads:
            await store.definitions.register(load.definition)
        return [(await run_loads(store, [load])).seconds for load in loads]
    finally:
        await pool.close()
