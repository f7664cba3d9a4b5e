"""Test mode: runs a definition with given outputs and a virtual clock, without workers and network.

A trial is no model of the engine, it is the engine: the SQL functions that own every state change run on a real
Postgres, and the package `execution` runs the attempts, with the outputs that were given in place of handlers. It
happens in one transaction that is rolled back, under names that nothing else has, so nothing of it is ever seen. The
clock stands still while anything can be done, and then moves to when the next thing is due.
"""

from __future__ import annotations

import heapq
import itertools
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import structlog

from workflow_engine.definition.plan import CompiledDefinition, Plan, PlanStep
from workflow_engine.errors import StoreUnavailable, TaskError
from workflow_engine.execution import Limits, execute
from workflow_engine.execution.orchestration import ORCHESTRATED
from workflow_engine.records import Claim, Completion, Turn
from workflow_engine.secrets import Secrets
from workflow_engine.states import AttemptOutcome, TaskStatus
from workflow_engine.store.pool import as_engine_error, connection_options
from workflow_engine.store.trials import Trials
from workflow_engine.testing.compiling import compile_anything
from workflow_engine.testing.given import GivenApproval, GivenOutputs, GivenSignal, names_task
from workflow_engine.testing.result import TrialEvent, TrialResult, TrialTask
from workflow_engine.testing.stand_ins import GIVEN, OWN, StandIns

_WANT = 100  # claims of one turn
_NEVER_GIVEN = ("for_each", "loop")  # their parts are what outputs are given for


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to be tried.

    Attributes:
        definition: Compiled; its task types need not be known to anyone.
        input: Of the workflow.
        outputs: Of its steps.
        signals: Sent to the workflow and its children.
        approvals: Answers.
        now: When it starts; None = now.
        children: Definitions of child workflows by name, in place of those that are registered.
    """

    definition: CompiledDefinition
    input: Any = field(default_factory=dict)
    outputs: GivenOutputs = field(default_factory=lambda: GivenOutputs({}))
    signals: Sequence[GivenSignal] = ()
    approvals: Sequence[GivenApproval] = ()
    now: datetime | None = None
    children: Mapping[str, CompiledDefinition] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a trial may go.

    Attributes:
        seconds: Of real time.
        attempts: In all.
        timeout: Seconds of virtual time that an attempt may take, where nothing says otherwise.
        payload_bytes: Longest output.
    """

    seconds: float = 10.0
    attempts: int = 5000
    timeout: float = 60.0
    payload_bytes: int = 1024 * 1024


async def run_trial(database_url: str, trial: Trial, bounds: Bounds | None = None) -> TrialResult:
    """Run a trial on the engine's database. Nothing of it stays there.

    Raises:
        EnginePaused: The engine accepts nothing new.
        StoreUnavailable: Postgres cannot be reached, or takes too long.
    """
    try:
        async with (
            await psycopg.AsyncConnection.connect(
                database_url, **connection_options("workflow-engine test mode")
            ) as connection,
            connection.transaction(force_rollback=True),
        ):
            return await _Run(Trials(connection, uuid.uuid4().hex), trial, bounds or Bounds()).play()
    except psycopg.errors.QueryCanceled as error:
        raise StoreUnavailable(
            "Postgres took too long for one statement of the test.", hint="Try again, with fewer steps or items."
        ) from error
    except psycopg.Error as error:
        ours = as_engine_error(error)
        if ours is None:
            raise
        raise ours from error


