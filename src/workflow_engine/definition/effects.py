"""Which steps do something outside their workflow, so that running them again does it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workflow_engine.definition.plan import Plan, PlanStep

_NONE = frozenset({"transform", "noop", "fail", "switch", "block", "for_each", "loop", "wait", "signal", "terminate"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_WORDS = {
    "agent": "runs an agent",
    "llm_inference": "asks a language model",
    "tool": "calls a tool",
    "workflow": "starts a child workflow",
    "approval": "asks people",
    "emit": "sends an event",
}


def effects_of(plan: Plan) -> Iterator[tuple[str, PlanStep, str]]:
    """Every step with an effect: the id of the workflow's own step that it stands in or is, itself, what it does."""
    outermost: dict[int, str] = {}
    for step in plan.steps:  # an outer step comes before those inside it
        outer = plan.scopes[step.scope - 1].parent_step if step.scope else None
        outermost[step.index] = step.id if outer is None else outermost[outer]
        if what := effect_of(step):
            yield outermost[step.index], step, what


def effect_of(step: PlanStep) -> str | None:
    """What a step does outside its workflow, in a few words; None when it does nothing there. Types of workers may."""
    if step.type in _NONE:
        return None
    inputs: Any = None if step.inputs is None else step.inputs.source
    given = inputs if isinstance(inputs, dict) else {}
    if step.type == "http":
        # A method, or inputs as a whole, that an expression gives may be any.
        method = given.get("method", "GET" if isinstance(inputs, dict) else "${ }")
        is_known = isinstance(method, str) and "${" not in method
        if is_known and method.upper() in _READING:
            return None
        return f"sends a {method.upper()} request" if is_known else "sends a request"
    if step.type == "database":
        if not {"statement", "statements"} & given.keys():
            return "stores a record"
        return "changes a database" if given.get("mode") == "execute" else None
    return _WORDS.get(step.type, f"runs {step.type}")
