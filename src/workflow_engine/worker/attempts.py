"""The attempts a worker has in progress, and those that ended and wait for the next turn."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from workflow_engine.definition.plan import Plan, PlanStep
from workflow_engine.errors import StoreUnavailable
from workflow_engine.execution import Limits, execute
from workflow_engine.handlers.registry import Registry
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import KEEPER
from workflow_engine.observability.trace_context import trace_fields
from workflow_engine.observability.tracing import spans
from workflow_engine.observability.transitions import Identity, Transitions
from workflow_engine.records import Claim, Completion
from workflow_engine.secrets import Secrets
from workflow_engine.settings import Settings
from workflow_engine.states import AttemptOutcome
from workflow_engine.store.definitions import Definitions
from workflow_engine.worker.alone import Alone, Crashed, crash_error, lost_for_good, put_off
from workflow_engine.worker.leases import resident_bytes
from workflow_engine.worker.plans import Plans
from workflow_engine.worker.profiler import MemoryProfiler
from workflow_engine.worker.task_log import TaskLog

if TYPE_CHECKING:
    from workflow_engine.observability.spans import AttemptSpan, Spans


@dataclass(slots=True)
class _Attempt:
    claim: Claim
    started: float
    task: asyncio.Task[None] | None = None
    revoked: bool = False  # the lease is gone: nobody wants the result
    alone: bool = False  # it runs in a process of its own
    identity: Identity | None = None  # what names it in lines about transitions, once it was picked up
    span: AttemptSpan | None = None


class Attempts:
    """Runs claims side by side and collects their completions.

    Args:
        settings: Of the process.
        definitions: Where plans are read, once per version.
        handlers: What can be run.
        log: Bound to the worker.
        transitions: Told how each attempt goes.
        profiler: Told what each attempt does to memory, when there is one.
        on_end: Called in the event loop whenever an attempt ended.
    """

    def __init__(
        self,
        settings: Settings,
        definitions: Definitions,
        handlers: Registry,
        *,
        log: FilteringBoundLogger,
        transitions: Transitions,
        profiler: MemoryProfiler | None,
        on_end: Callable[[], None],
    ) -> None:
        self._transitions = transitions
        self._profiler = profiler
        self.ever_started = False
        self._definitions = definitions
        self._handlers = handlers
        self._log = log
        self._on_end = on_end
        self._limits = Limits(settings.task_timeout, settings.max_payload_bytes)
        self._secrets = Secrets(os.environ, settings.secrets_dir)
        self._plans = Plans(definitions)
        self._alone = Alone(settings, log)
        self._spans = spans()
        self._worker = transitions.worker
        self._running: dict[str, _Attempt] = {}  # by lease token: a task may be here twice, once revoked
        self._ended: list[Completion] = []
        self._delivering: list[Completion] = []
        self._guard = threading.Lock()  # the heartbeat thread reads what the event loop writes

    def __len__(self) -> int:
        """Slots in use."""
        return len(self._running)

    @property
    def any_ended(self) -> bool:
        return bool(self._ended)

    def types(self) -> list[str]:
        """The types of what runs, `unknown` of what is just being looked up. For any thread."""
        with self._guard:
            running = list(self._running.values())
        return [attempt.identity.type if attempt.identity else "unknown" for attempt in running]

    def held(self) -> dict[str, int]:
        """Lease token -> task id of all that runs or is not yet known to be recorded. For any thread."""
        with self._guard:
            return {token: a.claim.task_id for token, a in self._running.items() if not a.revoked} | {
                c.lease_token: c.task_id for c in (*self._ended, *self._delivering)
            }

    def start(self, claims: Iterable[Claim]) -> None:
        """Run claimed tasks; returns at once. Suspects for which there is no room are put off."""
        now = time.monotonic()
        attempts: dict[str, _Attempt] = {}
        postponed: list[Completion] = []
        for claim in claims:
            suspected = claim.crashes > 0 and self._alone.suspects(claim)
            if suspected and not self._alone.take_place(claim):
                postponed.append(put_off(claim))
            else:
                attempts[claim.lease_token] = _Attempt(claim, now, alone=suspected)
        with self._guard:
            self._running.update(attempts)
            self._ended += postponed
        for attempt in attempts.values():
            self.ever_started = True
            attempt.task = asyncio.create_task(self._run(attempt))

    def hand_back(self, claims: Iterable[Claim]) -> None:
        """Return claimed tasks without running them; it spends no try."""
        with self._guard:
            self._ended += map(_released, claims)

    def take_ended(self) -> list[Completion]:
        """The completions since the last call. They stay held until `delivered` is called."""
        with self._guard:
            self._delivering, self._ended = self._ended, []
        return self._delivering

    def delivered(self) -> None:
        """What was last taken is recorded."""
        with self._guard:
            self._delivering = []

    def revoke(self, tokens: Iterable[str]) -> None:
        """Stop attempts whose lease is gone; their results are dropped."""
        for token in tokens:
            attempt = self._running.get(token)
            if attempt and attempt.task and not attempt.revoked:
                attempt.revoked = True
                self._log.warning(
                    "lease lost, task stopped", workflow_id=attempt.claim.workflow_id, task_id=attempt.claim.task_id,
                    attempt=attempt.claim.attempt,
                )  # fmt: skip
                attempt.task.cancel()

    def release_all(self) -> None:
        """Stop everything that runs and hand it back without spending a try."""
        for attempt in list(self._running.values()):
            if attempt.task:
                attempt.task.cancel()

    async def _run(self, attempt: _Attempt) -> None:
        claim = attempt.claim
        completion: Completion | None = None
        outcome, step_type = str(AttemptOutcome.CANCELLED), "unknown"
        kept = TaskLog()
        memory = resident_bytes() if self._profiler else 0
        try:
            plan = self._plans.get(claim.version_id) or await self._plans.read(claim.version_id)
            step = plan.steps[claim.step_index]
            step_type = step.type
            metrics.wait_of(step.queue).observe(max(claim.wait_seconds, 0))
            if self._spans is not None:
                attempt.span = self._begin_span(self._spans, claim, plan, step)
            log = self._log.bind(
                workflow_id=claim.workflow_id, task_id=claim.task_id, step=step.id, type=step.type,
                attempt=claim.attempt, **{KEEPER: kept}, **trace_fields(claim.traceparent),
            )  # fmt: skip
            attempt.identity = self._transitions.picked_up(claim, step.id, step.type)
            if attempt.alone:
                completion = await self._run_alone(claim, plan, log)
            else:
                completion = await self._execute(claim, plan, log)
            outcome = completion.outcome if completion else AttemptOutcome.SUCCEEDED
        except asyncio.CancelledError:
            # Cancelled only by `revoke` and `release_all`; the latter hands the task to another worker.
            completion = None if attempt.revoked else _released(claim)
        except StoreUnavailable as error:
            self._log.warning(
                "plan not readable, task released", workflow_id=claim.workflow_id, task_id=claim.task_id,
                error=error.detail,
            )  # fmt: skip
            completion = _released(claim)
        except Exception:  # a bug of ours: say so, and let another attempt or worker try
            self._log.exception("attempt broke", workflow_id=claim.workflow_id, task_id=claim.task_id)
        finally:
            if attempt.alone:
                self._alone.give_place()
            if completion and completion.outcome == AttemptOutcome.RELEASED:
                outcome = AttemptOutcome.RELEASED
            seconds = time.monotonic() - attempt.started
            self._tell(attempt, step_type, outcome, completion, seconds)
            if self._profiler:
                self._profiler.compare(memory, claim, step_type, running=len(self._running))
            metrics.count_attempt(step_type, outcome, seconds)
            with self._guard:
                self._running.pop(claim.lease_token, None)
                if completion is not None and not attempt.revoked:
                    lines = kept.lines()
                    self._ended.append(replace(completion, logs=lines) if lines else completion)
            self._on_end()

    async def _execute(self, claim: Claim, plan: Plan, log: FilteringBoundLogger) -> Completion | None:
        return await execute(
            claim, plan, self._handlers, self._limits, log, secrets=self._secrets, definitions=self._definitions
        )

    async def _run_alone(self, claim: Claim, plan: Plan, log: FilteringBoundLogger) -> Completion | None:
        """Run a suspect in a process of its own; if that crashes, the task has lost its last worker."""
        try:
            return await self._alone.run(claim)
        except (OSError, StoreUnavailable) as error:  # no process, no memory, no Postgres: later, or another worker
            log.warning("no process to run the task alone", error=str(error))
            return put_off(claim)
        except Crashed as crash:
            log.error("task has crashed its own process", error=str(crash), lost_workers=claim.crashes)
            # As the error of any attempt it may be caught.
            found = await self._execute(replace(claim, raised=crash_error(claim, crash)), plan, log)
            return found and lost_for_good(found)

    def _begin_span(self, spans: Spans, claim: Claim, plan: Plan, step: PlanStep) -> AttemptSpan | None:
        """Begin the span of an attempt; what it sends and starts belongs to that from now on."""
        after = _ran_before(claim, plan, step)
        try:
            begun = spans.attempt(
                claim, step=step.id, type=step.type, queue=step.queue, worker=self._worker, after=after
            )
        except Exception:  # a bug: work does not depend on being watched
            self._log.exception("an attempt has no span", workflow_id=claim.workflow_id, task_id=claim.task_id)
            return None
        claim.traceparent = begun.traceparent
        return begun

    def forget_plans(self) -> None:
        """Read plans anew from now on; attempts that run keep theirs."""
        self._plans.forget()

    def _tell(
        self,
        attempt: _Attempt,
        step_type: str,
        outcome: str,
        completion: Completion | None,
        seconds: float,
    ) -> None:
        error = completion.error if completion else None
        if attempt.span and not attempt.revoked and outcome != AttemptOutcome.CANCELLED:
            try:
                attempt.span.end(outcome, error)  # what nobody completes is told by the engine, as below
            except Exception:  # a bug: work does not depend on being watched
                self._log.exception("the span of an attempt does not end", task_id=attempt.claim.task_id)
        if error and error["type"] == "timeout":
            metrics.task_timeouts.labels(step_type).inc()
        if not attempt.identity:  # it never began
            return
        if completion is None or error is None:
            # What became of a revoked attempt, lost or cancelled, is told by the engine that decided it.
            self._transitions.ended(attempt.identity, "stopped" if attempt.revoked else outcome, seconds)
            return
        fields = {"error_type": error["type"], "timeout": error["details"].get("timeout"), "retry_in": completion.delay}
        self._transitions.failed(attempt.identity, error["message"], outcome, seconds, fields)


def _ran_before(claim: Claim, plan: Plan, step: PlanStep) -> Iterator[tuple[int, int]]:
    """Task id and attempt of the dependencies whose results the claim has, where they had attempts."""
    results = claim.steps or {}
    for index in step.dependencies if results else ():
        attempt = results.get(plan.steps[index].id, {}).get("attempt", 0)
        if attempt > 0:
            yield claim.task_id - claim.step_index + index, attempt


def _released(claim: Claim) -> Completion:
    return Completion(
        claim.task_id, claim.attempt, claim.lease_token, AttemptOutcome.RELEASED, workflow_id=claim.workflow_id
    )