class _Run:
    def __init__(self, store: Trials, trial: Trial, bounds: Bounds) -> None:
        self._store = store
        self._trial = trial
        self._bounds = bounds
        self._deadline = time.monotonic() + bounds.seconds
        self._began = self._now = (trial.now or datetime.now(UTC)).astimezone(UTC)
        self._handlers = StandIns(trial.outputs)
        self._plans: dict[int, Plan] = {}
        self._names: dict[str, str] = {}  # what definitions are called, by their private names
        self._written: dict[tuple[str, int], CompiledDefinition] = {}  # children that stand in their parents
        self._children: dict[tuple[str, int | None], int] = {}  # private versions, by the name and version asked for
        self._types: set[str] = set()
        self._ended: list[Completion] = []  # to be delivered with the next turn
        self._busy: list[tuple[datetime, int, Completion]] = []  # attempts that take their time
        self._order = itertools.count()
        self._attempts = 0
        self._emitting = False  # whether something was emitted that nobody has looked at
        self._letter = 0  # the last that was looked at
        self._root = UUID(int=0)

    async def play(self) -> TrialResult:
        await self._store.begin(self._now)
        await self._register(self._trial.definition)
        self._root = await self._store.start(self._trial.definition.name, self._trial.input)
        stopped = await self._go()
        self._handlers.close()
        return await self._result(stopped)

    async def _go(self) -> str | None:
        """Until the workflow has ended, or why it has not."""
        while True:
            moved = await self._tell_due()
            self._end_due()
            moved |= bool(self._ended)
            claims, due = await self._turn()
            for claim in claims:
                if self._attempts >= self._bounds.attempts:
                    return "steps"
                if time.monotonic() > self._deadline:
                    return "time"
                self._attempts += 1
                await self._run(claim)
            if claims or moved:
                continue
            swept = await self._store.sweep(self._root)
            if swept.ended:
                return None
            if time.monotonic() > self._deadline:
                return "time"
            if not swept.moved and not await self._advance(due, swept.next_due):
                return "waiting"

    # Time -------------------------------------------------------------------------------------------------------------

    def _at(self, seconds: float) -> datetime:
        return self._began + timedelta(seconds=seconds)

    async def _advance(self, due: float | None, deadline: float | None) -> bool:
        """Move the clock to when the next thing is due; False when nothing is.

        Args:
            due: Seconds until the next scheduled task.
            deadline: Seconds until the next deadline.
        """
        times = [self._now + timedelta(seconds=seconds) for seconds in (due, deadline) if seconds is not None]
        times += [self._busy[0][0]] if self._busy else []
        times += [self._at(signal.at) for signal in self._trial.signals if not signal.sent]
        times += [
            at
            for approval in self._trial.approvals
            if not approval.answered and (at := self._at(approval.at)) > self._now
        ]
        later = [at for at in times if at > self._now]
        if not later:
            return False
        self._now = min(later)
        await self._store.set_clock(self._now)
        return True

    async def _tell_due(self) -> bool:
        """Send and answer what the test gives by now."""
        told = False
        for signal in self._trial.signals:
            if not signal.sent and self._at(signal.at) <= self._now:
                signal.sent = told = True
                await self._store.signal(self._root, signal.name, signal.payload)
        for letter in await self._store.outbox(self._root, after=self._letter) if self._emitting else ():
            self._letter = letter["seq"]
            if letter["kind"] == "signal":
                told |= await self._store.signal(self._root, letter["name"], letter["payload"], to=letter["target"])
        self._emitting = False
        unanswered = any(not given.answered for given in self._trial.approvals)
        for asked in await self._store.open_approvals(self._root) if unanswered else ():
            for given in self._trial.approvals:
                if (
                    not given.answered
                    and self._at(given.at) <= self._now
                    and names_task(given.step, asked["path"], asked["step"])
                    and given.outcome in asked["outcomes"]
                ):
                    given.answered = told = True
                    await self._store.answer(asked["id"], outcome=given.outcome, data=given.data, by=given.by)
                    break
        return told

    def _end_due(self) -> None:
        """Note the ends of attempts that have taken their time."""
        while self._busy and self._busy[0][0] <= self._now:
            self._ended.append(heapq.heappop(self._busy)[2])

    # Work -------------------------------------------------------------------------------------------------------------

    async def _turn(self) -> tuple[list[Claim], float | None]:
        """Deliver, and claim what is pending; also when the next scheduled task is due."""
        ended, self._ended = self._ended, []
        self._emitting |= any("emit" in (completion.effects or {}) for completion in ended)
        try:
            turn = await self._deliver(ended, _WANT)
        except psycopg.DataError:
            for completion in ended:  # one of them is unfit
                try:
                    await self._deliver([completion], 0)
                except psycopg.DataError as error:
                    await self._deliver([_unfit(completion, error)], 0)
            turn = await self._deliver([], _WANT)
        # By position: a turn claims in any order, and what is given for items is given in theirs.
        return sorted(turn.claims, key=lambda claim: claim.task_id), turn.next_due

    async def _deliver(self, ended: Sequence[Completion], want: int) -> Turn:
        return await self._store.turn(ended, types=sorted(self._types), want=want)

    async def _run(self, claim: Claim) -> None:
        plan = self._plans[claim.version_id]
        step = plan.steps[claim.step_index]
        path = claim.path or step.id
        claim = replace(claim, workflow_name=self._names[claim.workflow_name])
        needs_no_worker = step.type in ORCHESTRATED or step.type in OWN
        if needs_no_worker and claim.resumed is None and self._is_given(step, path):
            plan = _with_given(plan, claim.step_index)
        self._handlers.took = 0.0
        limits = Limits(self._bounds.timeout, self._bounds.payload_bytes, random=lambda: 1.0)
        completion = await execute(claim, plan, self._handlers, limits, _log, secrets=_AnySecret(), definitions=self)
        assert completion is not None  # only handlers with a database complete tasks themselves
        if completion.awaits is not None and completion.awaits["kind"] == "child":
            completion = await self._with_child(completion, completion.awaits)
        at = self._now + timedelta(seconds=self._handlers.took)
        heapq.heappush(self._busy, (at, next(self._order), completion))
        self._end_due()

    def _is_given(self, step: PlanStep, path: str) -> bool:
        """Whether an output is given in place of what the engine does itself."""
        return step.type not in _NEVER_GIVEN and self._trial.outputs.has(path, step.id)

    async def _register(self, definition: CompiledDefinition) -> int:
        version, version_id = await self._store.register(definition)
        self._plans[version_id] = definition.plan
        self._names[self._store.private_name(definition.name)] = definition.name
        self._types |= {step.type for step in definition.plan.steps}
        return version

    async def register(self, definition: CompiledDefinition) -> int:
        """Register a child that was written in place."""
        version = await self._register(definition)
        self._children[definition.name, version] = version
        self._written[definition.name, version] = definition
        return version

    async def input_schema(self, name: str, version: int | None) -> Mapping[str, Any] | None:
        """What the input of a child must fit."""
        written = self._written.get((name, version or 0)) or self._trial.children.get(name)
        document = written.document if written is not None else await self._store.document(name, version)
        return None if document is None else document.get("input_schema")

    async def _with_child(self, completion: Completion, awaits: Mapping[str, Any]) -> Completion:
        """The completion of a task that waits for a child, with the private name of what is registered for it."""
        name, version = awaits["name"], awaits.get("version")
        if name in self._names:  # the task waits on, for a child that has begun
            return completion
        if (name, version) not in self._children:
            definition = self._trial.children.get(name)
            if definition is None and (document := await self._store.document(name, version)) is not None:
                definition = compile_anything(document)
            if definition is not None:
                self._children[name, version] = await self._register(definition)
        private = {"name": self._store.private_name(name), "version": self._children.get((name, version))}
        return replace(completion, awaits={**awaits, **private})

    # The end ----------------------------------------------------------------------------------------------------------

    async def _result(self, stopped: str | None) -> TrialResult:
        workflow = await self._store.workflow(self._root)
        rows = await self._store.tasks(self._root)
        emitted = [{name: row[name] for name in row if name != "seq"} for row in await self._store.outbox(self._root)]
        tasks = [TrialTask(**{name: row[name] for name in _TASK_FIELDS}) for row in rows]
        return TrialResult(
            status=workflow["status"],
            output=workflow["output"],
            error=workflow["error"],
            stopped=stopped,
            waits_for=_waits_for(workflow, rows) if stopped else [],
            tasks=tasks,
            events=[TrialEvent(**row) for row in await self._store.events(self._root)],
            emitted=emitted,
            started_at=self._began,
            duration=((workflow["finished_at"] or self._now) - self._began).total_seconds(),
            unused={
                "outputs": self._trial.outputs.unused,
                "signals": [signal.name for signal in self._trial.signals if not signal.sent],
                "approvals": [approval.step for approval in self._trial.approvals if not approval.answered],
            },
            warnings=self._trial.definition.warnings,
        )


