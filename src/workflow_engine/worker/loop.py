"""The worker's loop: register, take turns, drain.

It is ours, not procrastinate's, for three reasons that were measured (docs/architecture.md): the stock worker exits
when Postgres goes away, does not fence completions, and fetches one job per round trip. Here completions that arrive
while a turn is in flight ride on the next one (a group commit without a timer), and each turn claims as many tasks as
there are free slots, never more, so that nothing waits claimed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time

from structlog.typing import FilteringBoundLogger

from workflow_engine.background import end_tasks
from workflow_engine.errors import StoreUnavailable
from workflow_engine.execution.offers import offers
from workflow_engine.handlers.registry import Registry
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import output, write_task_line
from workflow_engine.observability.transitions import Transitions
from workflow_engine.queue.listening import listen
from workflow_engine.queue.registry import WorkerRegistry
from workflow_engine.records import Completion, Turn
from workflow_engine.settings import VERSION, Settings
from workflow_engine.states import WorkerStatus
from workflow_engine.store.definitions import DEFINITIONS_CHANNEL
from workflow_engine.store.pool import connection_options
from workflow_engine.store.store import Store
from workflow_engine.worker.attempts import Attempts
from workflow_engine.worker.leases import LeaseKeeper
from workflow_engine.worker.liveness import Liveness
from workflow_engine.worker.profiler import MemoryProfiler
from workflow_engine.worker.turns import Turns

_FLUSH_SECONDS = 15.0  # how long a stopping worker tries to deliver its last results while Postgres is away
_HURRIED_FLUSH_SECONDS = 2.0  # the same when it was told to stop twice
_AGAIN_SECONDS = 0.005  # first pause before asking again for what another transaction had locked; doubles
_ANNOUNCE_SECONDS = 1.0  # until the next try to say that it is active again
_ACTIVE: tuple[WorkerStatus, str | None] = (WorkerStatus.ACTIVE, None)
_CHANNEL = "workflow_worker"  # workflow.end_workflows names workers here whose leases it voided


def worker_name(settings: Settings) -> str:
    """What the worker of this process is called."""
    return settings.worker_name or f"{socket.gethostname()}-{os.getpid()}"


class Worker:
    """Runs tasks until asked to stop.

    Args:
        settings: Of the process.
        store: Its pool is opened and closed by the caller.
        handlers: What this worker can run.
        log: The worker binds its name to it.
        profiler: Told what each attempt does to memory, when there is one.
        liveness: Told that the heartbeat goes on.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        handlers: Registry,
        log: FilteringBoundLogger,
        *,
        profiler: MemoryProfiler | None = None,
        liveness: Liveness | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._offers = offers(handlers)
        self._types = [offer["name"] for offer in self._offers]
        self.name = worker_name(settings)
        self._log = log.bind(worker=self.name)
        self._wake = asyncio.Event()  # set when there may be something to do
        self._notified = 0  # counts reasons to look for work, so that none is lost while a turn is in flight
        self._transitions = Transitions(output(), self.name)
        self._attempts = Attempts(
            settings,
            store.definitions,
            handlers,
            log=self._log,
            transitions=self._transitions,
            profiler=profiler,
            on_end=self._attempt_ended,
        )
        metrics.serve_types(self._types)
        metrics.tasks_running.watch(self._types, self._attempts.types)
        self._turns = Turns(
            settings.session_database_url, lease_seconds=settings.lease_seconds, held=self._held, log=self._log
        )
        self._worker_id: int | None = None
        self._queue_worker_id: int | None = None
        self._leases: LeaseKeeper | None = None
        self._liveness = liveness or Liveness()
        self._held_up = 0  # turns in a row that found everything claimable locked
        self._draining = False
        self._held_back: str | None = None  # why it claims nothing for now
        self._announced = _ACTIVE
        self._recycling = False
        self._flush_seconds = _FLUSH_SECONDS
        self._turn_limit: asyncio.Timeout | None = None  # of the turn in flight

    async def run(self) -> None:
        """Register and work; after `drain()`, hand everything back and leave."""
        options = connection_options("workflow-engine registry")
        async with WorkerRegistry(self._settings.session_database_url, options) as registry:
            listener = asyncio.create_task(self._listen()) if self._settings.listen_notify else None
            try:
                await self._work(registry)
            finally:
                if listener:
                    await end_tasks(listener)
                await self._leave(registry)
                self._transitions.close()

    @property
    def draining(self) -> bool:
        """Whether it was asked to stop."""
        return self._draining

    @property
    def recycling(self) -> bool:
        """Whether it drains only to begin again in the same process."""
        return self._recycling

    @property
    def running(self) -> int:
        """Attempts in progress."""
        return len(self._attempts)

    @property
    def has_worked(self) -> bool:
        """Whether it ever got a task to run."""
        return self._attempts.ever_started

    def hold_back(self, reason: str) -> None:
        """Claim nothing until `go_on`; what runs goes on."""
        self._held_back = reason
        self._wake.set()

    def go_on(self) -> None:
        """Claim again."""
        self._held_back = None
        self._wake.set()

    def recycle(self) -> None:
        """Drain; whoever runs this worker then begins it again. A `stop` in between wins."""
        if not self._draining:
            self._recycling = True
            self.drain()

    def stop(self) -> None:
        """Drain for good. Twice: at once."""
        if self._recycling:
            self._recycling = False
        else:
            self.drain()

    def drain(self) -> None:
        """Stop claiming, finish own tasks within the grace time, release the rest, then end `run`. Twice: at once."""
        if self._draining:
            self._flush_seconds = _HURRIED_FLUSH_SECONDS
            self._attempts.release_all()
            self._limit_turn()
            return
        grace = self._settings.worker_shutdown_timeout
        self._log.info("draining", running=len(self._attempts), grace_seconds=grace)
        self._draining = True
        asyncio.get_running_loop().call_later(grace, self._attempts.release_all)
        self._limit_turn()
        self._wake.set()

    async def _work(self, registry: WorkerRegistry) -> None:
        while True:
            self._wake.clear()
            seen = self._notified
            if self._worker_id is None:
                await self._register(registry)
            if self._worker_id is None:
                return
            await self._announce_changes()
            batch = self._attempts.take_ended()
            want = self._settings.worker_concurrency - len(self._attempts) if self._announced == _ACTIVE else 0
            if not batch and want <= 0:
                if self._draining and not self._attempts:
                    return
                await self._wake.wait()
                continue
            turn = await self._turn(batch, want)
            if turn is None:
                return
            if not turn.registered:
                self._worker_id = None
                continue
            if self._draining or self._held_back:  # told to stop while the turn was in flight
                self._attempts.hand_back(turn.claims)
            else:
                self._attempts.start(turn.claims)
                await asyncio.sleep(0)  # what has nothing to wait for has ended then, and rides on the next turn
            if len(turn.claims) < want and not self._attempts.any_ended and self._notified == seen:
                await self._idle(turn)

    async def _turn(self, batch: list[Completion], want: int) -> Turn | None:
        """Deliver and claim. None: Postgres stayed away while the worker is stopping."""
        assert self._worker_id is not None
        started = time.monotonic()
        try:
            async with asyncio.timeout(None) as self._turn_limit:
                self._limit_turn()
                turn = await self._turns.take(
                    self._worker_id, batch, queues=self._settings.queue_names, types=self._types, want=want
                )
        except TimeoutError:
            # The leases run out by themselves and others take over.
            self._log.error("stopping without an answer from postgres", undelivered=len(batch))
            return None
        finally:
            self._turn_limit = None
        self._attempts.delivered()
        metrics.turns_ok.inc()
        metrics.turn_duration.observe(time.monotonic() - started)
        for position in turn.stale:
            metrics.stale_results.inc()
            refused = batch[position]
            facts = {
                "workflow_id": refused.workflow_id,
                "task_id": refused.task_id,
                "attempt": refused.attempt,
                "outcome": refused.outcome,
            }
            self._log.warning("stale result refused", **facts)
            write_task_line("warning", "stale result refused", {**facts, "worker": self.name})
        return turn

    def _limit_turn(self) -> None:
        """Where nothing is left to do but to deliver, bound the turn in flight: Postgres may stay away for ever."""
        limit = self._turn_limit
        if self._draining and not self._attempts and limit is not None and not limit.expired():
            limit.reschedule(asyncio.get_running_loop().time() + self._flush_seconds)

    async def _idle(self, turn: Turn) -> None:
        """Wait for a completion or a notification, at most until something is due or the poll interval is over."""
        wait = self._settings.poll_seconds
        if turn.again or turn.next_due == 0:
            # Another transaction holds what could be claimed, most likely for a moment, at worst for minutes.
            self._held_up = 0 if turn.claims else min(self._held_up + 1, 10)
            wait = min(wait, _AGAIN_SECONDS * 2 ** max(self._held_up - 1, 0))
        else:
            self._held_up = 0
            if turn.next_due is not None:
                wait = min(wait, turn.next_due + 0.001)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()

    # Registration and wake-ups ----------------------------------------------------------------------------------------

    async def _register(self, registry: WorkerRegistry) -> None:
        """Make this process known, waiting out an outage of Postgres unless it shall stop; then keep its leases."""
        if self._leases:
            await asyncio.to_thread(self._leases.stop)
        delay = 0.1
        while self._worker_id is None:
            if self._draining:
                return
            try:
                self._queue_worker_id = await registry.register()
                self._worker_id = await self._store.workers.register(
                    name=self.name,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    version=VERSION,
                    queues=self._settings.queue_names,
                    types=self._offers,
                    concurrency=self._settings.worker_concurrency,
                    heartbeat_seconds=self._settings.heartbeat_seconds,
                    queue_worker_id=self._queue_worker_id,
                )
            except StoreUnavailable as error:
                self._log.warning("cannot register yet", error=error.detail, retry_in=round(delay, 2))
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311
                delay = min(delay * 2, 5.0)
        loop = asyncio.get_running_loop()
        self._leases = LeaseKeeper(
            self._settings.session_database_url,
            worker_id=self._worker_id,
            lease_seconds=self._settings.lease_seconds,
            heartbeat_seconds=self._settings.heartbeat_seconds,
            held=self._attempts.held,
            on_lost=lambda tokens: loop.call_soon_threadsafe(self._attempts.revoke, tokens),
            on_retired=lambda: loop.call_soon_threadsafe(self._retired),
            liveness=self._liveness,
            log=self._log,
        )
        self._leases.start()
        self._announced = _ACTIVE  # as a new row is
        self._log.info(
            "worker registered", worker_id=self._worker_id, queues=self._settings.queue_names,
            concurrency=self._settings.worker_concurrency, task_types=self._types,
        )  # fmt: skip

    def _attempt_ended(self) -> None:
        self._limit_turn()
        self._wake.set()

    def _retired(self) -> None:
        self._worker_id = None
        self._wake.set()

    async def _listen(self) -> None:
        await listen(
            self._settings.session_database_url,
            connection_options("workflow-engine listener"),
            queues=self._settings.queue_names,
            channels=[_CHANNEL, DEFINITIONS_CHANNEL],
            on_queue=self._on_queue,
            on_channel=self._on_channel,
            log=self._log,
        )

    def _on_queue(self, notifier: int) -> None:
        if notifier != self._turns.backend_pid:  # our own turns claim what they insert
            self._notified += 1
            self._wake.set()

    def _on_channel(self, channel: str, payload: str) -> None:
        if channel == DEFINITIONS_CHANNEL:
            self._attempts.forget_plans()
        elif payload == str(self._worker_id) and self._leases:
            self._leases.poke()

    def _held(self) -> set[int]:
        return set(self._attempts.held().values())

    # Leaving ----------------------------------------------------------------------------------------------------------

    async def _announce_changes(self) -> None:
        """Say what others see of this worker, between two turns: a turn that finds it draining claims nothing."""
        status = _ACTIVE
        if self._draining:
            status = (WorkerStatus.DRAINING, "memory" if self._recycling else "stopping")
        elif self._held_back:
            status = (WorkerStatus.DRAINING, self._held_back)
        if status == self._announced:
            return
        if await self._announce(*status) or status != _ACTIVE:
            self._announced = status
        else:  # nothing is claimed before Postgres knows; the next try is soon
            asyncio.get_running_loop().call_later(_ANNOUNCE_SECONDS, self._wake.set)

    async def _announce(self, status: WorkerStatus, reason: str | None = None) -> bool:
        if self._worker_id is None:
            return False
        try:
            await self._store.workers.set_status(self._worker_id, status, reason)
        except StoreUnavailable as error:
            self._log.warning("cannot announce status", status=str(status), error=error.detail)
            return False
        return True

    async def _leave(self, registry: WorkerRegistry) -> None:
        if self._leases:
            await asyncio.to_thread(self._leases.stop)
        await self._turns.close()
        await self._announce(WorkerStatus.STOPPED)
        if self._queue_worker_id is not None:
            with contextlib.suppress(StoreUnavailable):  # its row is then pruned by procrastinate's own means
                await registry.unregister(self._queue_worker_id)
        self._log.info("worker stopped")
