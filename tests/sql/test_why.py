"""Every reason why a task does not go on, really caused, with its words, its times and the command that helps."""

from typing import Any
from uuid import UUID

import pytest

from .engine import Claim, Engine, rated
from .nested import define, step

BASE = "http://localhost:3003/api/v1"


def why(engine: Engine, workflow: UUID, of: str | None = None) -> dict[str, Any]:
    """The only row of a workflow, or that of a step."""
    rows = [row for row in explained(engine, workflow) if of in (None, row["step"])]
    assert len(rows) == 1, rows
    return rows[0]


def explained(engine: Engine, workflow: UUID) -> list[dict[str, Any]]:
    return engine.rows("select * from workflow.why where workflow_id = %s order by task_id", workflow)


def pending_reason(engine: Engine, workflow: UUID) -> str | None:
    reason: str | None = engine.value("select workflow.pending_reason(%s)", workflow)
    return reason


def started(engine: Engine, **options: Any) -> UUID:
    engine.define({"a": options})
    return engine.start()


def holding_and_waiting(engine: Engine, **needs: Any) -> tuple[Claim, UUID]:
    """An attempt that has the lock or limit crm, and a workflow that waits for it."""
    engine.define({"a": needs})
    engine.start()
    workflow = engine.start()
    return engine.claim_one(), workflow


def test_a_blocked_task_names_the_steps_it_waits_for(engine: Engine) -> None:
    many = {f"s{n}": [] for n in range(12)}
    engine.define({**many, "join": list(many), "last": ["join"]})
    workflow = engine.start()
    claim = engine.claim_one("s0")
    engine.finish(claim.succeeded())

    row = why(engine, workflow, "join")

    assert (row["status"], row["reason"]) == ("blocked", "waiting_dependency")
    names = ", ".join(f"s{n} (pending)" for n in range(1, 11))
    assert row["explanation"] == f"Waits for 11 steps: {names} and 1 more."
    assert row["command"] == f"curl {BASE}/workflows/{workflow}/dag"
    assert why(engine, workflow, "last")["explanation"] == "Waits for 1 step: join (blocked)."
    assert pending_reason(engine, workflow) is None  # something is about to be claimed


def test_a_workflow_waits_for_what_the_steps_inside_its_steps_wait_for(engine: Engine) -> None:
    define(engine, {"each": step()}, {"each": ("item", {"ask": step()})})
    workflow = engine.start()
    engine.finish(engine.claim_one("each").opens(1))
    engine.set_clock("1 minute")
    engine.finish(engine.claim_one("ask").waiting("signal", name="paid"))
    assert [row["reason"] for row in explained(engine, workflow)] == ["waiting", "waiting_signal"]
    assert pending_reason(engine, workflow) == "waiting_signal:paid"


def test_a_task_that_waits_for_a_workflow_names_it_and_how_it_is(engine: Engine) -> None:
    engine.define({"work": []}, name="child")
    engine.define({"call": []})
    workflow = engine.start()
    engine.finish(engine.claim_one("call").waiting("child", name="child", deadline=600))
    (its,) = (row["id"] for row in engine.rows("select id from workflow.workflows where parent_id = %s", workflow))

    row = why(engine, workflow)

    assert (row["status"], row["reason"]) == ("waiting", "waiting_child")
    assert row["explanation"] == (
        f"Has waited 0 s for the workflow {its} (child), which is pending; it waits for 10 min more."
    )
    assert row["command"] == f"curl {BASE}/workflows/{its}/why"
    assert pending_reason(engine, workflow) == f"waiting_child:{its}"


