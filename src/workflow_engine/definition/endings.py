"""Reads what follows when a workflow's steps have ended: handlers and the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workflow_engine.definition.fields import Fields
from workflow_engine.definition.plan import StepKind
from workflow_engine.definition.retries import RetryPolicy
from workflow_engine.definition.step_policies import Defaults
from workflow_engine.definition.step_records import StepRecord
from workflow_engine.definition.steps import StepReader

_HANDLERS: tuple[StepKind, ...] = ("on_failure", "on_exit")


def read_ending(
    top: Fields, defaults: Defaults, reader: StepReader, own: Sequence[StepRecord]
) -> tuple[tuple[StepKind, StepRecord], ...]:
    """The steps that are made when the workflow's own have ended, with their kinds.

    Their paths are their kinds, so none of the workflow's own steps may be called like one that there is.
    """
    found: list[tuple[StepKind, StepRecord]] = []
    for kind in _HANDLERS:
        part = top.part(kind)
        if part is None:
            continue
        part.refuse_unknown(("steps",))
        block = _step(kind, "block", part.pointer, defaults, steps=reader.read_nested(part))
        found.append((kind, block))
    if top.get("output") is not None:
        inputs, places = {"value": top.get("output")}, {"value": top.at("output")}
        found.append(("output", _step("output", "transform", "", defaults, inputs=inputs, input_places=places)))
    kinds = {kind for kind, _ in found}
    for step in own:
        if step.id in kinds:
            message = f"'{step.id}' is how tasks of the workflow's own `{step.id}` are called; give the step another id"
            top.faults.add(f"{step.pointer}/id", "duplicate-step-id", message)
    return tuple(found)


def _step(step_id: str, step_type: str, pointer: str, defaults: Defaults, **fields: Any) -> StepRecord:
    given: dict[str, Any] = {"inputs": None, "input_places": {}, "steps": (), **fields}
    return StepRecord(
        pointer=pointer,
        id=step_id,
        type=step_type,
        edges=(),
        rule=None,
        when=None,
        output=None,
        output_schema=None,
        retries=RetryPolicy(max_attempts=1),
        retry_condition_place="",
        timeout=None,
        timeouts=None,
        on_error="fail",
        catches=(),
        queue=defaults.queue,
        priority=0,
        idempotency_key=None,
        resources=(),
        **given,
    )
