"""A worker process: settings in, exit code out."""

from __future__ import annotations

import asyncio
import signal

from prometheus_client import start_http_server

from workflow_engine.bootstrap import load_handlers, open_store
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger
from workflow_engine.settings import VERSION, Settings
from workflow_engine.worker.loop import Worker


async def run_worker(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT, then drain; a second signal drains at once.

    Survives outages of Postgres of any length. Logging is configured by the caller.

    Raises:
        HandlerInvalid: A handler module cannot be loaded; nothing was started.
    """
    log = get_logger("worker")
    if settings.worker_metrics_port:
        try:
            start_http_server(settings.worker_metrics_port)
        except OSError as error:  # two workers on one machine: work matters more than being watched
            log.warning("no metrics: port taken", port=settings.worker_metrics_port, error=str(error))
    metrics.build_info.info({"version": VERSION})
    metrics.worker_concurrency.set(settings.worker_concurrency)
    async with open_store(settings, "workflow-engine worker") as store, load_handlers(settings) as handlers:
        worker = Worker(settings, store, handlers, log)
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, worker.drain)
        await worker.run()
