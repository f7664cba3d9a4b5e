"""Handlers of the acceptance tests, loaded by real workers; each writes what it does to the ledger.

All count: the output is `{"n": 1 + the sum of the inputs' list n}`. Where each step is given the outputs of those it
waits for, the last one has an answer that is known before, and that one lost or doubled step would change.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

from support.ledger import Entry, Ledger
from workflow_engine import handler
from workflow_engine.handlers.base import TaskContext

LEDGER = "ACCEPTANCE_LEDGER"
_POLL_SECONDS = 0.01


@handler("count")
async def count(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, int]:
    """Count, after `seconds` of doing nothing."""
    _note("start", ctx)
    if seconds := inputs.get("seconds"):
        await asyncio.sleep(seconds)
    _note("end", ctx)
    return _counted(inputs)


@handler("gated")
async def gated(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, int]:
    """Count as soon as the file `gate` exists."""
    _note("start", ctx)
    while not Path(inputs["gate"]).exists():  # noqa: ASYNC110 the test that opens it is another process
        await asyncio.sleep(_POLL_SECONDS)
    _note("end", ctx)
    return _counted(inputs)


@handler("needs-a-file")
async def needs_a_file(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, int]:
    """Count if there is the file `needed`, and fail otherwise."""
    _note("start", ctx)
    Path(inputs["needed"]).stat()
    _note("end", ctx)
    return _counted(inputs)


_LEAKED: list[bytes] = []


@handler("leaks")
async def leaks(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, int]:
    """Count, and keep `bytes` of memory for ever; then do nothing for `seconds`, in which others may look."""
    _note("start", ctx)
    _LEAKED.append(os.urandom(1024) * (inputs["bytes"] // 1024))  # no page of it can be shared or left untouched
    await asyncio.sleep(inputs.get("seconds", 0.02))
    _note("end", ctx)
    return _counted(inputs)


@handler("signals-itself")
async def signals_itself(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, int]:
    """Count, and as the last act of the first attempt send the own process the signal of that name."""
    _note("start", ctx)
    _note("end", ctx)
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.Signals[inputs["signal"]])
    return _counted(inputs)


@handler("ends-its-process")
async def ends_its_process(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, int]:
    """End the process it runs in, and all that runs there with it, as a fault in a C library does."""
    _note("start", ctx)
    while inputs.get("gate") and not Path(inputs["gate"]).exists():  # noqa: ASYNC110 the test that opens it is another process
        await asyncio.sleep(_POLL_SECONDS)
    os._exit(3)


@handler("burns-on-the-loop")
async def burns_on_the_loop(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, int]:
    """Count after `seconds` of computing, without ever giving the event loop a turn."""
    return _burn(inputs, ctx)


@handler("burns-in-a-thread")
def burns_in_a_thread(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, int]:
    """The same in a thread, which competes for the interpreter lock."""
    return _burn(inputs, ctx)


@handler("returns-nan")
async def returns_nan(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, Any]:
    """Return what JSON cannot say."""
    return {"deep": [1, math.nan]}


@handler("returns-bytes")
async def returns_bytes(inputs: dict[str, Any], ctx: TaskContext) -> str:
    """Return a text of that many `bytes`."""
    return "x" * int(inputs["bytes"])


def _burn(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, int]:
    _note("start", ctx)
    end = time.monotonic() + inputs["seconds"]
    while time.monotonic() < end:
        pass
    _note("end", ctx)
    return _counted(inputs)


def _counted(inputs: dict[str, Any]) -> dict[str, int]:
    return {"n": 1 + sum(inputs.get("n", []))}


def _note(phase: str, ctx: TaskContext) -> None:
    entry = Entry(phase, ctx.workflow_id, ctx.step, ctx.attempt, ctx.idempotency_key, os.getpid())
    Ledger(Path(os.environ[LEDGER])).write(entry)
