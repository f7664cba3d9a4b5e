"""The emergency restart, word by word, while users keep starting workflows: rows I01 to I04.

The procedure is done once; each row then looks at what was seen meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.cluster import TAKEOVER_SECONDS
from support.documents import chain, fan
from support.eventually import eventually
from support.invariants import assert_sound
from support.load import Load
from support.runbook import COMMANDS
from support.stack import Shown, Stack

BATCH = [chain(5, seconds=0.1), fan(10, seconds=0.3), chain(2, seconds=1.5)]


@dataclass
class Restart:
    """What was seen during the procedure."""

    load: Load
    shown: dict[str, Shown] = field(default_factory=dict)
    pids_before: set[int] = field(default_factory=set)
    pids_after: set[int] = field(default_factory=set)
    held: set[str] = field(default_factory=set)  # workflows of which something ran when everything was killed
    seconds_to_ready: float = 0.0
    taken_back: set[str] = field(
        default_factory=set
    )  # of those, when orphans were looked for: the engine had been faster
    recovered_again: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def restart(running_stack: Stack) -> Restart:
    stack = running_stack
    with stack.load(BATCH, "emergency") as load:
        seen = Restart(load)
        load.await_accepted(6)
        seen.pids_before = {*stack.pids("engines"), *stack.pids("workers")}

        def do(comment: str) -> None:
            seen.shown[comment] = stack.shell(COMMANDS[comment])

        do("Force restart (may lose in-progress workflows)")
        killed = time.monotonic()
        seen.held = running_on(stack, seen.pids_before)
        do("Wait for recovery")
        seen.seconds_to_ready = time.monotonic() - killed
        # They are there again sooner than anybody can know that those before are dead: look until that is known.
        eventually(lambda: seen.held <= orphaned(stack) | taken_back(stack, seen.held), TAKEOVER_SECONDS)
        do("Check for orphaned workflows")
        seen.taken_back = taken_back(stack, seen.held)
        do("Recover or cancel orphaned workflows")
        seen.recovered_again = stack.shell(COMMANDS["Recover or cancel orphaned workflows"]).json()
        stack.shell("kubectl rollout status deployment/workflow-workers -n agents")
        seen.pids_after = {*stack.pids("engines"), *stack.pids("workers")}
        load.await_accepted(2)
    return seen


def running_on(stack: Stack, pids: set[int]) -> set[str]:
    """Workflows with a task that one of these processes had claimed and did not live to end."""
    found = stack.rows(
        "select distinct t.workflow_id::text as id from workflow.tasks t join workflow.workers w on w.id = t.worker_id"
        " where t.status = 'running' and w.pid = any(%s)",
        list(pids),
    )
    return {row["id"] for row in found}


def orphaned(stack: Stack) -> set[str]:
    return {workflow["id"] for workflow in stack.get("/workflows/orphaned")}


def taken_back(stack: Stack, workflows: set[str]) -> set[str]:
    """Workflows of which a claim was recorded as lost."""
    found = stack.rows(
        "select distinct workflow_id::text as id from workflow.attempt_history"
        " where outcome = 'lost' and workflow_id = any(%s::uuid[])",
        list(workflows),
    )
    return {row["id"] for row in found}


def test_i01_killing_everything_loses_no_workflow_and_records_each_success_once(restart: Restart, stack: Stack) -> None:
    assert not restart.pids_before & restart.pids_after
    assert len(restart.pids_after) == 4
    assert restart.held, "nothing ran when everything was killed: the test shows less than it should"
    restart.load.assert_all_succeeded(stack)
    assert_sound(stack)  # among others: a success is recorded once
    lost = "select count(*) as n from workflow.attempts where outcome = 'lost' and task_id in"
    lost += " (select id from workflow.tasks where workflow_id = any(%s))"
    accepted = list(restart.load.accepted)
    runs = [entry for entry in stack.ledger.starts() if entry.workflow in restart.load.accepted]
    again = len(runs) - len({(entry.workflow, entry.step) for entry in runs})
    assert again <= stack.rows(lost, accepted)[0]["n"], "a handler ran again though its claim was never lost"


def test_i02_the_engines_are_ready_soon_and_need_no_worker_for_it(restart: Restart) -> None:
    shown = restart.shown["Wait for recovery"].out
    assert shown.count("condition met") == 2
    assert restart.seconds_to_ready < 30


def test_i02_engines_start_without_redis_too(stack: Stack) -> None:
    stack.ask("redis", on=False)
    stack.shell("kubectl delete pods -n agents -l app=workflow-engine --force")
    begun = time.monotonic()
    stack.shell(COMMANDS["Wait for recovery"])
    assert time.monotonic() - begun < 30
    assert stack.get("/health")["status"] == "degraded"
    assert stack.await_end(stack.start(chain(2))) == "succeeded"


def test_i03_orphaned_lists_what_the_dead_had_in_hand_and_why(restart: Restart) -> None:
    orphaned = restart.shown["Check for orphaned workflows"].json()
    assert restart.held <= {workflow["id"] for workflow in orphaned} | restart.taken_back, "something was forgotten"
    assert {workflow["id"] for workflow in orphaned} <= set(restart.load.accepted)
    for workflow in orphaned:
        assert workflow["reason"] in {"worker_dead", "lost_wakeup", "lock_expired"}
        assert workflow["since"]
        assert all(task["reason"] and task["step"] for task in workflow["tasks"])


def test_i04_recover_orphaned_makes_them_go_on_and_twice_is_once(restart: Restart, stack: Stack) -> None:
    recovered = restart.shown["Recover or cancel orphaned workflows"].json()
    assert restart.held <= set(recovered["recovered"]) | restart.taken_back | taken_back(stack, restart.held)
    assert recovered["cancelled"] == []
    assert recovered["skipped"] == []
    assert restart.recovered_again["recovered"] == []
    assert restart.recovered_again["skipped"] == []
    for name in ("dry_run=true", "action=cancel&dry_run=true"):
        answer = stack.shell(f"curl -s -X POST 'http://localhost:3003/api/v1/workflows/recover-orphaned?{name}'").json()
        assert answer["dry_run"] is True
    eventually(lambda: stack.get("/workflows/orphaned") == [], TAKEOVER_SECONDS)
