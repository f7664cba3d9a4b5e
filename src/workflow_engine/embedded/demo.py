"""The demo: a whole stack, the runbook's workflow on it for real, what became of it, and a clean end.

The stack is `workflow-engine dev` itself, as a child: the demo sees what every user sees.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from workflow_engine.embedded.environment import READY_SECONDS
from workflow_engine.embedded.places import free_port, temporary_data_directory
from workflow_engine.embedded.process import Child, tail
from workflow_engine.embedded.services import engine_command
from workflow_engine.errors import StackUnavailable

_STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.05


def run_demo(*, data_directory: Path | None, preferred_port: int, workers: int) -> bool:
    """Run it and tell whether the workflow succeeded.

    Args:
        data_directory: Where the stack keeps its data; None = a temporary place that is removed.
        preferred_port: Port of the API; another one is taken when it is not free.
        workers: Number of worker processes, >= 1.

    Raises:
        StackUnavailable: The stack did not start, or the workflow did not end in time.
    """
    console = Console(highlight=False, soft_wrap=True)
    directory = (data_directory or temporary_data_directory()).absolute()
    begun = time.monotonic()
    try:
        console.print("Starting PostgreSQL, Valkey, an engine, workers and stand-ins for the neighbours ...")
        with _starting(directory, free_port(preferred_port), workers) as ready:
            from workflow_engine.embedded.showing import show  # takes a while, during which the stack starts

            facts = ready()
            console.print(f"Ready after {time.monotonic() - begun:.1f} s: {facts['url']}\n")
            succeeded = show(console, facts)
        console.print(f"\nStopped cleanly. {time.monotonic() - begun:.1f} s in all.")
        return succeeded
    finally:
        if data_directory is None:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _starting(directory: Path, port: int, workers: int) -> Iterator[Callable[[], Mapping[str, Any]]]:
    """A stack that is starting; yields what waits until it is ready and returns the content of its `stack.json`."""
    log = directory / "demo.log"
    arguments = ["--port", str(port), "--data-dir", str(directory), "--workers", str(workers)]
    directory.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    env = {**os.environ, "WORKFLOW_AUTH": "none"}  # it is on this machine alone, and for some seconds
    child = Child(engine_command("dev", *arguments), env=env, log=log, death_signal=signal.SIGTERM)
    try:
        yield lambda: _await_stack(child, directory / "stack.json", log)
    finally:
        child.stop(signal.SIGTERM, grace=_STOP_SECONDS)


def _await_stack(child: Child, file: Path, log: Path) -> Mapping[str, Any]:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if not child.alive:
            raise StackUnavailable(f"The stack did not start:\n{tail(log)}")
        try:
            facts: Mapping[str, Any] = json.loads(file.read_text())
        except FileNotFoundError:
            time.sleep(_LOOK_SECONDS)
            continue
        if facts["pids"]["stack"] == child.pid:  # and not of an earlier one that was killed
            return facts
        time.sleep(_LOOK_SECONDS)
    raise StackUnavailable(f"The stack was not ready within {READY_SECONDS:g} s:\n{tail(log)}")