def test_a_workflow_whose_budget_is_used_up_says_which_bound_and_how_to_raise_it(engine: Engine) -> None:
    engine.define({"a": [], "b": ["a"]}, plan={"budget": {"steps": {"hard": 1}, "on_exceeded": "pause"}})
    workflow = engine.start()
    engine.finish(*(c.succeeded() for c in engine.claim()))

    row = why(engine, workflow, "b")

    assert row["reason"] == "budget_exceeded"
    assert row["explanation"] == f"Paused 0 s ago, as the budget of workflow {workflow} is used up: 1 of 1 steps."
    assert row["command"] == (
        f"curl -X POST {BASE}/workflows/{workflow}/budget"
        ' -H "Content-Type: application/json" -d \'{"steps": {"hard": 2}}\''
    )
    assert pending_reason(engine, workflow) == "budget_exceeded:steps"


def test_a_workflow_in_line_for_a_concurrency_key_names_who_runs_and_how_many_are_ahead(engine: Engine) -> None:
    engine.define({"a": []}, plan={"concurrency": [{"key": [{"text": "crm"}], "limit": 1, "on_conflict": "queue"}]})
    first, second, third = engine.start(), engine.start(), engine.start()

    row = why(engine, second)

    assert row["reason"] == "queued"
    assert row["explanation"] == f"Has been in line 0 s for the concurrency key crm: 1 of 1 runs ({first}); it is next."
    assert row["command"] == f"curl {BASE}/workflows/{first}"
    assert row["since"] == engine.value("select queued_at from workflow.workflows where id = %s", second)
    assert why(engine, third)["explanation"].endswith("; 1 workflow is ahead of it.")
    assert pending_reason(engine, second) == f"queued_behind:{first}"
    engine.cancel(first)
    assert why(engine, second)["reason"] != "queued"


def test_a_paused_engine_holds_back_what_has_not_started(engine: Engine) -> None:
    running = started(engine)
    claim = engine.claim_one()
    workflow = engine.start()
    engine.value("select workflow.pause(null, 'kay')")
    engine.set_clock("5 minutes")

    row = why(engine, workflow)

    assert (row["reason"], row["until"]) == ("engine_paused", None)
    assert row["explanation"] == (
        "The engine was paused 5 min ago by kay, and nothing of this workflow was claimed before."
    )
    assert row["command"] == f"curl -X POST {BASE}/resume"
    assert pending_reason(engine, workflow) == "paused"
    engine.set_clock("0")
    assert why(engine, running)["reason"] == "running"
    engine.value("select workflow.pause(interval '1 h', 'kay', 'new release')")
    row = why(engine, workflow)
    assert ' ago by kay ("new release"), and nothing of' in row["explanation"]
    assert row["explanation"].endswith("; it resumes by itself in 1 h.")
    assert row["until"] is not None
    engine.value("select workflow.resume()")
    assert why(engine, workflow)["reason"] == "claimable"
    engine.finish(claim.succeeded())


def test_a_paused_workflow_says_how_to_resume_it(engine: Engine) -> None:
    workflow = started(engine)
    engine.value("select workflow.pause_workflow(%s)", workflow)
    engine.set_clock("95 seconds")

    row = why(engine, workflow)

    assert (row["reason"], row["explanation"]) == ("workflow_paused", "The workflow was paused 1 min 35 s ago.")
    assert row["command"] == f"curl -X POST {BASE}/workflows/{workflow}/resume"
    assert pending_reason(engine, workflow) == "paused"
    engine.value("select workflow.resume_workflow(%s)", workflow)
    engine.value("select workflow.pause_workflow(%s, 'kay', 'the shop is closed')", workflow)
    assert why(engine, workflow)["explanation"].endswith(' ago by kay ("the shop is closed").')
    engine.value("select workflow.resume_workflow(%s)", workflow)
    engine.set_clock("0")
    assert why(engine, workflow)["reason"] == "claimable"


