"""Alerts over HTTP: the leader looks, and Prometheus is not needed."""

from __future__ import annotations

import functools
from typing import Any

import httpx
import psycopg
from support.eventually import eventually

from .conftest import PlayedWorker, engine_settings, running_engine

seen = functools.partial(eventually, timeout=30)


def alerts(api: httpx.Client) -> dict[tuple[str, str | None], dict[str, Any]]:
    found = api.get("/api/v1/alerts").raise_for_status().json()
    return {(alert["name"], alert["subject"]): alert for alert in found}


def start(api: httpx.Client, queue: str) -> None:
    body = {"name": "asking", "steps": [{"id": "a", "type": "noop", "queue": queue}]}
    api.post("/api/v1/workflows", json=body).raise_for_status()


def test_a_queue_that_nobody_serves_is_an_alert_until_somebody_does(
    api: httpx.Client, worker: PlayedWorker, database_url: str
) -> None:
    start(api, "gpu")
    alert = seen(lambda: alerts(api).get(("WorkflowQueueUnserved", "gpu")))
    assert (alert["state"], alert["severity"]) == ("pending", "warning")
    assert alert["summary"] == "No worker serves the queue gpu"
    assert (alert["value"], alert["threshold"]) == (1, 0)
    worker.connection.execute("update workflow.workers set queues = '{default,gpu}'")
    seen(lambda: ("WorkflowQueueUnserved", "gpu") not in alerts(api))


def test_since_when_an_alert_holds_outlasts_the_engines(
    database_url: str, redis_url: str, worker: PlayedWorker
) -> None:
    settings = engine_settings(database_url, redis_url)
    with running_engine(settings) as first:
        start(first, "gpu")
        seen(lambda: ("WorkflowQueueUnserved", "gpu") in alerts(first))
        worker.connection.execute(
            "update workflow.alerts"
            " set since = since - interval '6 minutes', fires_at = fires_at - interval '6 minutes'"
        )
        seen(lambda: alerts(first)["WorkflowQueueUnserved", "gpu"]["state"] == "firing")
        since = alerts(first)["WorkflowQueueUnserved", "gpu"]["since"]
    with running_engine(settings) as second:
        looked = "select at from workflow.watched"
        before = worker.connection.execute(looked).fetchone()
        seen(lambda: worker.connection.execute(looked).fetchone() != before)
        alert = alerts(second)["WorkflowQueueUnserved", "gpu"]
    assert (alert["since"], alert["state"]) == (since, "firing")


def test_that_nobody_leads_is_told_by_whoever_is_asked(api: httpx.Client, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        seen(lambda: connection.execute("select true from workflow.watched").fetchone())
        # As if the leader hung: that it looks comes to nothing.
        connection.execute(
            "create function public.hangs() returns trigger language plpgsql as 'begin return null; end'"
        )
        connection.execute(
            "create trigger hangs before insert on workflow.watched for each row execute function public.hangs()"
        )
        connection.execute("update workflow.watched set at = at - interval '3 minutes'")
        seen(lambda: alerts(api).get(("WorkflowNoLeader", None), {}).get("state") == "firing")


def test_an_engine_tells_of_itself_and_of_what_it_met_and_says_goodbye(database_url: str, redis_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        with running_engine(engine_settings(database_url, redis_url)) as api:
            leads = "select leads, status from workflow.engine_list"
            seen(lambda: connection.execute(leads).fetchall() == [(True, "active")])
            connection.execute("alter view workflow.lock_list rename to gone")
            try:
                assert api.get("/api/v1/locks").status_code == 500
            finally:
                connection.execute("alter view workflow.gone rename to lock_list")
            seen(lambda: alerts(api).get(("WorkflowApiErrors", None)))
        assert connection.execute("select count(*) from workflow.engines").fetchone() == (0,)
