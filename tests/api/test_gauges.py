"""/metrics of an engine: gauges from Postgres, equal on every replica."""

from __future__ import annotations

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.eventually import eventually

from workflow_engine.observability.gauges import DatabaseGauges
from workflow_engine.observability.labels import Labels

from .conftest import PlayedWorker, engine_settings, running_engine

FLOW = {
    "name": "gauged",
    "steps": [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"]}],
}


def gauges(api: httpx.Client) -> dict[tuple[str, tuple[str, ...]], float]:
    """Values of the samples that are not histograms or counters, by name and label values."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(api.get("/metrics").text)
        if family.type == "gauge" and family.name.startswith("workflow_")
        for sample in family.samples
    }


def test_depth_and_pending_duration_are_bare_gauges_also_on_an_idle_engine(api: httpx.Client) -> None:
    found = gauges(api)
    assert found[("workflow_queue_depth", ())] == 0
    assert found[("workflow_pending_duration_seconds", ())] == 0
    assert found[("workflow_engine_paused", ())] == 0


def test_no_series_only_says_when_another_one_began(api: httpx.Client) -> None:
    assert "_created" not in api.get("/metrics").text


def test_gauges_tell_what_is_pending_and_what_runs(api: httpx.Client, worker: PlayedWorker) -> None:
    for _ in range(3):
        assert api.post("/api/v1/workflows", json=FLOW).status_code == 202
    worker.claim(1)
    found = gauges(api)
    assert found[("workflow_queue_depth", ())] == 2
    assert found[("workflow_queue_tasks", ("default", "pending"))] == 2
    assert found[("workflow_queue_tasks", ("default", "running"))] == 1
    assert found[("workflow_active_workflows", ())] == 3
    assert found[("workflow_pending_duration_seconds", ())] > 0
    assert found[("workflow_oldest_pending_task_age_seconds", ("default",))] > 0
    assert found[("workflow_workers", ("active",))] == 1
    assert found[("workflow_worker_slots", ("default",))] == 5


def test_gauges_tell_how_the_live_workflows_stand(api: httpx.Client, worker: PlayedWorker) -> None:
    ids = [api.post("/api/v1/workflows", json=FLOW).json()["id"] for _ in range(3)]
    worker.claim(1)
    api.post("/api/v1/workflows", json={**FLOW, "steps": FLOW["steps"][:1]})  # another version
    api.post("/api/v1/definitions", json={**FLOW, "name": "never-started"})
    assert api.post(f"/api/v1/workflows/{ids[2]}/pause").status_code == 200
    found = gauges(api)
    assert found[("workflow_workflows", ("pending",))] == 3
    assert found[("workflow_workflows", ("running",))] == 1
    assert found[("workflow_workflows_paused", ())] == 1
    assert found[("workflow_orphaned_workflows", ())] == 0
    assert found[("workflow_definitions", ())] == 2
    assert found[("workflow_definition_versions_active", ("gauged",))] == 2
    assert found[("workflow_worker_slots_used", ("default",))] == 1


def test_what_nobody_moves_any_more_is_a_gauge(database_url: str, redis_url: str, worker: PlayedWorker) -> None:
    # Its sweeps come too late to take it back, and it judges as if Postgres had not just started.
    seconds = {"WORKFLOW_SWEEP_SECONDS": 600, "WORKFLOW_HEARTBEAT_SECONDS": 0.01}
    with running_engine(engine_settings(database_url, redis_url, **seconds)) as api:
        api.post("/api/v1/workflows", json=FLOW)
        worker.claim(1)
        worker.connection.execute("update workflow.workers set last_heartbeat_at = 'epoch'")
        assert gauges(api)[("workflow_orphaned_workflows", ())] == 1


def counted(api: httpx.Client, name: str, **labels: str) -> float | None:
    """The value of a counter; None while there is none."""
    return next(
        (
            sample.value
            for family in text_string_to_metric_families(api.get("/metrics").text)
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ),
        None,
    )


def test_a_definition_is_counted_from_0_before_it_is_started(
    database_url: str, redis_url: str, worker: PlayedWorker
) -> None:
    name = "counted"
    ended = "workflow_workflows_ended_total"
    seconds = "workflow_workflow_duration_seconds"
    labels = {"definition": name, "state": "succeeded"}
    # Labels are the process', and other tests have had some of them. With the usual time between sweeps, counting is
    # one that others wait for.
    usual = {"WORKFLOW_METRICS_DEFINITIONS": 10_000, "WORKFLOW_SWEEP_SECONDS": 5}
    with running_engine(engine_settings(database_url, redis_url, **usual)) as api:
        assert api.post("/api/v1/definitions", json={**FLOW, "name": name}).status_code < 300
        eventually(lambda: counted(api, "workflow_workflows_started_total", definition=name) == 0)
        states = ("succeeded", "failed", "cancelled")
        assert [counted(api, ended, definition=name, state=state) for state in states] == [0, 0, 0]
        api.post("/api/v1/workflows", json={"name": name})
        worker.run_all()
        eventually(lambda: counted(api, ended, **labels) == 1, 60)
        assert counted(api, "workflow_workflows_started_total", definition=name) == 1
        assert counted(api, f"{seconds}_count", **labels) == 1
        assert counted(api, f"{seconds}_bucket", **labels, le="+Inf") == 1
        assert counted(api, f"{seconds}_bucket", **labels, le="0.05") in (0, 1)
        assert (counted(api, f"{seconds}_sum", **labels) or 0) > 0


@pytest.mark.parametrize(
    "name", ["workflow_task_wait_seconds", "workflow_worker_concurrency", "workflow_tasks_running"]
)
def test_an_engine_exports_nothing_of_workers(api: httpx.Client, name: str) -> None:
    assert name not in api.get("/metrics").text


def test_the_loop_the_pool_and_the_sweeps_of_an_engine_are_watched(api: httpx.Client) -> None:
    def shown() -> bool:
        text = api.get("/metrics").text
        return 'workflow_sweep_duration_seconds_count{duty="partitions"}' in text

    eventually(shown)
    assert counted(api, "http_requests_in_flight") == 1, "this one"
    assert (counted(api, "workflow_engine_event_loop_lag_seconds") or 0) < 5
    assert (counted(api, "workflow_postgres_pool_connections_max") or 0) >= 10
    assert counted(api, "workflow_postgres_pool_timeouts_total") is not None


def test_a_transaction_that_is_held_open_shows_with_its_age(api: httpx.Client, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select 1")
        assert gauges(api)[("workflow_oldest_transaction_age_seconds", ())] > 0


def test_two_engines_export_the_same(database_url: str, redis_url: str, worker: PlayedWorker) -> None:
    settings = engine_settings(database_url, redis_url)
    ages = {
        "workflow_pending_duration_seconds",
        "workflow_oldest_pending_task_age_seconds",
        "workflow_oldest_transaction_age_seconds",
    }
    from_postgres = {family.name for family in DatabaseGauges(Labels(100)).describe()} - ages
    with running_engine(settings) as one, running_engine(settings) as other:
        one.post("/api/v1/workflows", json=FLOW)
        first, second = (
            {key: value for key, value in gauges(api).items() if key[0] in from_postgres} for api in (one, other)
        )
        assert first[("workflow_queue_depth", ())] == 1
        assert first == second