def test_a_lock_names_who_holds_it(engine: Engine) -> None:
    claim, workflow = holding_and_waiting(engine, locks=["crm"])
    engine.set_clock("20 seconds")

    row = why(engine, workflow)

    assert row["reason"] == "lock_held"
    assert row["explanation"] == (
        f"Has waited 20 s for the lock crm, held by workflow {claim.workflow} (step a, on worker test) for 20 s."
    )
    assert row["command"] == f"curl {BASE}/workflows/{claim.workflow}/why"
    assert row["details"]["holders"][0]["task_id"] == str(claim.task_id)
    assert pending_reason(engine, workflow) == f"lock_held_by:{claim.workflow}"
    engine.set_clock("0")
    engine.finish(claim.succeeded())
    assert why(engine, workflow)["reason"] == "claimable"  # woken


def test_a_lock_of_a_whole_workflow_is_held_until_that_ends(engine: Engine) -> None:
    engine.define({"a": {"workflow_locks": ["crm"]}, "b": ["a"]})
    holder, workflow = engine.start(), engine.start()
    engine.finish(engine.claim_one("a").succeeded())

    row = why(engine, workflow, "a")

    assert f"held by workflow {holder} (step a, until the workflow ends)" in row["explanation"]
    engine.finish(engine.claim_one("b").succeeded())
    assert why(engine, workflow, "a")["reason"] == "claimable"


def test_a_circle_of_workflows_that_wait_for_each_other_is_named(engine: Engine) -> None:
    for name, other in (("x", "y"), ("y", "z"), ("z", "x")):
        engine.define({"a": {"workflow_locks": [name]}, "b": {"after": ["a"], "workflow_locks": [other]}}, name=name)
    x, y, z = (engine.start(name) for name in "xyz")
    engine.finish(*(c.succeeded() for c in engine.claim()))
    assert engine.claim() == []

    row = why(engine, y)

    assert (row["step"], row["reason"]) == ("b", "deadlock")
    assert row["explanation"] == (
        f"Circular dependency detected: {y} -> {z} -> {x} -> {y}."
        " Each of these workflows waits for a lock of the next; this one has waited 0 s for z."
    )
    youngest = max(x, y, z, key=str)  # by its id: several may have begun in one millisecond
    assert row["command"] == f"curl -X POST {BASE}/workflows/{youngest}/cancel"
    assert pending_reason(engine, y) == f"lock_held_by:{z}"
    outside = engine.start("x")  # waits for one of them, but nobody waits for it
    assert engine.claim() == []
    assert why(engine, outside, "a")["reason"] == "lock_held"
    engine.cancel(z)
    assert why(engine, x)["reason"] == "lock_held"
    assert why(engine, y)["reason"] == "claimable"
    engine.finish(*(c.succeeded() for c in engine.claim()))


def test_a_full_limit_says_how_much_of_it_is_in_use(engine: Engine) -> None:
    claim, workflow = holding_and_waiting(engine, limits={"crm": (4, 3)})

    row = why(engine, workflow)

    assert row["reason"] == "limit_full"
    assert row["explanation"].startswith(
        f"Has waited 0 s for the limit crm: 3 of 4 in use, 3 needed; longest by workflow {claim.workflow}"
    )
    assert pending_reason(engine, workflow) == "rate_limited"
    engine.finish(claim.succeeded())


def test_a_rate_that_is_reached_says_when_units_are_there_again(engine: Engine) -> None:
    engine.define({"a": {"resources": [rated("crm", 2, 60)]}})
    for _ in range(2):
        engine.start()
    workflow = engine.start()
    engine.finish(*(c.succeeded() for c in engine.claim()))

    row = why(engine, workflow)

    assert row["reason"] == "rate_reached"
    words = (
        "Has waited 0 s for units of the limit crm: 2 of 2 were spent within 1 min, 1 needed; the first in line gets"
    )
    assert row["explanation"].startswith(words)
    assert 58 < (row["until"] - row["since"]).total_seconds() < 62
    assert row["command"] == f"curl {BASE}/locks"
    assert pending_reason(engine, workflow) == "rate_limited"


