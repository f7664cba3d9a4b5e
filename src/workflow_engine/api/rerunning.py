"""Running a workflow again from a step: what is checked before, and what it will come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from workflow_engine.api.starting import Key
from workflow_engine.definition.diff import compare
from workflow_engine.definition.effects import effects_of
from workflow_engine.definition.faults import clipped, did_you_mean
from workflow_engine.definition.input_schema import validate_input
from workflow_engine.definition.plan import Plan
from workflow_engine.errors import Fault, InputInvalid
from workflow_engine.records import Rerun, Workflow
from workflow_engine.store.store import Store


@dataclass(frozen=True, slots=True)
class RerunRequest:
    """What is asked for.

    Attributes:
        start: Id of the step to run again with all that is behind it; None: everything.
        has_input: Whether the new workflow gets another input.
        input: That input.
        version: Of the definition; None: the workflow's own.
    """

    start: str | None
    has_input: bool
    input: Any
    version: int | None


@dataclass(frozen=True, slots=True)
class Reran:
    """What was done, or would be.

    Attributes:
        rerun: Which steps run again and which are kept.
        effects: What is done outside once more: the step, what it stands in, and in words what it does.
        warnings: What may not be meant.
    """

    rerun: Rerun
    effects: list[dict[str, str]]
    warnings: list[str]


async def rerun(
    store: Store, workflow_id: str, request: RerunRequest, *, dry_run: bool, key: Key | None = None, by: str = ""
) -> Reran:
    """Start a workflow again, or say what that would come to; `by` is the name of the principal.

    Raises:
        InputInvalid: There is no such step, or the version does not take the input.
        EngineError: As `Reruns.rerun`.
    """
    old = await store.workflows.get(workflow_id)
    version = await store.definitions.resolve(old.name, request.version or old.version)
    plan = await store.definitions.plan(version.id)
    if request.start is not None and request.start not in plan.by_id:
        raise _no_such_step(request.start, plan)
    schema = plan.input_schema
    validate_input(schema if isinstance(schema, dict) else None, request.input if request.has_input else old.input)
    done = await store.reruns.rerun(
        UUID(workflow_id),
        start=request.start,
        input=request.input if request.has_input else None,
        version=request.version,
        dry_run=dry_run,
        key=key.key if key else None,
        fingerprint=key.fingerprint if key else "",
        principal=by,
    )
    effects = _repeated_effects(plan, done)
    changed = await _kept_though_changed(store, old, done) if version.version != old.version else []
    return Reran(done, effects, list(_warnings(request, done, effects, changed)))


async def kept_approvals(store: Store, workflow_id: str, request: RerunRequest) -> list[str]:
    """The steps of which a rerun would keep answers of people, who would not be asked whether they still hold.

    Raises:
        EngineError: As `Reruns.rerun`.
    """
    old = await store.workflows.get(workflow_id)
    version = await store.definitions.resolve(old.name, request.version or old.version)
    plan = await store.definitions.plan(version.id)
    asking = {own for own, step, _ in effects_of(plan) if step.type == "approval"}
    if request.start not in plan.by_id or not asking:
        return []
    would = await store.reruns.rerun(UUID(workflow_id), start=request.start, version=request.version, dry_run=True)
    return [kept["step"] for kept in would.kept if kept["step"] in asking]


def _no_such_step(given: str, plan: Plan) -> InputInvalid:
    inner = given.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
    if inner != given and inner in plan.by_id:
        hint = f"; what stands inside {clipped(inner)} runs again with it: write that"
    elif any(step.id == given for step in plan.steps):
        hint = "; it stands inside another step, and runs again with that one"
    else:
        hint = did_you_mean(given, plan.by_id)
    return InputInvalid([Fault("/from", "unknown-dependency", f"there is no step {clipped(given)}{hint}")])


def _repeated_effects(plan: Plan, done: Rerun) -> list[dict[str, str]]:
    ran = {step["step"] for step in done.again if step["ran"]}
    return [
        {"step": own, "inside": step.id, "type": step.type, "effect": what}
        for own, step, what in effects_of(plan)
        if own in ran and (step.kind == "step" or step.scope)
    ]


async def _kept_though_changed(store: Store, old: Workflow, done: Rerun) -> list[str]:
    before = await store.definitions.get(old.name, old.version)
    after = await store.definitions.get(old.name, done.version)
    changed = {step.id for step in compare(before.document, after.document).changed}
    return [step["step"] for step in done.kept if step["step"] in changed]


def _warnings(
    request: RerunRequest, done: Rerun, effects: list[Mapping[str, str]] | list[dict[str, str]], changed: list[str]
) -> Iterator[str]:
    if effects:
        steps = ", ".join(dict.fromkeys(effect["step"] for effect in effects))
        yield f"What these steps did outside is done again: {steps}."
    if request.has_input and done.kept:
        yield "The results that are kept were made from the old input."
    if changed:
        yield f"Kept, though version {done.version} has them otherwise: {', '.join(changed)}."
