"""The graceful restart, word by word, while users keep starting workflows: rows B04 and H01 to H05.

The procedure is done once; each row then looks at what was seen meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import pytest
from support.documents import chain, fan, flow, step
from support.eventually import eventually
from support.invariants import assert_sound
from support.load import Load
from support.runbook import COMMANDS
from support.stack import Shown, Stack

BATCH = [chain(5, seconds=0.05), fan(10, seconds=0.1)]
LONG = chain(2, seconds=1)


@dataclass
class Restart:
    """What was seen during the procedure."""

    load: Load
    shown: dict[str, Shown] = field(default_factory=dict)
    starts_while_paused: list[httpx.Response] = field(default_factory=list)
    answered_while_paused: list[int] = field(default_factory=list)
    pids_before: set[int] = field(default_factory=set)
    pids_after: set[int] = field(default_factory=set)
    running_when_drained: int = -1
    pending_when_drained: int = -1
    paused_after_restart: bool = False
    before_resuming: datetime | None = None  # by the database's clock
    resumed_within: float = 0.0


@pytest.fixture(scope="module")
def restart(running_stack: Stack) -> Restart:
    stack = running_stack
    with stack.load(BATCH, "graceful") as load:
        seen = Restart(load)
        load.await_accepted(4)
        burst = stack.start_many([LONG] * 130)  # more than there are slots: some have not begun when the pause comes
        load.accepted.update(dict.fromkeys(burst, LONG))
        seen.pids_before = {*stack.pids("engines"), *stack.pids("workers")}

        def do(comment: str) -> None:
            seen.shown[comment] = stack.shell(COMMANDS[comment], timeout=310)

        do("1. Stop accepting new workflows")
        for url in stack.engine_urls:
            document = flow("refused", step("a"))
            seen.starts_while_paused.append(httpx.post(f"{url}/api/v1/workflows", json=document, trust_env=False))
            seen.answered_while_paused.append(httpx.get(f"{url}/readyz", trust_env=False).status_code)
            seen.answered_while_paused.append(
                httpx.get(f"{url}/api/v1/workflows/{burst[0]}", trust_env=False).status_code
            )
        do("2. Wait for running workflows to complete (or timeout after 5min)")
        seen.running_when_drained = counted(stack, load, "running")
        seen.pending_when_drained = counted(stack, load, "pending")
        do("3. Rolling restart")
        do("4. Wait for ready")
        seen.pids_after = {*stack.pids("engines"), *stack.pids("workers")}
        seen.paused_after_restart = stack.get("/health", server=stack.engine_urls[1])["paused"]
        seen.before_resuming = stack.rows("select workflow.clock() as now")[0]["now"]
        do("5. Resume workflow processing")
        resumed = time.monotonic()
        eventually(lambda: counted(stack, load, "pending") < seen.pending_when_drained, 20)
        seen.resumed_within = time.monotonic() - resumed
        do("6. Verify health")
        load.await_accepted(2)
    return seen


def counted(stack: Stack, load: Load, status: str) -> int:
    query = "select count(*) as n from workflow.workflows where status = %s and id = any(%s::uuid[])"
    return int(stack.rows(query, status, list(load.accepted))[0]["n"])


def outcomes(stack: Stack, workflows: Sequence[str]) -> set[str]:
    """How the attempts of workflows ended."""
    found = stack.rows(
        "select distinct h.outcome from workflow.attempt_history h join workflow.tasks t on t.id = h.task_id"
        " where t.workflow_id = any(%s)",
        list(workflows),
    )
    return {row["outcome"] for row in found}


def test_b04_replacing_the_workers_under_load_loses_nothing_and_spends_no_attempt(stack: Stack) -> None:
    before = set(stack.pids("workers"))
    with stack.load([*BATCH, chain(2, seconds=1.5)], "rollout") as load:
        load.await_accepted(3)
        stack.shell(COMMANDS["Restart workers"])
        stack.shell("kubectl rollout status deployment/workflow-workers -n agents")
        load.await_accepted(2)
    assert not before & set(stack.pids("workers"))
    dead = {worker["pid"] for worker in stack.curl(COMMANDS["Check for dead workers"])}
    assert not dead & before, "a worker that was stopped in order is not dead"
    load.assert_all_succeeded(stack)
    assert outcomes(stack, list(load.accepted)) <= {"succeeded", "released"}
    assert spent(stack, list(load.accepted)) == []
    assert_sound(stack)


def test_h01_while_paused_starts_are_answered_with_503_on_every_engine_which_stays_ready_and_readable(
    restart: Restart,
) -> None:
    paused = restart.shown["1. Stop accepting new workflows"].json()
    assert paused["paused"] is True
    assert paused["since"]
    assert paused["running"] > 0
    assert len(restart.starts_while_paused) == 2
    for answer in restart.starts_while_paused:
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert answer.json()["type"].endswith(":engine-paused")
    assert restart.answered_while_paused == [200] * 4


def test_h02_the_loop_ends_when_nothing_runs_and_what_had_not_begun_still_waits(restart: Restart, stack: Stack) -> None:
    assert restart.running_when_drained == 0
    assert restart.pending_when_drained > 0, "nothing was left to wait: the test shows less than it should"
    assert restart.load.refused > 0
    paused = restart.shown["1. Stop accepting new workflows"].json()["since"]
    begun = "select id from workflow.workflows where started_at > %s and started_at < %s"
    assert stack.rows(begun, paused, restart.before_resuming) == [], "something was started while paused"


def test_h03_every_process_was_replaced_and_the_pause_outlived_them(restart: Restart) -> None:
    assert not restart.pids_before & restart.pids_after
    assert len(restart.pids_after) == 4
    assert "successfully rolled out" in restart.shown["4. Wait for ready"].out
    assert restart.paused_after_restart


def test_h04_resuming_starts_at_once_what_waited(restart: Restart) -> None:
    assert restart.shown["5. Resume workflow processing"].json()["paused"] is False
    assert restart.resumed_within < 5


def test_h05_in_the_end_everything_is_well_and_nothing_was_lost_or_tried_twice(restart: Restart, stack: Stack) -> None:
    health: dict[str, Any] = restart.shown["6. Verify health"].json()
    assert health["accepting"] is True
    restart.load.assert_all_succeeded(stack)
    workflows = list(restart.load.accepted)
    assert outcomes(stack, workflows) == {"succeeded"}, "everything had ended before anything was stopped"
    assert spent(stack, workflows) == []
    runs = [entry for entry in stack.ledger.starts() if entry.workflow in restart.load.accepted]
    assert len(runs) == len({(entry.workflow, entry.step) for entry in runs}), "a handler ran twice"
    assert_sound(stack)


def spent(stack: Stack, workflows: Sequence[str]) -> list[dict[str, Any]]:
    """Tasks that used up more than the one try that succeeded."""
    return stack.rows(
        "select id, tries, crashes from workflow.tasks where workflow_id = any(%s) and (tries > 1 or crashes > 0)",
        list(workflows),
    )