def test_what_has_just_become_free_is_given_in_turn(engine: Engine) -> None:
    claim, workflow = holding_and_waiting(engine, locks=["crm"])
    engine.run("delete from workflow.holds")  # a moment that no transaction shows: who frees a lock wakes who waits

    row = why(engine, workflow)

    assert (row["reason"], row["command"], pending_reason(engine, workflow)) == ("resource_free", None, None)
    assert row["explanation"] == "The lock crm is free; the task gets it in its turn, within seconds."
    engine.cancel(workflow)
    engine.finish(claim.succeeded())


def test_a_job_that_is_parked_for_no_reason_is_lost(engine: Engine) -> None:
    workflow = started(engine)
    engine.run("update procrastinate_jobs set scheduled_at = workflow.never()")
    assert why(engine, workflow)["reason"] == "lost_wakeup"
    engine.run("update procrastinate_jobs set scheduled_at = null")


def test_without_any_worker_it_says_since_when(engine: Engine) -> None:
    workflow = started(engine)
    engine.set_clock("13 minutes")  # the heartbeat of the only worker stopped with the clock

    row = why(engine, workflow)

    assert (row["reason"], row["explanation"]) == (
        "no_workers",
        "No live worker serves any queue; the last one was heard of 13 min ago.",
    )
    assert row["command"] == "kubectl rollout restart deployment/workflow-workers -n agents"
    assert pending_reason(engine, workflow) == "no_workers"
    engine.run("delete from workflow.workers")
    assert why(engine, workflow)["explanation"] == "No live worker serves any queue, and none did within the last day."


def test_a_queue_that_no_live_worker_serves_is_named(engine: Engine, other: Engine) -> None:
    workflow = started(engine, queue="gpu")
    other.register(queues=["gpu"])
    other.value("select workflow.set_worker_status(%s, 'stopped')", other.worker_id)
    engine.set_clock("12 minutes")
    engine.heartbeat()

    row = why(engine, workflow)

    assert row["reason"] == "no_worker_for_queue"
    assert row["explanation"] == "No live worker serves queue gpu; the last one was heard of 12 min ago."
    assert row["command"].endswith("WORKFLOW_QUEUES=default,gpu")
    assert pending_reason(engine, workflow) == "no_worker_for_queue:gpu"
    engine.run("delete from workflow.workers where status = 'stopped'")
    assert why(engine, workflow)["explanation"] == "No live worker serves queue gpu, and none did within the last day."


def test_a_type_that_the_workers_of_its_queue_cannot_run_is_named(engine: Engine) -> None:
    workflow = started(engine, type="thumbnail")

    row = why(engine, workflow)

    assert row["reason"] == "no_worker_for_type"
    assert row["explanation"] == (
        "No live worker of queue default can run type thumbnail; one worker serves the queue, with other types."
    )
    assert (row["command"], pending_reason(engine, workflow)) == (
        f"curl {BASE}/workers",
        "no_worker_for_type:thumbnail",
    )


def test_workers_that_only_drain_claim_nothing_more(engine: Engine) -> None:
    workflow = started(engine)
    engine.value("select workflow.set_worker_status(%s, 'draining')", engine.worker_id)

    row = why(engine, workflow)

    assert row["reason"] == "workers_draining"
    assert row["explanation"].startswith("Only draining workers serve queue default (1 worker): ")
    assert pending_reason(engine, workflow) == "no_worker_for_queue:default"
    assert row["command"] == "kubectl rollout status deployment/workflow-workers -n agents"
    engine.value("select workflow.set_worker_status(%s, 'draining', 'memory')", engine.worker_id)
    assert "(1 worker; 1 near the memory limit)" in why(engine, workflow)["explanation"]


def test_busy_workers_are_counted_with_their_slots_and_what_is_ahead(engine: Engine) -> None:
    engine.define({"a": []})
    for _ in range(13):
        workflow = engine.start()
    claims = engine.claim(10)  # as many as it has slots

    row = why(engine, workflow)

    assert row["reason"] == "workers_busy"
    assert row["explanation"] == ("All 10 slots of 1 worker serving queue default are busy; 2 tasks are ahead of it.")
    assert row["command"] == "kubectl scale deployment/workflow-workers --replicas=2 -n agents"
    assert pending_reason(engine, workflow) == "workers_busy"
    engine.finish(claims[0].succeeded())
    row = why(engine, workflow)
    assert (row["reason"], row["command"], pending_reason(engine, workflow)) == ("claimable", None, None)
    assert row["explanation"].startswith("A worker that serves queue default has a free slot")
    engine.finish(*(c.succeeded() for c in claims[1:]))


