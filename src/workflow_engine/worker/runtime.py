"""A worker process: settings in, exit code out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop
from structlog.typing import FilteringBoundLogger

from workflow_engine.background import end_tasks
from workflow_engine.bootstrap import load_handlers, open_store
from workflow_engine.definition.sandbox import SANDBOX
from workflow_engine.garbage import collect_seldom
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.observability.loop_lag import LoopLag
from workflow_engine.observability.tracing import tracing
from workflow_engine.settings import VERSION, Settings
from workflow_engine.worker.liveness import Liveness
from workflow_engine.worker.loop import Worker, worker_name
from workflow_engine.worker.memory import MemoryWatch, begin_again, memory_limit
from workflow_engine.worker.metrics_server import serve_metrics
from workflow_engine.worker.profiler import MemoryProfiler


def run_worker(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT, then drain; a second signal drains at once.

    Survives outages of Postgres of any length. Before it would pass its memory limit it drains and begins again in the
    same process. Logging is configured by the caller.

    Raises:
        HandlerInvalid: A handler module cannot be loaded; nothing was started.
    """
    worker = uvloop.run(_run(settings))
    if worker.recycling:
        SANDBOX.close()  # else it would stay behind as a zombie of the next image
        begin_again(worked=worker.has_worked)


async def _run(settings: Settings) -> Worker:
    log = get_logger("worker")
    if not settings.egress_policy.guarded:
        log.info("egress is open", hint="Steps may call private addresses; WORKFLOW_EGRESS=guarded closes them.")
    limit = memory_limit(settings.memory_limit_bytes)
    profiler = None
    if settings.memory_profiler:  # before handlers are loaded, to see them too
        profiler = MemoryProfiler(log, every=settings.memory_profile_seconds, share=settings.memory_profile_share)
    liveness = Liveness()
    if settings.worker_metrics_port:
        try:
            serve_metrics(
                settings.host, settings.worker_metrics_port, liveness=liveness, limit=limit, profiler=profiler
            )
        except OSError as error:  # two workers on one machine: work matters more than being watched
            log.warning("no metrics and no probe: port taken", port=settings.worker_metrics_port, error=str(error))
    metrics.build_info.info({"version": VERSION})
    metrics.worker_concurrency.set(settings.worker_concurrency)
    with tracing(settings, role="worker", instance=worker_name(settings)):
        return await _work(settings, log, liveness, limit, profiler)


async def _work(
    settings: Settings,
    log: FilteringBoundLogger,
    liveness: Liveness,
    limit: int | None,
    profiler: MemoryProfiler | None,
) -> Worker:
    async with open_store(settings, "workflow-engine worker") as store, load_handlers(settings) as handlers:
        worker = Worker(settings, store, handlers, log, profiler=profiler, liveness=liveness)
        collect_seldom()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, worker.stop)
        lag = LoopLag(metrics.worker_event_loop_lag)
        liveness.watch_loop(lag)
        memory = MemoryWatch(worker, limit, log)
        async with _beside(lag.run()), _beside(memory.run()):
            if profiler is None:
                await worker.run()
            else:
                async with _beside(profiler.run()):
                    await worker.run()
    return worker


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something in the background while the context is open."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end_tasks(task)
