"""workflow.rerun: a new workflow that begins with what the steps gave that do not run again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from .engine import Engine, Spec, step
from .test_cancel_retry import refused
from .test_graph import play
from .test_retry_task import run_all, task_id
from .visits import rows_visited

DIAMOND: Spec = {"a": [], "b": ["a"], "c": ["a"], "d": step(["b", "c"], refs=["b", "c"])}


def rerun(
    engine: Engine,
    workflow: UUID,
    start: str | None = None,
    *,
    input: Any = None,
    version: int | None = None,
    dry_run: bool = False,
    key: str | None = None,
) -> dict[str, Any]:
    answer: dict[str, Any] = engine.value(
        "select workflow.rerun(%s, %s, %s, %s, %s, %s)",
        workflow,
        start,
        None if input is None else Jsonb(input),
        version,
        dry_run,
        key,
    )
    return answer


def parts(answer: dict[str, Any]) -> tuple[list[str], list[str]]:
    return [s["step"] for s in answer["again"]], [s["step"] for s in answer["kept"]]


def play_all(engine: Engine, spec: Spec, **outcomes: str) -> UUID:
    return play(engine, spec, outcomes)


def test_what_lies_behind_the_step_runs_again_with_the_results_of_the_rest(engine: Engine) -> None:
    engine.define(DIAMOND)
    old = engine.start(input={"day": 1}, labels={"team": "x"}, priority=5)
    while claims := engine.claim():
        engine.finish(*(c.succeeded({"of": c.step}) for c in claims))

    answer = rerun(engine, old, "b")

    assert parts(answer) == (["b", "d"], ["a", "c"])
    new = UUID(answer["id"])
    assert engine.tasks(new) == {"a": "succeeded", "b": "pending", "c": "succeeded", "d": "blocked"}
    shown = engine.workflow(new)
    assert (shown["status"], shown["input"], shown["labels"], shown["priority"], shown["rerun_of"]) == (
        "pending", {"day": 1}, {"team": "x"}, 5, old,
    )  # fmt: skip
    kept = engine.task(new, "a")
    assert (kept["output"], kept["output_from"], kept["attempt"]) == ({"of": "a"}, "rerun", 0)
    assert kept["finished_at"] == engine.task(old, "a")["finished_at"]
    engine.finish(engine.claim_one("b").succeeded({"of": "new b"}))
    last = engine.claim_one("d")
    assert [last.raw["steps"][name]["output"] for name in ("b", "c")] == [{"of": "new b"}, {"of": "c"}]
    engine.finish(last.succeeded())
    assert engine.status(new) == "succeeded"
    assert engine.status(old) == "succeeded", "it stays as it was"
    assert engine.events(old)[-1] == "workflow.rerun"
    assert "workflow.began_as_rerun" in engine.events(new)


def test_without_a_step_everything_runs_again_with_another_input(engine: Engine) -> None:
    old = play_all(engine, DIAMOND)

    answer = rerun(engine, old, input={"x": 2})

    assert parts(answer) == (["a", "b", "c", "d"], [])
    assert engine.workflow(UUID(answer["id"]))["input"] == {"x": 2}
    assert run_all(engine) == ["a", "b", "c", "d"]


def test_what_did_not_succeed_runs_again_too(engine: Engine) -> None:
    spec: Spec = {"a": [], "b": ["a"], "x": [], "y": ["x"], "z": ["y"]}
    old = play(engine, spec, {"y": "failed"}, fail_fast=False)

    answer = rerun(engine, old, "b")

    assert parts(answer) == (["b", "y", "z"], ["a", "x"])
    assert {s["step"]: s["ran"] for s in answer["again"]} == {"b": True, "y": True, "z": False}
    assert run_all(engine) == ["b", "y", "z"]
    assert engine.status(UUID(answer["id"])) == "succeeded"


def test_what_was_skipped_or_tolerated_is_kept_on_the_same_version(engine: Engine) -> None:
    spec: Spec = {"a": [], "s": ["a"], "t": step(["a"], tolerated=True), "end": step(["a", "t"], ordering=["s"])}
    old = play(engine, spec, {"s": "skipped", "t": "failed"})

    answer = rerun(engine, old, "end")

    new = UUID(answer["id"])
    assert [(s["step"], s["status"]) for s in answer["kept"]] == [
        ("a", "succeeded"), ("s", "skipped"), ("t", "failed"),
    ]  # fmt: skip
    assert engine.task(new, "t")["error"] == engine.task(old, "t")["error"]
    assert run_all(engine) == ["end"]
    assert engine.status(new) == "succeeded"


def test_on_a_new_version_a_step_is_kept_with_all_it_depends_on_or_not_at_all(engine: Engine) -> None:
    old = play(engine, {"a": [], "b": ["a"], "c": ["b"], "last": ["c"]}, {})
    engine.define({"a": [], "b": step(["a"], type="http"), "c": ["b"], "new": ["a"], "last": ["new"]})

    answer = rerun(engine, old, "last", version=2)

    assert parts(answer) == (["b", "c", "new", "last"], ["a"])
    assert {s["step"]: s["ran"] for s in answer["again"]} == {"b": False, "c": True, "new": False, "last": True}
    assert engine.workflow(UUID(answer["id"]))["version"] == 2
    assert run_all(engine) == ["b", "new", "c", "last"]


def test_what_its_compensation_has_undone_runs_again(engine: Engine) -> None:
    engine.define({"x": [], "a": step(compensation=3), "b": ["a", "x"], "a.compensate": step(kind="compensation")})
    old = engine.start()
    engine.finish(*(claim.succeeded() for claim in engine.claim()))
    engine.finish(engine.claim_one("b").failed())
    engine.finish(engine.claim_one("a.compensate").succeeded())
    assert engine.status(old) == "failed"

    answer = rerun(engine, old, "b")

    assert parts(answer) == (["a", "b"], ["x"])
    assert run_all(engine) == ["a", "b"]
    assert engine.status(UUID(answer["id"])) == "succeeded"


def test_a_dry_run_changes_nothing(engine: Engine) -> None:
    old = play_all(engine, DIAMOND)
    before = engine.snapshot()

    answer = rerun(engine, old, "d", dry_run=True)

    assert (answer["id"], answer["status"], answer["version"], parts(answer)) == (
        None,
        None,
        1,
        (["d"], ["a", "b", "c"]),
    )
    assert engine.snapshot() == before


def test_the_same_key_starts_one(engine: Engine) -> None:
    old = play_all(engine, DIAMOND)

    first, again = rerun(engine, old, "d", key="k"), rerun(engine, old, "d", key="k")

    assert (again["id"], first["replayed"], again["replayed"]) == (first["id"], False, True)
    assert run_all(engine) == ["d"]


def test_it_is_refused_while_the_workflow_runs_and_for_what_is_unknown(engine: Engine) -> None:
    engine.define(DIAMOND)
    workflow = engine.start()
    assert refused(lambda: rerun(engine, workflow)) == ("WF409", "invalid-transition")
    engine.cancel(workflow)
    before = engine.snapshot()
    assert refused(lambda: rerun(engine, workflow, "nope")) == ("WF404", "task-not-found")
    assert refused(lambda: rerun(engine, workflow, version=9)) == ("WF404", "definition-not-found")
    assert refused(lambda: rerun(engine, UUID(int=1))) == ("WF404", "workflow-not-found")
    assert engine.snapshot() == before
    assert parts(rerun(engine, workflow, "d")) == (["a", "b", "c", "d"], []), "nothing has succeeded"


def test_a_rerun_can_be_rerun_and_retried(engine: Engine) -> None:
    old = play_all(engine, DIAMOND)
    first = UUID(rerun(engine, old, "d")["id"])
    engine.finish(engine.claim_one("d").failed())
    engine.retry(first)
    assert run_all(engine) == ["d"]

    second = rerun(engine, first, "c")

    assert parts(second) == (["c", "d"], ["a", "b"])
    assert engine.workflow(UUID(second["id"]))["rerun_of"] == first
    assert run_all(engine) == ["c", "d"]


def test_a_rerun_that_is_pinned_to_another_version_keeps_what_it_began_with(engine: Engine) -> None:
    old = play_all(engine, DIAMOND)
    engine.define({**DIAMOND, "e": ["d"]})
    new = UUID(rerun(engine, old, "d")["id"])

    engine.pin(new, 2)

    assert engine.tasks(new) == {"a": "succeeded", "b": "succeeded", "c": "succeeded", "d": "pending", "e": "blocked"}
    assert engine.task(new, "a")["output_from"] == "rerun"
    assert run_all(engine) == ["d", "e"]


@pytest.mark.parametrize("width", [200])
def test_it_costs_what_the_workflow_has_and_not_what_there_is(width: int, engine: Engine) -> None:
    names = [f"s{n}" for n in range(width)]
    engine.define({name: names[:n][-1:] for n, name in enumerate(names)}, name="chain")
    engine.define({"a": []})
    engine.start_many([{"name": "flow"}] * 2000)
    old = engine.start("chain")
    engine.run(
        "update workflow.tasks set status = 'succeeded', output = '1', finished_at = now() where workflow_id = %s", old
    )
    engine.run("delete from procrastinate_jobs where id = (select job_id from workflow.tasks where id = %s)",
               task_id(engine, old, "s0"))  # fmt: skip
    engine.run("update workflow.workflows set status = 'succeeded', finished_at = now() where id = %s", old)

    try:
        with rows_visited(engine, 20 * width):
            rerun(engine, old, "s100")
    finally:
        engine.forget_work()  # it was made up


@pytest.mark.parametrize("on_conflict", ["return_existing", "reject"])
def test_the_idempotency_of_the_definition_does_not_make_it_the_old_workflow(on_conflict: str, engine: Engine) -> None:
    rule = {"key": [{"path": ["input", "order"]}], "on_conflict": on_conflict, "ttl": 86400}
    engine.define({"a": [], "b": ["a"]}, plan={"idempotency": rule})
    old = engine.start(input={"order": 7})
    run_all(engine)

    new = UUID(rerun(engine, old, "b")["id"])

    assert new != old
    assert run_all(engine) == ["b"]


def test_it_waits_for_its_concurrency_key_like_any_workflow(engine: Engine) -> None:
    rule = {"key": [{"text": "one"}], "limit": 1, "on_conflict": "queue"}
    engine.define({"a": [], "b": ["a"]}, plan={"concurrency": [rule]})
    old = engine.start()
    run_all(engine)
    other = engine.start()

    new = UUID(rerun(engine, old, "b")["id"])

    assert engine.queued("one") == [new]
    assert run_all(engine) == ["a", "b", "b"]
    assert (engine.status(other), engine.status(new)) == ("succeeded", "succeeded")
