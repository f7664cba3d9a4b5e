"""`workflow-engine dev` as users run it: what it starts, what it repairs, and that it leaves nothing behind."""

import json
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from support import eventually
from support.processes import is_alive

from workflow_engine.embedded.places import free_port, temporary_data_directory
from workflow_engine.embedded.services import engine_command

START_SECONDS = 60
REPAIR_SECONDS = 30


@dataclass
class DevStack:
    """A running `dev`."""

    process: subprocess.Popen[str]
    directory: Path

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.directory / "stack.json").read_text())
        return facts

    @property
    def pids(self) -> list[int]:
        """Every process of the stack that `stack.json` names."""
        found: list[int] = []
        for value in self.facts["pids"].values():
            found += value if isinstance(value, list) else [value]
        return found

    @property
    def port(self) -> str:
        """Of the first engine."""
        return str(self.facts["url"].rpartition(":")[2])

    @property
    def urls(self) -> list[str]:
        """Of everything that listens."""
        facts = self.facts
        return [facts["redis_url"], facts["database_url"], *facts["standins"].values(), *facts["engine_urls"]]

    def all_processes(self) -> list[int]:
        """And those it does not name, such as PostgreSQL's own children."""
        return [self.process.pid, *(p.pid for p in psutil.Process(self.process.pid).children(recursive=True))]


def start_dev(directory: Path, *arguments: str, **environment: str) -> DevStack:
    """Start `dev` and wait for its `stack.json`."""
    # An engine started by a developer's shell must not lend its servers to the test.
    given = {"DATABASE_URL", "REDIS_URL", "LOG_DIR", "PORT", "AGENT_MESH_URL", "AGENT_BRAIN_URL"}
    env = {**{k: v for k, v in os.environ.items() if k not in given}, **environment}
    command = engine_command("dev", "--data-dir", str(directory), "--port", str(free_port()), *arguments)
    output = directory / "dev.log"
    with output.open("a") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=subprocess.STDOUT, text=True)
    stack = DevStack(process, directory)

    def ready() -> bool:
        if process.poll() is not None:
            pytest.fail(f"dev ended with {process.returncode}:\n{output.read_text()}")
        return (directory / "stack.json").exists() and stack.facts["pids"]["stack"] == process.pid

    eventually(ready, START_SECONDS)
    return stack


@pytest.fixture
def directory() -> Iterator[Path]:
    path = temporary_data_directory()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def dev(directory: Path) -> Iterator[Callable[..., DevStack]]:
    """Starts `dev` in this test's directory; whatever still runs afterwards is stopped."""
    started: list[DevStack] = []

    def start(*arguments: str, **environment: str) -> DevStack:
        started.append(start_dev(directory, *arguments, **environment))
        return started[-1]

    yield start
    for stack in started:
        if stack.process.poll() is None:
            stack.process.send_signal(signal.SIGTERM)
            try:
                stack.process.wait(60)
            except subprocess.TimeoutExpired:
                stack.process.kill()
                stack.process.wait(10)


@pytest.fixture(scope="module")
def stack() -> Iterator[DevStack]:
    """One for all tests that leave it running; it ends as it should."""
    directory = temporary_data_directory()
    stack = start_dev(directory, "--engines", "2", "--workers", "2")
    try:
        yield stack
        stop_cleanly(stack, signal.SIGTERM)
    finally:
        stack.process.kill()
        stack.process.wait(10)
        shutil.rmtree(directory)


def stop_cleanly(stack: DevStack, number: int) -> None:
    """Stop it; neither a process nor the file is left."""
    processes = stack.all_processes()
    stack.process.send_signal(number)
    assert stack.process.wait(60) == 0
    assert [pid for pid in processes if is_alive(pid)] == []
    assert not (stack.directory / "stack.json").exists()


def kill_and_await_successor(stack: DevStack, read: Callable[[dict[str, Any]], int]) -> int:
    """kill -9 one process; returns the pid of the one that took its place in `stack.json`."""
    victim = read(stack.facts["pids"])
    os.kill(victim, signal.SIGKILL)
    successor = eventually(
        lambda: pid if (pid := read(stack.facts["pids"])) not in {victim, None} else None,
        REPAIR_SECONDS,
        message="stack.json never named a successor",
    )
    assert is_alive(successor)
    return successor


