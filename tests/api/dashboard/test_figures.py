"""Figures and states that are so: lost attempts count, what only did not run did not fail, idle is not running."""

from __future__ import annotations

import httpx
import pytest
from support.eventually import eventually

from ..conftest import PlayedWorker
from .test_pages import STEPS, start, text


def test_a_dead_worker_is_told_with_what_it_held_and_what_became_of_it(
    api: httpx.Client, worker: PlayedWorker, database_url: str
) -> None:
    workflow = start(api, "held-one", steps=[{"id": "a", "type": "noop"}])
    worker.claim()
    with PlayedWorker(database_url, "second") as second:
        worker.connection.execute(
            "update workflow.workers set last_heartbeat_at = last_heartbeat_at - interval '40 s' where id = %s",
            [worker.id],
        )
        overview = eventually(lambda: "Worker played died" in (shown := text(api.get("/admin"))) and shown)
        assert "it held 1 task, not taken back yet. It goes on when its lease ends." in overview
        assert "1 task, not taken back yet" in text(api.get("/admin/workers"))

        worker.connection.execute(
            "update workflow.tasks set lease_until = now() - interval '1 s' where status = 'running'"
        )
        worker.connection.execute("select workflow.sweep_expired_leases()")
        overview = text(api.get("/admin"))
        assert "Worker played died; it held 1 task, taken back" in overview
        assert "not taken back" not in overview
        (again,) = second.claim()
        page = api.get("/admin/workers")
        assert f"/admin/workflows/{workflow}" in page.text
        assert f"running a in held-one {workflow[-12:]} On second, attempt 2." in text(page)
        second.end(again)
    assert "succeeded a in held-one" in text(api.get("/admin/workers"))
    dead = next(each for each in api.get("/api/v1/workers/dead").json() if each["name"] == "played")
    (held,) = dead["tasks"]
    assert (held["path"], held["workflow_name"], held["attempt"], held["status"]) == ("a", "held-one", 1, "succeeded")
    assert (held["taken_back_at"] is not None, dead["orphaned_tasks"]) == (True, [held["task_id"]])
    shown = text(api.get("/admin/task-types/noop"))
    assert "50 % 1, 1 lost" in shown
    assert "worker_lost 1 task" in shown


def test_what_did_not_run_because_of_another_is_not_taken_for_what_failed(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    workflow = start(api, "broken", steps=STEPS, fail_fast=False)
    worker.end(worker.claim()[0], "failed", error={"type": "http.503", "message": "busy"})
    page = f"/admin/workflows/{workflow}"
    assert "failed 1 ⇥ not run 2" in text(api.get(page))
    dag = api.get(f"/api/v1/workflows/{workflow}/dag").json()["nodes"]
    assert [(node["id"], node["status"], node["upstream_failed"]) for node in dag] == [
        ("fetch", "failed", False), ("process", "failed", True), ("store", "failed", True),
    ]  # fmt: skip
    tasks = text(api.get(f"{page}?tab=tasks"))
    assert ("✗ failed fetch" in tasks, "⇥ not run store" in tasks, "A step before it failed." in tasks) == (True,) * 3
    assert "2 tasks did not run, because an earlier step failed." in text(api.get(f"{page}?tab=timeline"))
    behind = text(api.get(f"{page}?tab=tasks&task={dag[2]['task_id']}"))
    assert "It did not run, because a step before it failed: fetch" in behind


def test_how_long_a_workflow_ran_is_told_without_the_time_it_lay_ended_before_a_retry(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    workflow = start(api, "mended", steps=[{"id": "a", "type": "noop"}])
    worker.end(worker.claim()[0], "failed")
    worker.connection.execute(
        "update workflow.workflows set"
        " started_at = started_at - interval '3 h', finished_at = finished_at - interval '2 h'"
    )
    api.post(f"/api/v1/workflows/{workflow}/retry").raise_for_status()
    running = text(api.get(f"/admin/workflows/{workflow}"))
    assert "after 2 h idle Has run 1 h" in running
    assert "1 h retried" in text(api.get("/admin/workflows"))
    worker.run_all()
    assert "Ran 1 h" in text(api.get(f"/admin/workflows/{workflow}"))
    told = api.get(f"/api/v1/workflows/{workflow}").json()
    assert (told["idle_s"], told["retried_at"] is None) == (pytest.approx(7200, abs=60), False)
    for least, found in (("59m", 1), ("90m", 0)):
        assert len(api.get("/api/v1/workflows", params={"min_duration": least}).json()) == found
    line = api.get("/api/v1/workflows?format=csv").text.splitlines()[1].split(",")
    assert float(line[7]) == pytest.approx(3600, abs=60)
