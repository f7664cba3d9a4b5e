"""Real `workflow-engine` processes of a test, and what tests ask about processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from support import warm
from support.eventually import eventually


def is_alive(pid: int) -> bool:
    """Whether a process runs. A zombie is dead: where no init reaps it, only its name is left."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_engine(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `workflow-engine <arguments>` to its end, with wide lines and no colours."""
    env = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environment}
    return warm.run(*arguments, env=env, timeout=60)


class EngineProcess:
    """One running `workflow-engine <arguments>`. It never outlives the test run, however that ends.

    Args:
        arguments: Of the command line, the command first.
        env: Its whole environment.
        log: File its output is appended to.
        cold: Start it in the usual way, which takes longer (see `warm`).
    """

    def __init__(self, *arguments: str, env: Mapping[str, str], log: Path, cold: bool = False) -> None:
        self._log = log
        self._child = warm.start(arguments, env=env, log=log, cold=cold)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive

    @property
    def stopped(self) -> bool:
        """Whether a SIGSTOP holds it."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    @property
    def output(self) -> str:
        """All it has written so far."""
        return self._log.read_text()

    def send(self, number: signal.Signals) -> None:
        self._child.send(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._child.stop(signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        """Wait for its end; returns the exit code, or minus the signal that ended it."""
        eventually(lambda: not self.alive, timeout, message=f"{self.pid} still runs:\n{self.output[-3000:]}")
        code = self._child.exit_code
        assert code is not None
        return code

    def says(self, phrase: str, timeout: float = 30) -> None:
        """Wait until its output contains a phrase."""

        def said() -> bool:
            if phrase in self.output:
                return True
            assert self.alive, f"ended with {self._child.exit_code} before saying {phrase!r}:\n{self.output[-3000:]}"
            return False

        eventually(said, timeout, message=f"{phrase!r} was never said:\n{self.output[-3000:]}")
