"""Random graphs with random outcomes, played to the end on Postgres, end as the model says, and so does their retry."""

from collections import Counter
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.invariants import assert_sound

from .engine import Engine
from .model_step import Step
from .model_workflow import MAX_CRASHES, Model

RULES = ("all_success", "all_done", "none_failed", "one_success", "one_failed", "all_failed", "always", "min_success")
STATUSES = ("succeeded", "failed", "skipped", "cancelled")
CASES = ("small", "big", "default")


@st.composite
def models(draw: st.DrawFn) -> Model:
    steps: dict[str, Step] = {}
    ruled = draw(st.booleans())  # else all are plain, as most are
    for number in range(draw(st.integers(2, 8))):
        after = draw(st.lists(st.sampled_from(sorted(steps)), unique=True, max_size=3)) if steps else []
        interludes = draw(st.lists(st.sampled_from(["retried", "released", "lost"]), max_size=3))
        final = draw(st.sampled_from(["succeeded", "succeeded", "failed", "skipped"]))
        step = steps[f"s{number}"] = Step(
            after=after,
            ordering=[name for name in after if draw(st.integers(0, 3)) == 0],
            tolerated=draw(st.integers(0, 3)) == 0,
            script=[*interludes, final],
        )
        if ruled:
            conditional = [n for n in after if n not in step.ordering and draw(st.integers(0, 2)) == 0]
            step.rule = draw(st.sampled_from(("auto", "auto", "auto", *RULES)))
            step.least = draw(st.integers(1, 3)) if step.rule == "min_success" else None
            step.on = {n: draw(st.lists(st.sampled_from(STATUSES), min_size=1, unique=True)) for n in conditional}
            step.cases = {n: draw(st.lists(st.sampled_from(CASES), min_size=1, unique=True))
                          for n in after if n not in step.ordering and draw(st.integers(0, 3)) == 0}  # fmt: skip
            step.chooses = draw(st.lists(st.sampled_from(CASES), unique=True))
    return Model(steps, fail_fast=draw(st.booleans()))


def play(engine: Engine, model: Model, workflow: UUID, *, rounds: int = 10**6) -> None:
    """Play round after round: claim all there is, end it in one batch, then let the leases of the lost ones run out."""
    crashes: Counter[str] = Counter()
    while model.pending and rounds:
        rounds -= 1
        claims = {claim.step: claim for claim in engine.claim()}
        assert set(claims) == set(model.pending)
        for step in claims:
            model.attempts[step] += 1
        outcomes = {step: model.outcome(step) for step in claims}
        batch = [
            claims[name].succeeded({"cases": model.steps[name].chooses})
            if o == "succeeded"
            else getattr(claims[name], o)()
            for name, o in outcomes.items()
            if o != "lost"
        ]
        assert engine.finish(*batch) == []
        model.settle({step: o for step, o in outcomes.items() if o in {"succeeded", "failed", "skipped"}})
        lost = [step for step, o in outcomes.items() if o == "lost" and model.status[step] == "pending"]
        crashes.update(lost)
        engine.set_clock("31 seconds")
        dead = [step for step in lost if crashes[step] == MAX_CRASHES]
        assert engine.sweep_expired_leases(max_crashes=MAX_CRASHES) == (len(lost) - len(dead), len(dead))
        engine.set_clock("0")
        model.settle(dict.fromkeys(dead, "failed"))
        engine.wake_due()
        assert engine.tasks(workflow) == model.status
        assert engine.status(workflow) == model.workflow
        assert_sound(engine)


LIKE_THIS = settings(
    max_examples=40,
    deadline=None,  # other work on the machine must not fail it
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def start(engine: Engine, model: Model) -> UUID:
    engine.forget_work()  # of an example that failed, while hypothesis looks for a smaller one
    version = engine.define(
        {name: step.spec for name, step in model.steps.items()},
        fail_fast=model.fail_fast,
    )
    return engine.start(version=version)  # an equal graph came before: its version is not the latest


@LIKE_THIS
@given(model=models())
def test_any_graph_with_any_outcomes_ends_as_the_model_says_and_can_be_retried(engine: Engine, model: Model) -> None:
    workflow = start(engine, model)
    play(engine, model, workflow)
    while model.workflow == "failed":
        for name in model.tried_and_failed:
            model.steps[name].script = model.steps[name].script[: model.attempts[name]]  # now it succeeds
        assert engine.retry(workflow) == model.reopen()
        assert engine.tasks(workflow) == model.status
        play(engine, model, workflow)
    assert engine.jobs() == []
    attempts = {row["step"]: row["attempt"] for row in engine.rows(
        "select step, attempt from workflow.task_list where workflow_id = %s", workflow)}  # fmt: skip
    assert attempts == model.attempts


@LIKE_THIS
@given(model=models(), data=st.data())
def test_any_graph_can_be_retried_task_by_task(engine: Engine, model: Model, data: st.DataObject) -> None:
    workflow = start(engine, model)
    play(engine, model, workflow)
    while model.workflow == "failed":
        name = data.draw(st.sampled_from(sorted(n for n in model.tried_and_failed if not model.steps[n].tolerated)))
        if data.draw(st.booleans()):
            model.steps[name].script = model.steps[name].script[: model.attempts[name]]  # now it succeeds
        task = engine.task(workflow, name)["id"]
        assert engine.retry_task(task, 60) == model.reopen_task(name)
        assert engine.tasks(workflow) == model.status
        play(engine, model, workflow)
    assert engine.jobs() == []