def test_a_task_that_free_workers_leave_for_long_says_when_they_were_last_heard_of(engine: Engine) -> None:
    workflow = started(engine)
    engine.set_clock("4 seconds")
    assert why(engine, workflow)["command"] is None
    engine.set_clock("20 seconds")

    row = why(engine, workflow)

    assert row["reason"] == "claimable"
    assert row["explanation"] == (
        "A worker that serves queue default has a free slot: it is about to be claimed, pending for 20 s. That is long:"
        " perhaps no worker answers any more. Those that could take it were last heard of 20 s ago."
    )
    assert row["command"] == f"curl {BASE}/workers"


def test_a_lost_job_is_found_out(engine: Engine) -> None:
    workflow = started(engine)
    engine.run("delete from procrastinate_jobs")

    row = why(engine, workflow)

    assert (row["reason"], pending_reason(engine, workflow)) == ("lost_wakeup", "lost_wakeup")
    assert row["command"] == f"curl -X POST {BASE}/workflows/recover-orphaned"
    engine.retry(workflow)
    assert why(engine, workflow)["reason"] == "claimable"


def test_a_backoff_says_which_error_which_try_of_how_many_and_until_when(engine: Engine) -> None:
    engine.define({"a": []}, plan={"steps": [{"retries": {"max_attempts": 5}}]})
    workflow = engine.start()
    engine.finish(engine.claim_one().retried(delay=90))

    row = why(engine, workflow)

    assert row["reason"] == "scheduled"
    assert row["explanation"] == "Try 1 of 5 failed (test.again: Made by a test); the next one starts in 1 min 30 s."
    assert row["until"] == engine.task(workflow, "a")["scheduled_at"]
    assert row["command"] == f"curl -X POST {BASE}/tasks/{row['task_id']}/retry"
    reason = pending_reason(engine, workflow) or ""
    assert reason.startswith("scheduled_until:20")
    assert reason.endswith("Z")
    engine.set_clock("100 seconds")
    engine.heartbeat()
    assert "has been due for 10 s" in why(engine, workflow)["explanation"]


def test_the_tries_are_those_of_the_type_where_the_step_says_nothing(engine: Engine) -> None:
    workflow = started(engine)
    engine.finish(engine.claim_one().retried(delay=90))
    assert why(engine, workflow)["details"]["max_attempts"] == 3
    engine.run("update workflow.task_types set max_attempts = 8 where name = 'noop'")
    assert why(engine, workflow)["details"]["max_attempts"] == 8
    engine.run("update workflow.task_types set max_attempts = null where name = 'noop'")


def test_a_running_task_names_its_worker_and_lease(engine: Engine) -> None:
    workflow = started(engine)
    claim = engine.claim_one()
    engine.set_clock("10 seconds")

    row = why(engine, workflow)

    assert (row["reason"], pending_reason(engine, workflow)) == ("running", None)
    assert row["explanation"] == (
        "Has run on worker test for 10 s, attempt 1; its lease, renewed while it runs, lasts 20 s more."
    )
    assert row["until"] == engine.task(workflow, "a")["lease_until"]
    engine.set_clock("0")
    engine.finish(claim.succeeded())
    assert explained(engine, workflow) == []


