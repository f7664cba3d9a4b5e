"""What the stack watches: servers and programs, all of one shape, and the patience with which it starts them again."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from workflow_engine.embedded.process import Child

FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 10.0
STEADY_SECONDS = 10.0  # who lived this long is forgiven earlier deaths


class Service(Protocol):
    """Something that runs as a process of its own."""

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""

    @property
    def alive(self) -> bool: ...

    def start(self) -> None:
        """Start it, or start it again where it was: same port, same data."""

    def stop(self) -> None:
        """End it in an orderly way, and wait until it is gone."""


def engine_command(*arguments: str) -> list[str]:
    """Our own command line, under this interpreter; the process list shows `workflow-engine <arguments>`."""
    script = Path(sys.executable).with_name("workflow-engine")
    if script.exists():
        return [sys.executable, str(script), *arguments]
    # Installed without its script, or run from elsewhere: the comment names the process for `pkill -f`.
    return [sys.executable, "-c", "from workflow_engine.cli import main; main() # workflow-engine", *arguments]


class Program:
    """A service that is one process of ours: an engine, a worker, the stand-ins.

    Args:
        command: Program and arguments.
        env: Its whole environment.
        log: File its output is appended to.
        grace: Seconds it may take to stop before it is killed.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], log: Path, grace: float) -> None:
        self._command = command
        self._env = env
        self._log = log
        self._grace = grace
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self._child.alive else None

    @property
    def alive(self) -> bool:
        return self.pid is not None

    @property
    def exit_code(self) -> int | None:
        """How it ended last; None while it runs. Negative: the signal that ended it."""
        return self._child.exit_code if self._child else None

    def start(self) -> None:
        if not self.alive:
            self._child = Child(self._command, env=self._env, log=self._log)

    def stop(self) -> None:
        if self._child:
            self._child.stop(signal.SIGTERM, grace=self._grace)


class Watched:
    """A service with the memory of its deaths. The first restart is immediate; whoever keeps dying waits longer.

    Args:
        name: How logs call it: `worker-2`.
        service: The service; started by the caller the first time.
        clock: Seconds that only grow.
    """

    def __init__(self, name: str, service: Service, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.service = service
        self._clock = clock
        self._started = clock()
        self._deaths = 0
        self._restart_at: float | None = None

    def tend(self) -> bool:
        """Start the service again if it has died and its time has come.

        Returns:
            Whether it was started.

        Raises:
            StackUnavailable: A server did not come up again; the next call tries once more, later.
        """
        now = self._clock()
        if self.service.alive:
            return False
        if self._restart_at is None:
            self._deaths = 1 if now - self._started > STEADY_SECONDS else self._deaths + 1
            delay = FIRST_DELAY_SECONDS * 2 ** (self._deaths - 2) if self._deaths > 1 else 0.0
            self._restart_at = now + min(delay, LONGEST_DELAY_SECONDS)
        if now < self._restart_at:
            return False
        self._restart_at = None
        self._started = now
        self.service.start()
        return True
