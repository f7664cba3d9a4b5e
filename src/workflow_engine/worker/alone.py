"""Runs the attempts of suspects, each in a process of its own.

When a worker dies, nobody knows which of its tasks is to blame, if any. All of them are tried again beside others; but
whichever lost its worker so often that one more time would fail it is a suspect, and this time it runs alone
(`alone_process`). If it was the cause, its own process ends and nothing else; if it was a neighbour of the cause, it
succeeds. So a task that kills workers takes two with it (`WORKFLOW_MAX_CRASHES` less one), and no task fails for what
another did. If it is the worker that dies meanwhile, that is another's doing, most likely; whatever takes a worker down
from a process of its own, by using up the memory of both, runs there without other suspects from then on.

A few at a time, as each process has its own copy of everything; further suspects are put off for a moment. The process
ends with this one: it watches the pipe through which it got its task.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import orjson
from structlog.typing import FilteringBoundLogger

from workflow_engine.errors import StoreUnavailable, TaskError
from workflow_engine.observability import metrics
from workflow_engine.records import Claim, Completion
from workflow_engine.settings import Settings
from workflow_engine.states import AttemptOutcome, TaskStatus

MOST = 4
"""Processes at a time."""
LENGTH = struct.Struct("<I")
"""Before each message between the two processes."""
COULD_NOT = b"could not"
"""In place of a completion: the process has logged why, and it has nothing to do with the task."""

_PROGRAM = "from workflow_engine.worker.alone_process import main; main()"
_GRACE_SECONDS = 1.0  # what one that was told to stop has to end by itself
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 2.0, 60.0


class Crashed(Exception):
    """The process ended without saying how its attempt went."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code
        how = f"ended with exit code {exit_code}"
        if exit_code < 0:
            with suppress(ValueError):
                how = f"was ended by {signal.Signals(-exit_code).name}"
        if exit_code == -signal.SIGKILL:
            how += ", as when a machine has no memory left"
        super().__init__(f"The process that ran this attempt alone {how}.")


class Alone:
    """Processes of one worker.

    Args:
        settings: Of the worker, and so of the processes.
        log: Bound to the worker.
    """

    def __init__(self, settings: Settings, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._suspected_from = max(settings.max_crashes - 1, 1)
        self._apart_from = max(settings.max_crashes, 2)  # it has lost a worker that did not run it itself
        self._log = log
        self._taken = 0
        self._apart = False  # who has a place has all of them

    def suspects(self, claim: Claim) -> bool:
        """Whether this attempt is to run alone; where there is only an error to be told of, nothing runs."""
        return claim.crashes >= self._suspected_from and claim.raised is None

    def take_place(self, claim: Claim) -> bool:
        """Take one of the few places, which `give_place` gives back. What is resumed is not put off, as it is due."""
        apart = claim.crashes >= self._apart_from
        if claim.resumed is None and (self._taken >= (1 if apart else MOST) or self._apart):
            metrics.attempts_alone.labels("postponed").inc()
            return False
        self._taken += 1
        self._apart |= apart
        return True

    def give_place(self) -> None:
        self._taken -= 1
        self._apart &= self._taken > 0

    async def run(self, claim: Claim) -> Completion | None:
        """Run an attempt in a process of its own, whose word this returns; None: its handler has completed the task.

        Raises:
            Crashed: It ended without one.
            StoreUnavailable: It could not run the attempt, for reasons that are not the attempt's.
            OSError: It could not be started.
            asyncio.CancelledError: As ours was cancelled; the process has ended.
        """
        self._log.warning(
            "task runs alone", workflow_id=claim.workflow_id, task_id=claim.task_id, attempt=claim.attempt,
            lost_workers=claim.crashes,
        )  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for us, and what it starts ends with it
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        try:
            answer = await self._answer(process, claim)
        except asyncio.CancelledError:
            metrics.attempts_alone.labels("stopped").inc()
            await self._stop(process)
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if answer is None:
            metrics.attempts_alone.labels("crashed").inc()
            raise Crashed(await process.wait())
        if answer == COULD_NOT:
            metrics.attempts_alone.labels("postponed").inc()
            raise StoreUnavailable("The process that was to run it alone could not.")
        metrics.attempts_alone.labels("ended").inc()
        return read_completion(answer)

    async def _answer(self, process: asyncio.subprocess.Process, claim: Claim) -> bytes | None:
        assert process.stdin is not None
        assert process.stdout is not None
        names = type(self._settings).model_fields
        request = orjson.dumps(
            {
                "settings": {
                    names[name].validation_alias.choices[0]: value  # type: ignore[union-attr]
                    for name, value in self._settings.model_dump(mode="json").items()
                },
                "claim": asdict(claim),
            }
        )
        with suppress(ConnectionError):  # it has ended already
            process.stdin.write(LENGTH.pack(len(request)) + request)
            await process.stdin.drain()
        answering = asyncio.create_task(_message(process.stdout))
        ending = asyncio.create_task(process.wait())
        try:
            # What it has started may hold the pipe open, so its end counts as well.
            await asyncio.wait({answering, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await asyncio.wait({answering}, timeout=_GRACE_SECONDS)
            return answering.result() if answering.done() else None
        finally:
            answering.cancel()
            ending.cancel()

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()


def put_off(claim: Claim) -> Completion:
    """Hand a suspect back until there may be room for it; the longer, the more often it was."""
    pause = min(_FIRST_PAUSE_SECONDS * claim.attempt, _LONGEST_PAUSE_SECONDS)
    return Completion(
        claim.task_id, claim.attempt, claim.lease_token, AttemptOutcome.RELEASED, workflow_id=claim.workflow_id,
        next=TaskStatus.SCHEDULED, delay=pause * random.uniform(0.5, 1),  # noqa: S311 spreads them out; nothing secret
    )  # fmt: skip


def crash_error(claim: Claim, crash: Crashed) -> dict[str, Any]:
    """The error of an attempt whose process has crashed: that of a lost worker."""
    details = {"lost_claims": claim.crashes + 1, "exit_code": crash.exit_code}
    return TaskError("worker_lost", str(crash), retryable=False, details=details).as_json(claim.attempt)


def lost_for_good(completion: Completion) -> Completion:
    """The same completion, counted as the lost claim that it is."""
    if completion.outcome == AttemptOutcome.FAILED:
        completion.outcome, completion.next = AttemptOutcome.LOST, TaskStatus.FAILED
    return completion


def write_completion(completion: Completion | None) -> bytes:
    """For `read_completion`."""
    if completion is None:
        return b"null"
    document = asdict(completion)
    document["output"] = None if completion.output is None else completion.output.decode()
    return orjson.dumps(document)


def read_completion(message: bytes) -> Completion | None:
    """What `write_completion` wrote."""
    document = orjson.loads(message)
    if document is None:
        return None
    if document["output"] is not None:
        document["output"] = document["output"].encode()
    return Completion(**document)


async def _message(stream: asyncio.StreamReader) -> bytes | None:
    """The next message; None when the stream ends before it does."""
    try:
        (length,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
        return await stream.readexactly(length)
    except asyncio.IncompleteReadError:
        return None