def test_a_dead_worker_and_an_expired_lease_say_when_the_task_is_taken_back(engine: Engine) -> None:
    workflow = started(engine)
    claim = engine.claims_of(engine.turn(want=1, lease=60))[0]
    engine.set_clock("45 seconds")

    row = why(engine, workflow)

    assert (row["reason"], row["command"]) == ("worker_dead", f"curl {BASE}/workers/dead")
    assert row["explanation"] == (
        "Ran on worker test, which was last heard of 45 s ago; it is taken back when its lease ends, in 15 s."
    )
    engine.set_clock("70 seconds")
    row = why(engine, workflow)
    assert (row["reason"], row["until"]) == ("lease_expired", None)
    assert row["explanation"].endswith("whose lease ended 10 s ago; the leader takes it back at its next sweep.")
    assert row["command"] == f"curl -X POST {BASE}/workflows/recover-orphaned"
    engine.sweep_expired_leases()
    engine.heartbeat()
    assert why(engine, workflow)["reason"] == "claimable"
    assert claim.task_id == why(engine, workflow)["task_id"]


def test_a_task_that_waits_for_the_steps_inside_of_it_says_so(engine: Engine) -> None:
    workflow = started(engine)
    engine.claim_one()
    engine.run("update workflow.tasks set status = 'waiting', lease_token = null, lease_until = null")
    assert why(engine, workflow)["reason"] == "waiting"
    assert pending_reason(engine, workflow) == "waiting_dependency"
    engine.forget_work()


def test_a_task_that_waits_for_a_signal_says_for_which_and_how_to_send_it(engine: Engine) -> None:
    workflow = started(engine)
    engine.finish(engine.claim_one().waiting("signal", name="paid", count=2, deadline=3600))
    engine.signal(workflow, "paid")
    row = why(engine, workflow)
    assert row["reason"] == "waiting_signal"
    assert row["explanation"] == "Has waited 0 s for the signal paid (1 of 2 have come); it waits for 1 h more."
    assert row["command"] == f"curl -X POST {BASE}/workflows/{workflow}/signal/paid"
    assert pending_reason(engine, workflow) == "waiting_signal:paid"


def test_a_task_that_waits_for_people_says_for_whom(engine: Engine) -> None:
    workflow = started(engine)
    engine.finish(engine.claim_one().waiting("approval", prompt="Refund?", assignees=["ann", "bob"]))
    engine.set_clock("2 hours")
    row = why(engine, workflow)
    approval = engine.value("select id from workflow.approvals")
    assert row["reason"] == "waiting_approval"
    assert row["explanation"] == 'Has waited 2 h for an answer of ann, bob to "Refund?".'
    assert row["command"] == f"curl {BASE}/approvals/{approval}"
    assert pending_reason(engine, workflow) == f"waiting_approval:{approval}"


def test_a_task_that_waits_for_a_time_says_until_when(engine: Engine) -> None:
    workflow = started(engine)
    engine.finish(engine.claim_one().waiting("timer", delay=60))
    row = why(engine, workflow)
    assert (row["reason"], row["until"] is None) == ("waiting_until", False)
    assert row["explanation"].endswith("for 1 min more.")
    assert row["command"] == f"curl -X POST {BASE}/tasks/{row['task_id']}/skip"
    assert pending_reason(engine, workflow).startswith("scheduled_until:")
    engine.set_clock("70 seconds")
    assert "came 10 s ago" in why(engine, workflow)["explanation"]


def test_a_workflow_that_ended_has_nothing_to_explain(engine: Engine) -> None:
    workflow = started(engine)
    engine.cancel(workflow)
    assert explained(engine, workflow) == []
    assert pending_reason(engine, workflow) is None


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("0.4 s", "0 s"), ("59 s", "59 s"), ("60 s", "1 min"), ("95 s", "1 min 35 s"), ("12 min 30 s", "12 min"),
        ("1 h", "1 h"), ("2 h 5 min", "2 h 5 min"), ("26 h", "1 d 2 h"), ("-5 s", "0 s"),
    ],
)  # fmt: skip
def test_times_are_said_as_people_say_them(engine: Engine, time: str, words: str) -> None:
    assert engine.value("select workflow.in_words(%s::interval)", time) == words