def test_the_file_names_real_processes_and_reachable_servers(stack: DevStack) -> None:
    facts = stack.facts
    assert {"url", "engine_urls", "database_url", "redis_url", "standins", "pids"} <= facts.keys()
    assert {"agent_mesh", "agent_brain", "llm"} <= facts["standins"].keys()
    assert len(facts["pids"]["engines"]) == 2
    assert len(facts["pids"]["workers"]) == 2
    assert facts["engine_urls"][0] == facts["url"]
    assert len(set(stack.pids)) == len(stack.pids), "each is a process of its own"
    assert all(map(is_alive, stack.pids))
    for command, kind in (("serve", "engines"), ("worker", "workers")):
        for pid in facts["pids"][kind]:
            assert f"workflow-engine {command}" in " ".join(psutil.Process(pid).cmdline())

    for url in facts["engine_urls"]:
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
    for url in facts["standins"].values():
        assert httpx.get(f"{url.removesuffix('/v1')}/health", trust_env=False).json()["stand_in"] is True
    with psycopg.connect(facts["database_url"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    import redis

    with redis.Redis.from_url(facts["redis_url"]) as client:
        assert client.ping()
    assert stat.S_IMODE((stack.directory / "stack.json").stat().st_mode) == 0o600, "it holds the password"
    logs = {name: stack.directory / "logs" / name for name in ("app.log", "worker.log", "tasks.log")}
    assert all(path.exists() for path in logs.values())
    registered = [line for line in logs["worker.log"].read_text().splitlines() if "worker registered" in line]
    assert len(registered) == len(set(registered)) >= 2, "what goes to stdout is not there twice"


def test_what_is_killed_is_started_again_and_the_file_says_so(stack: DevStack) -> None:
    before = stack.facts
    kill_and_await_successor(stack, lambda pids: pids["workers"][1])
    kill_and_await_successor(stack, lambda pids: pids["engines"][0])
    kill_and_await_successor(stack, lambda pids: pids["redis"])
    kill_and_await_successor(stack, lambda pids: pids["standins"])
    kill_and_await_successor(stack, lambda pids: pids["postgres"])
    after = stack.facts
    assert {k: v for k, v in after.items() if k != "pids"} == {k: v for k, v in before.items() if k != "pids"}
    assert after["pids"]["workers"][0] == before["pids"]["workers"][0], "a worker outlives the others and the database"

    def ready() -> bool:
        try:
            return httpx.get(f"{after['url']}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    eventually(ready, REPAIR_SECONDS)


def test_kill_9_of_the_parent_leaves_no_process_and_the_next_start_finds_the_data(
    stack: DevStack, dev: Callable[..., DevStack]
) -> None:
    killed = dev("--workers", "1")
    assert not set(killed.urls) & set(stack.urls), "a second stack gets ports of its own for everything"
    with psycopg.connect(killed.facts["database_url"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    processes = killed.all_processes()
    killed.process.kill()
    killed.process.wait(10)
    eventually(lambda: not any(map(is_alive, processes)), 30, message="some process outlived its parent")

    again = dev("--workers", "0")
    assert again.facts["pids"]["workers"] == []
    with psycopg.connect(again.facts["database_url"]) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (42,)
    stop_cleanly(again, signal.SIGINT)


def test_a_second_dev_on_the_same_directory_is_told_who_has_it(stack: DevStack) -> None:
    command = engine_command("dev", "--data-dir", str(stack.directory), "--port", str(free_port()))
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"in use by workflow-engine dev on port {stack.port}" in second.stderr
    assert f"pid {stack.process.pid}" in second.stderr
    assert is_alive(stack.process.pid)


def test_a_port_that_is_taken_is_refused_by_name(stack: DevStack, directory: Path) -> None:
    command = engine_command("dev", "--data-dir", str(directory / "refused"), "--port", stack.port)
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert f"Port {stack.port} is taken" in refused.stderr


def test_a_wrong_setting_of_a_child_ends_the_start_with_its_own_words(directory: Path) -> None:
    (directory / "logs").mkdir()
    command = engine_command("dev", "--data-dir", str(directory), "--port", str(free_port()), "--include", "no_such")
    answer = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert answer.returncode == 1
    assert " ended while starting" in answer.stderr
    assert "no_such" in answer.stderr
    assert not (directory / "stack.json").exists()
