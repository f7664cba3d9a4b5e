"""/metrics of an engine: gauges from Postgres, equal on every replica."""

from __future__ import annotations

import httpx
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from workflow_engine.observability.gauges import DatabaseGauges

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
    from_postgres = {family.name for family in DatabaseGauges().describe()} - ages
    with running_engine(settings) as one, running_engine(settings) as other:
        one.post("/api/v1/workflows", json=FLOW)
        first, second = (
            {key: value for key, value in gauges(api).items() if key[0] in from_postgres} for api in (one, other)
        )
        assert first[("workflow_queue_depth", ())] == 1
        assert first == second
