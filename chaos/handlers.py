"""Task types of the workers under test: they take their worker down with them, or keep it from doing anything else."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import time
from typing import Any

from workflow_engine import handler
from workflow_engine.handlers.base import TaskContext

# Where every thread of a process stands is asked of it with SIGUSR1, when nothing moves any more.
faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)


@handler("poison")
async def poison(inputs: dict[str, Any], ctx: TaskContext) -> None:
    """Take the worker down, each time."""
    if inputs["how"] == "exit":
        os._exit(1)
    if inputs["how"] == "segfault":
        faulthandler.disable()
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


@handler("burn")
async def burn(inputs: dict[str, Any], ctx: TaskContext) -> int:
    """Compute for so many `seconds` without ever giving the event loop a turn."""
    end = time.monotonic() + inputs["seconds"]
    while time.monotonic() < end:
        pass
    return 1
