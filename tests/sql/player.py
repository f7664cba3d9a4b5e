"""Plays a whole workflow in one process, turn by turn on one connection and with a clock that the test moves.

Definitions are compiled, attempts are executed and the SQL core decides, as in production.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from typing import Any
from uuid import UUID

import orjson
import structlog
from psycopg.types.json import Jsonb

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.plan import CompiledDefinition, Plan
from workflow_engine.execution import ORCHESTRATED, Limits, execute
from workflow_engine.handlers.base import Handler, TaskContext
from workflow_engine.handlers.basic import fail, noop, transform
from workflow_engine.handlers.registry import Registry
from workflow_engine.records import Claim, Completion
from workflow_engine.store.definitions import graph_of

from .engine import Engine

Work = Callable[[dict[str, Any], TaskContext], Awaitable[Any]]

_FIELDS = tuple(field.name for field in fields(Claim))
_MOST_TURNS = 2_000


class Player:
    """Args:
    engine: The connection; its clock is moved.
    work: Handler of the type `work`, which definitions may use.
    """

    def __init__(self, engine: Engine, work: Work | None = None) -> None:
        self.engine = engine
        handlers = {"noop": noop, "transform": transform, "fail": fail, "work": work or noop}
        self._handlers = Registry({name: Handler(name, handle) for name, handle in handlers.items()})
        self._types = [*self._handlers.types, *ORCHESTRATED]
        engine.register(types=self._types)
        self._offset = 0.0
        self.paths: list[str] = []
        """Of the attempts that ran handlers, in order; without those of the engine's own types."""

    def start(self, steps: list[dict[str, Any]], input: Any = None, **top: Any) -> UUID:
        """Register and start a definition."""
        definition = compile_definition({"name": "played", "steps": steps, **top}, task_types=["work"])
        self._register(definition)
        return self.engine.start("played", input or {})

    def play(self, steps: list[dict[str, Any]], input: Any = None, **top: Any) -> tuple[str, Any]:
        """Start a definition, let it run to its end and tell how that was: its status, and its outputs or error."""
        workflow = self.start(steps, input, **top)
        self.run()
        return self.outcome(workflow)

    def outcome(self, workflow: UUID) -> tuple[str, Any]:
        (found,) = self.engine.rows("select status, error, output from workflow.workflow_list where id = %s", workflow)
        return found["status"], found["output"] if found["error"] is None else found["error"]

    def run(self, *, move: bool = True) -> None:
        """Take turns until nothing is left to do, moving the clock to whatever is due next."""
        completions: list[dict[str, Any]] = []
        for _ in range(_MOST_TURNS):
            answer = self.engine.turn(completions, want=100, types=self._types)
            assert answer["stale"] == []
            completions = asyncio.run(self._execute([_claim(raw) for raw in answer["claims"]]))
            if completions:
                continue
            if answer["next_due"] is None or not move:
                return
            self.wait(answer["next_due"] + 0.01)
        raise AssertionError("it does not come to an end")

    def wait(self, seconds: float) -> None:
        """Move the clock."""
        self._offset += seconds
        self.engine.set_clock(f"{self._offset} seconds")

    async def _execute(self, claims: list[Claim]) -> list[dict[str, Any]]:
        limits, log, found = Limits(30, 1 << 20), structlog.get_logger(), []
        for claim in claims:
            plan = Plan.from_json(
                self.engine.value("select plan from workflow.definition_versions where id = %s", claim.version_id)
            )
            step = plan.steps[claim.step_index]
            if step.type not in ORCHESTRATED:
                self.paths.append(claim.path or step.id)
            ended = await execute(claim, plan, self._handlers, limits, log, definitions=self)
            if ended is not None:
                found.append(_json(ended))
        return found

    async def register(self, definition: CompiledDefinition) -> int:
        return self._register(definition)

    async def input_schema(self, name: str, version: int | None) -> None:
        """The definitions that are played take any input."""

    def _register(self, definition: CompiledDefinition) -> int:
        version: int = self.engine.value(
            "select workflow.register_definition(%s, %s, %s, %s, %s)",
            definition.name,
            Jsonb(definition.document),
            definition.hash,
            Jsonb(definition.plan.to_json()),
            Jsonb(graph_of(definition.plan)),
        )
        return version


def _claim(raw: Mapping[str, Any]) -> Claim:
    return Claim(**{name: raw[name] for name in _FIELDS if name in raw})


def _json(ended: Completion) -> dict[str, Any]:
    told = {field.name: getattr(ended, field.name) for field in fields(ended) if field.name != "workflow_id"}
    if ended.output is not None:
        told["output"] = orjson.loads(ended.output)
    return {name: value for name, value in told.items() if value is not None}
