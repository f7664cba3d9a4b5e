"""The process in which one attempt runs alone: a worker without turns and leases, which `alone` keeps for it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress

import orjson
import uvloop

from workflow_engine.bootstrap import load_handlers, open_store
from workflow_engine.errors import StoreUnavailable
from workflow_engine.execution import Limits, execute
from workflow_engine.observability.logs import KEEPER, configure_logging, get_logger
from workflow_engine.observability.trace_context import trace_fields
from workflow_engine.records import Claim, Completion
from workflow_engine.secrets import Secrets
from workflow_engine.settings import Settings
from workflow_engine.worker.alone import COULD_NOT, LENGTH, write_completion
from workflow_engine.worker.task_log import TaskLog


def main() -> None:
    """Read a task from stdin, run it, say on stdout how it went."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what handlers print must not get in between
    request = orjson.loads(_message(0))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _be_first_to_lack_memory()
    try:
        settings = Settings(**request["settings"])
        configure_logging(settings, role="worker")
        answer = write_completion(uvloop.run(_run(settings, Claim(**request["claim"]))))
    except asyncio.CancelledError:  # the parent knows why
        return
    except StoreUnavailable as error:
        get_logger("worker").warning("a task cannot run alone", error=error.detail)
        answer = COULD_NOT
    except Exception:  # a bug of ours, or a module that cannot be loaded, is not the task's fault
        get_logger("worker").exception("a task cannot run alone")
        answer = COULD_NOT
    with os.fdopen(answers, "wb") as stream:
        stream.write(LENGTH.pack(len(answer)) + answer)


async def _run(settings: Settings, claim: Claim) -> Completion | None:
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    log = get_logger("worker")
    kept = TaskLog()
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
                attempt=claim.attempt, **{KEEPER: kept}, **trace_fields(claim.traceparent),
            ),
            secrets=Secrets(os.environ, settings.secrets_dir), definitions=store.definitions,
        )  # fmt: skip
    if completion is not None:
        completion.logs = kept.lines()
    return completion


def _message(source: int) -> bytes:
    """The next message of a pipe."""
    (length,) = LENGTH.unpack(_exactly(source, LENGTH.size))
    return _exactly(source, length)


def _exactly(source: int, length: int) -> bytes:
    data = b""
    while len(data) < length:
        if not (more := os.read(source, length - len(data))):
            raise EOFError
        data += more
    return data


def _end_with_parent() -> None:
    # Not by way of sys.stdin: a thread that holds its lock would not let this process end.
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)  # and what the handler has started


def _be_first_to_lack_memory() -> None:
    """Where the kernel must kill somebody, it is this process and not the worker."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
