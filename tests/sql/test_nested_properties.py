"""Random graphs of blocks and maps with random rules and outcomes end as the model says, and so do their retries."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from support.invariants import assert_sound

from .engine import ASKING_RULES, Engine
from .model_scopes import Nested, Scope
from .test_properties import LIKE_THIS, RULES

OUTCOMES = ("succeeded", "succeeded", "succeeded", "failed", "skipped")


@st.composite
def graphs(draw: st.DrawFn, depth: int = 2, most: int = 4) -> dict[str, Nested]:
    steps: dict[str, Nested] = {}
    for number in range(draw(st.integers(1, most))):
        name = f"s{number}"
        after = draw(st.lists(st.sampled_from(sorted(steps)), unique=True, max_size=2)) if steps else []
        step = steps[name] = Nested(
            after=after,
            ordering=[other for other in after if draw(st.integers(0, 4)) == 0],
            tolerated=draw(st.integers(0, 4)) == 0,
            rule=draw(st.sampled_from(("auto",) * 8 + RULES)),
        )
        step.least = draw(st.integers(1, 2)) if step.rule == "min_success" else None
        form = draw(st.sampled_from(("plain", "plain", "map", "block", "map of blocks"))) if depth else "plain"
        if form in ("block", "map of blocks"):
            step.inside = draw(graphs(depth=depth - 1, most=3))
        if form in ("map", "map of blocks"):
            step.inside = {name: Nested(after=[], inside=step.inside)}
            step.items = draw(st.integers(1, 4))
            step.width = draw(st.integers(1, 4))
            step.tolerates = draw(st.integers(0, 1))
    return steps


def register(engine: Engine, graph: Mapping[str, Nested], *, fail_fast: bool) -> int:
    """All steps of all scopes as one list, those of the workflow first."""
    levels: list[tuple[int, int, Mapping[str, Nested], bool]] = [(0, 0, graph, False)]
    scopes: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    while levels:
        scope, depth, steps, body = levels.pop(0)
        first = {name: len(rows) + n for n, name in enumerate(steps)}
        for name, step in steps.items():
            behind = [other for other in steps.values() if name in other.after and name not in other.ordering]
            rows.append({
                "id": name, "type": "noop", "queue": "default", "priority": 0, "refs": [], "uses_input": False,
                "dependencies": [first[other] for other in step.after],
                "ordering": [first[other] for other in step.ordering],
                "successors": [first[other] for other, o in steps.items() if name in o.after],
                "tolerated": step.tolerated, "scope": scope, "depth": depth, "body": body,
                "asked": any(other.rule in ASKING_RULES for other in behind),
                "rule": None if step.rule == "auto" else {"name": step.rule, "min": step.least},
            })  # fmt: skip
            if step.inside:
                kind = "block" if step.items is None else "item"
                number = len(scopes) + 1
                scopes.append({"scope": number, "parent_step": first[name], "kind": kind, "depth": depth + 1})
                levels.append((number, depth + 1, step.inside, kind == "item"))
    plan = {"fail_fast": fail_fast, "scopes": scopes}
    version: int = engine.value(
        "select workflow.register_definition('nested', %s, md5(%s::jsonb::text), %s, %s)",
        Jsonb(plan), Jsonb([rows, plan]), Jsonb(plan), Jsonb(rows),
    )  # fmt: skip
    return version


def play(engine: Engine, model: Scope, workflow: UUID, luck: Callable[[str], str]) -> None:
    """Round after round: claim all there is, end it in one batch."""
    while True:
        tasks = engine.rows(
            "select path, status from workflow.task_list where workflow_id = %s and not replaced", workflow
        )
        assert {row["path"]: row["status"] for row in tasks} == model.statuses()
        assert_sound(engine)
        claims = {claim.raw.get("path", claim.step): claim for claim in engine.claim(1000)}
        where = {scope.path_of(name): (scope, name) for scope, name in model.walk() if scope.status[name] == "pending"}
        assert claims.keys() == where.keys()
        if not claims:
            return
        outcomes, batch = {}, []
        for path, claim in claims.items():
            scope, name = where[path]
            outcome = outcomes[path] = scope.outcome(name, luck)
            if outcome == "waiting":
                step = scope.steps[name]
                number = engine.value(
                    "select d.scope from workflow.definition_scopes d join workflow.tasks t"
                    " on t.version_id = d.version_id and t.step_index = d.parent_step where t.id = %s", claim.task_id
                )  # fmt: skip
                batch.append(claim.opens(number, step.items or 1, width=step.width, tolerated=step.tolerates))
            else:
                assert ("resumed" in claim.raw) == (name in scope.inside)
                batch.append(getattr(claim, outcome)())
        assert engine.finish(*batch) == []
        model.settle(outcomes)


@LIKE_THIS
@given(graph=graphs(), seed=st.integers(0, 10**9), fail_fast=st.booleans())
def test_any_blocks_and_maps_end_as_the_model_says_and_can_be_retried(
    engine: Engine, graph: dict[str, Nested], seed: int, fail_fast: bool
) -> None:
    engine.forget_work()
    workflow = engine.start("nested", version=register(engine, graph, fail_fast=fail_fast))
    model = Scope(graph, "", False, fail_fast)
    model.begin()
    play(engine, model, workflow, lambda path: random.Random(f"{seed}{path}").choice(OUTCOMES))
    assert engine.status(workflow) == model.state
    if model.state == "failed":
        engine.retry(workflow)
        model.reopen()
        play(engine, model, workflow, lambda path: "succeeded")
        assert engine.status(workflow) == model.state == "succeeded"
