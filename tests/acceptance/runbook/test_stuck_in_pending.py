"""Issue 1, "Workflow Stuck in Pending State": rows B01 to B08."""

import os
import signal

from support.cluster import TAKEOVER_SECONDS
from support.documents import chain, flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack

UNSERVED = {"queue": "nobody-serves-this"}


def test_b01_workers_lists_who_is_alive_and_what_each_does(stack: Stack) -> None:
    gate = stack.directory / "b01"
    workflow = stack.start(flow("b01", step("a", type="gated", gate=str(gate))))
    eventually(lambda: stack.status(workflow) == "running")

    def listed() -> list[dict[str, object]]:
        workers = stack.curl(COMMANDS["Check worker status"])
        assert len(workers) == 2
        assert {worker["pid"] for worker in workers} == set(stack.pids("workers"))
        assert sum(worker["busy"] for worker in workers) >= 1
        return list(workers)

    for worker in eventually(listed, 20):
        assert worker["status"] == "active"
        assert worker["concurrency"] == 50
        assert "http" in worker["task_types"]  # type: ignore[operator]
        assert worker["queues"] == ["default"]
        assert 0 <= worker["age_s"] < 30  # type: ignore[operator]
        for fact in ("id", "name", "host", "version", "current_tasks", "started_at", "last_heartbeat_at", "rss_bytes"):
            assert fact in worker
    gate.touch()
    assert stack.await_end(workflow) == "succeeded"


def test_b02_llen_of_the_pending_list_is_the_number_of_ready_tasks(stack: Stack) -> None:
    def depth() -> int:
        return int(stack.shell(COMMANDS["Check Redis queue depth"]).out)

    before = depth()
    steps = [{**step(f"s{number}"), **UNSERVED} for number in range(7)]
    workflow = stack.start(flow("b02", *steps, step("later", "s0")))
    eventually(lambda: depth() == before + 7, 5, message="blocked tasks are not ready, and do not count")
    assert stack.shell('redis-cli -h localhost -p 6379 type "workflow:tasks:pending"').out.strip() == "list"
    stack.shell(COMMANDS["Cancel Workflow"], workflow_id=workflow)
    eventually(lambda: depth() == before, 5)


def test_b03_dead_workers_are_listed_with_what_they_held(stack: Stack) -> None:
    gate = stack.directory / "b03"
    workflow = stack.start(flow("b03", step("a", type="gated", gate=str(gate))))
    (start,) = eventually(lambda: [entry for entry in stack.ledger.starts("a") if entry.workflow == workflow])
    os.kill(start.pid, signal.SIGSTOP)  # a process that hangs, and does not even die
    try:

        def dead() -> dict[str, object]:
            found = [worker for worker in stack.curl(COMMANDS["Check for dead workers"]) if worker["pid"] == start.pid]
            assert found, "not listed yet"
            return dict(found[0])

        listed = eventually(dead, 20)
        assert listed["status"] == "dead"
        assert "orphaned_tasks" in listed
    finally:
        gate.touch()
        os.kill(start.pid, signal.SIGCONT)
    assert stack.await_end(workflow, TAKEOVER_SECONDS) == "succeeded"


def test_b05_retry_wakes_what_is_pending_and_reruns_what_failed_and_twice_is_once(stack: Stack) -> None:
    retry = COMMANDS["Manually retry stuck workflow"]
    answer = "curl -s -o answer.json -w '%{http_code} %header{location}' -X POST" + retry.removeprefix("curl -X POST")

    pending = stack.start(flow("b05-pending", {**step("a"), **UNSERVED}))
    for _ in range(2):
        code, location = stack.shell(answer, workflow_id=pending).out.split()
        assert (code, location) == ("202", f"/api/v1/workflows/{pending}")
    assert stack.status(pending) == "pending"
    jobs = "select count(*) as n from procrastinate_jobs j join workflow.tasks t on t.job_id = j.id"
    assert stack.rows(f"{jobs} where t.workflow_id = %s", pending)[0]["n"] == 1

    failing = stack.start(flow("b05-failed", step("kept"), {"id": "f", "type": "fail", "depends_on": ["kept"]}))
    assert stack.await_end(failing) == "failed"
    assert stack.shell(answer, workflow_id=failing).out.startswith("202")
    assert stack.await_end(failing) == "failed"
    assert stack.outcomes(failing, "kept") == ["succeeded"]
    assert len(stack.outcomes(failing, "f")) == 2

    succeeded = stack.start(chain(1))
    assert stack.await_end(succeeded) == "succeeded"
    assert stack.shell(answer, workflow_id=succeeded).out.startswith("409")

    stack.shell(COMMANDS["Cancel Workflow"], workflow_id=pending)
    assert stack.shell(answer, workflow_id=pending).out.startswith("409")
    assert stack.shell(answer.replace("/retry", "/retry?force=true"), workflow_id=pending).out.startswith("202")
    stack.shell(COMMANDS["Cancel Workflow"], workflow_id=pending)


def test_b07_what_cannot_be_serialised_fails_the_task_and_names_the_place(stack: Stack) -> None:
    workflow = stack.start(flow("b07", step("a", type="returns-nan")))
    assert stack.await_end(workflow) == "failed"
    error = stack.curl("curl http://localhost:3003/api/v1/workflows/{workflow_id}/tasks", workflow_id=workflow)[0][
        "error"
    ]
    assert error["type"] == "serialization_error"
    assert error["retryable"] is False
    assert "/deep/1" in error["message"]
    assert len(stack.outcomes(workflow, "a")) == 1


def test_b06_why_a_workflow_is_pending_is_told_in_one_word_and_pickups_are_lines(stack: Stack) -> None:
    show = "curl http://localhost:3003/api/v1/workflows/{workflow_id}"
    waits = stack.start(flow("b06-waits", {**step("a"), **UNSERVED}))
    assert stack.curl(show, workflow_id=waits)["pending_reason"] == f"no_worker_for_queue:{UNSERVED['queue']}"
    stack.shell(COMMANDS["Cancel Workflow"], workflow_id=waits)

    done = stack.start(flow("b06-done", step("a")))
    assert stack.await_end(done) == "succeeded"
    assert stack.curl(show, workflow_id=done)["pending_reason"] is None
    (line,) = set(eventually(lambda: stack.said('msg="task picked up"', f"workflow_id={done}")))
    assert f"task_id={stack.task(done, 'a')['id']}" in line
    assert " worker=" in line


def test_b08_without_redis_the_work_goes_on_and_the_list_is_whole_when_it_is_back(stack: Stack) -> None:
    waits = stack.start(flow("b08-waits", {**step("a"), **UNSERVED}))
    stack.ask("redis", on=False)
    ends = stack.start(chain(5, seconds=0.1))
    assert stack.await_end(ends) == "succeeded"

    def degraded() -> bool:
        found = [stack.get("/health", server=server) for server in stack.engine_urls]  # each in its own words
        return all(health["status"] == "degraded" and health["checks"]["redis"]["status"] == "down" for health in found)

    eventually(degraded, 10)
    eventually(lambda: stack.said("redis unavailable"))
    stack.ask("redis", on=True)
    eventually(lambda: int(stack.shell(COMMANDS["Check Redis queue depth"]).out) >= 1, 5)
    eventually(lambda: stack.said("redis available again"))
    eventually(lambda: stack.curl("curl http://localhost:3003/health")["status"] == "ok", 10)
    stack.shell(COMMANDS["Cancel Workflow"], workflow_id=waits)
