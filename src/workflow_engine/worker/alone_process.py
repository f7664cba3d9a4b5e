"""The process in which one attempt runs alone: a worker without turns and leases, which `alone` keeps for it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import BinaryIO

import orjson

from workflow_engine.bootstrap import load_handlers, open_store
from workflow_engine.errors import StoreUnavailable
from workflow_engine.execution import Limits, execute
from workflow_engine.observability.logs import KEEPER, configure_logging, get_logger
from workflow_engine.records import Claim, Completion
from workflow_engine.secrets import Secrets
from workflow_engine.settings import Settings
from workflow_engine.states import AttemptOutcome
from workflow_engine.worker.alone import LENGTH, write_completion
from workflow_engine.worker.task_log import TaskLog


def main() -> None:
    """Read a task from stdin, run it, say on stdout how it went."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what handlers print must not get in between
    requests = sys.stdin.buffer
    (length,) = LENGTH.unpack(requests.read(LENGTH.size))
    request = orjson.loads(requests.read(length))
    threading.Thread(target=_end_with_parent, args=[requests], daemon=True).start()
    _be_first_to_lack_memory()
    settings = Settings(**request["settings"])
    configure_logging(settings, role="worker")
    try:
        completion = asyncio.run(_run(settings, Claim(**request["claim"])))
    except asyncio.CancelledError:  # the parent knows why
        return
    answer = write_completion(completion)
    with os.fdopen(answers, "wb") as stream:
        stream.write(LENGTH.pack(len(answer)) + answer)


async def _run(settings: Settings, claim: Claim) -> Completion | None:
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    log = get_logger("worker")
    kept = TaskLog()
    try:
        async with (
            open_store(settings, "workflow-engine worker alone", size=1) as store,
            load_handlers(settings) as handlers,
        ):
            plan = await store.definitions.plan(claim.version_id)
            step = plan.steps[claim.step_index]
            completion = await execute(
                claim, plan, handlers, Limits(settings.task_timeout, settings.max_payload_bytes),
                log.bind(
                    workflow_id=claim.workflow_id, task_id=claim.task_id, step=step.id, type=step.type,
                    attempt=claim.attempt, **{KEEPER: kept},
                ),
                secrets=Secrets(os.environ, settings.secrets_dir), definitions=store.definitions,
            )  # fmt: skip
    except StoreUnavailable as error:
        log.warning("plan not readable, task released", workflow_id=claim.workflow_id, error=error.detail)
        completion = Completion(
            claim.task_id, claim.attempt, claim.lease_token, AttemptOutcome.RELEASED, workflow_id=claim.workflow_id
        )
    if completion is not None:
        completion.logs = kept.lines()
    return completion


def _end_with_parent(requests: BinaryIO) -> None:
    requests.read()
    os.killpg(0, signal.SIGKILL)  # and what the handler has started


def _be_first_to_lack_memory() -> None:
    """Where the kernel must kill somebody, it is this process and not the worker."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
