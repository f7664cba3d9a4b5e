"""Every trigger rule against every mix of upstream outcomes, with and without conditions, is as the model says."""

import re
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from support.invariants import assert_sound

from .engine import Engine, Spec, step
from .model import ENDED, counts_as, verdict
from .model_step import Step
from .model_workflow import Model

RULES = ("auto", "all_success", "all_done", "none_failed", "one_success", "one_failed", "all_failed", "always")
RULED = [*((rule, None) for rule in RULES), ("min_success", 1), ("min_success", 2), ("min_success", 3)]
OUTCOMES = ("succeeded", "failed", "tolerated", "skipped")
CONDITIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "failed": {"on": ["failed"]},
    "skipped": {"on": ["skipped"]},
    "ended": {"on": ["succeeded", "failed", "skipped", "cancelled"]},
    "chosen": {"cases": ["small", "big"]},
    "other": {"cases": ["huge"]},
    "ordering": {},
}
LANGUAGE = Path(__file__).parents[2] / "docs" / "language.md"


def downstream(names: list[str], rule: str, least: int | None, conditions: tuple[str, ...]) -> Step:
    of = dict(zip(names, conditions, strict=True))
    return Step(
        after=names,
        ordering=[name for name in names if of[name] == "ordering"],
        rule=rule,
        least=least,
        on={name: CONDITIONS[of[name]]["on"] for name in names if "on" in CONDITIONS[of[name]]},
        cases={name: CONDITIONS[of[name]]["cases"] for name in names if "cases" in CONDITIONS[of[name]]},
    )


def graph(outcomes: tuple[str, ...], conditions: tuple[str, ...]) -> dict[str, Step]:
    """Steps with these outcomes, and behind all of them a step for every rule and every mix of conditions."""
    before = {
        f"u{n}": Step([], tolerated=outcome == "tolerated", script=[outcome], chooses=["big"])
        for n, outcome in enumerate(outcomes)
    }
    names = list(before)
    return before | {
        f"{rule}-{least or 0}-{'-'.join(mix)}": downstream(names, rule, least, mix)
        for rule, least in RULED
        for mix in product(conditions, repeat=len(names))
    }


def end(engine: Engine, name: str, outcome: str) -> None:
    """End a task; all others that are claimed with it are given back."""
    claims = engine.claim(5000)
    claim = next(c for c in claims if c.step == name)
    engine.finish(*(c.released() for c in claims if c is not claim))
    engine.finish(
        claim.succeeded({"cases": ["big"]}) if outcome == "succeeded"
        else claim.skipped() if outcome == "skipped" else claim.failed()
    )  # fmt: skip


def mixes(most: int) -> list[tuple[str, ...]]:
    """Outcomes of one to `most` steps; what matters is what they are, and which ends last."""
    return [mix for n in range(1, most + 1) for mix in combinations_with_replacement(OUTCOMES, n)]


@pytest.mark.parametrize("outcomes", mixes(3), ids="-".join)
def test_every_rule_decides_about_every_mix_of_outcomes_as_soon_as_it_is_certain(
    engine: Engine, outcomes: tuple[str, ...]
) -> None:
    model = Model(graph(outcomes, ("plain", "ordering") if len(outcomes) == 3 else ("plain",)), fail_fast=False)
    play(engine, model, outcomes)


@pytest.mark.parametrize("outcomes", mixes(2), ids="-".join)
def test_every_rule_decides_about_every_mix_of_conditions(engine: Engine, outcomes: tuple[str, ...]) -> None:
    play(engine, Model(graph(outcomes, tuple(CONDITIONS)), fail_fast=False), outcomes)


def play(engine: Engine, model: Model, outcomes: tuple[str, ...]) -> None:
    """End the first steps one by one; after each, everything behind them is as the model says."""
    engine.define({name: step.spec for name, step in model.steps.items()}, fail_fast=False)
    workflow = engine.start()
    assert engine.tasks(workflow) == model.status
    for number, outcome in enumerate(outcomes):
        end(engine, f"u{number}", outcome)
        model.settle({f"u{number}": "failed" if outcome == "tolerated" else outcome})
        assert engine.tasks(workflow) == model.status
    while claims := engine.claim(5000):
        engine.finish(*(c.succeeded() for c in claims))
        model.settle({c.step: "succeeded" for c in claims})
    assert engine.tasks(workflow) == model.status
    assert engine.status(workflow) == model.workflow