_TASK_FIELDS = tuple(field.name for field in fields(TrialTask))
_SAID = ("name", "count", "prompt", "outcomes", "at")  # of what a task awaits, what helps
_log = structlog.get_logger("test mode")


class _AnySecret(Secrets):
    """Every secret has its own name as its value: nothing real comes into a trial."""

    def __init__(self) -> None:
        super().__init__({})

    def get(self, name: str) -> str | None:
        return f"secret {name}"


def _with_given(plan: Plan, index: int) -> Plan:
    """The plan with a step whose own type is put aside."""
    steps = list(plan.steps)
    steps[index] = replace(steps[index], type=GIVEN)
    return replace(plan, steps=tuple(steps))


def _unfit(completion: Completion, error: psycopg.Error) -> Completion:
    """Postgres refuses what the task wants stored."""
    reason = TaskError(
        "serialization_error", f"Postgres refuses the result: {error.diag.message_primary}", retryable=False
    )
    return replace(completion, outcome=AttemptOutcome.FAILED, error=reason.as_json(completion.attempt), output=None)


def _waits_for(workflow: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What keeps a workflow from going on, as far as it is not a part of it."""
    found: list[dict[str, Any]] = []
    if workflow["paused_at"] is not None:
        found.append({"path": None, "for": "resume"})
    for row in rows:
        awaits = row["awaits"] or {}
        if row["status"] == TaskStatus.WAITING and awaits.get("kind") not in ("scope", "child"):
            said = {name: awaits[name] for name in _SAID if awaits.get(name) is not None}
            found.append({"path": row["path"], "for": awaits.get("kind"), **said})
        found += [{"path": row["path"], "for": held_by} for held_by in row["held_by"]]
    return found