def test_the_functions_agree_with_the_model_also_where_no_workflow_gets_them(engine: Engine) -> None:
    """Cancelled dependencies, and every partial count of up to four."""
    counts = []
    for rule, status, tolerated, condition, chosen in product(
        RULES, sorted(ENDED), (False, True), CONDITIONS.values(), (["big"], [])
    ):
        asking = Step(["a"], rule=rule, **{word: {"a": wanted} for word, wanted in condition.items()})
        expected = counts_as(asking, "a", status, Step([], tolerated=tolerated, chooses=chosen))
        counts.append((status, tolerated, rule, condition, chosen, expected))
    for row in counts:
        status, tolerated, rule, condition, chosen, expected = row
        found = engine.value(
            "select workflow.counts_as(%s, %s, jsonb_build_object('name', %s::text), %s, %s)",
            status, tolerated, rule, jsonb(condition or None), jsonb(chosen),
        )  # fmt: skip
        assert found == expected, row
    for (rule, least), n, open in product(RULED, product(range(3), repeat=4), range(3)):
        counted = ["succeeded"] * n[0] + ["failed"] * n[1] + ["skipped"] * n[2] + ["unmet"] * n[3]
        expected = verdict(Step([], rule=rule, least=least), counted, open)
        found = engine.value(
            "select workflow.verdict(%s, %s, 0, %s, %s, %s, %s)",
            None if rule == "auto" and n[0] else jsonb({"name": rule, "min": least}),
            open, len(counted) + open, n[0], n[1], n[3],
        )  # fmt: skip
        assert found == expected, (rule, least, counted, open)


def jsonb(value: Any) -> Jsonb | None:
    return None if value is None else Jsonb(value)


# The table of the documentation ---------------------------------------------------------------------------------------

WORDS = {"runs": "pending", "skipped": "skipped", "fails": "failed", "waits": "blocked"}


def documented() -> tuple[list[str], dict[str, list[str]]]:
    """Situations, and by rule what becomes of a step in each of them."""
    lines = LANGUAGE.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| `trigger_rule` |"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:] if line.startswith("|")]
    size = next(n for n, line in enumerate(lines[start:]) if not line.startswith("|"))
    head, _, *rows = cells[:size]
    return head[1:], {row[0].strip("`"): row[1:] for row in rows}


def test_the_table_of_rules_in_the_documentation_is_what_happens(engine: Engine) -> None:
    situations, table = documented()
    assert set(table) == {*RULES, '{"min_success": 2}'}
    for number, situation in enumerate(situations):
        ended = re.findall(r"succeeded|failed|skipped|open", situation)
        assert len(ended) == 2, situation
        spec: Spec = {"a": [], "b": []} | {
            rule: step(["a", "b"], rule="min_success", least=2) if "min" in rule else step(["a", "b"], rule=rule)
            for rule in table
        }
        engine.define(spec, fail_fast=False)
        workflow: UUID = engine.start()
        for name, outcome in zip("ab", ended, strict=True):
            if outcome != "open":
                end(engine, name, outcome)
        statuses = engine.tasks(workflow)
        assert {rule: statuses[rule] for rule in table} == {rule: WORDS[row[number]] for rule, row in table.items()}
        engine.cancel(workflow)


def test_a_step_that_need_not_wait_for_another_has_one_job_when_both_are_retried(engine: Engine) -> None:
    engine.define({"a": step(), "b": step(["a"], rule="always")}, fail_fast=False)
    workflow = engine.start()
    engine.finish(*(claim.failed() for claim in engine.claim()))
    assert engine.retry(workflow) == 2
    assert_sound(engine)
    assert sorted(claim.step for claim in engine.claim()) == ["a", "b"]
