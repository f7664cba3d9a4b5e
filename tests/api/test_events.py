"""What happens to a workflow, as it happens: server-sent events that any engine can go on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from support.eventually import eventually

from .conftest import PlayedWorker, engine_settings, running_engine

STEPS = [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"]}]


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The events of a stream, with `id` and `event` where they have one; comments and hints are left out."""
    found: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name in ("id", "event"):
            found[name] = value
        elif name == "data":
            found["data"] = json.loads(value)
        elif not line and found:
            yield found
            found = {}


def start(api: httpx.Client) -> str:
    return str(api.post("/api/v1/workflows", json={"name": "told", "steps": STEPS}).raise_for_status().json()["id"])


def test_each_event_is_told_with_its_place_until_the_workflow_has_ended(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    workflow = start(api)
    with api.stream("GET", f"/api/v1/workflows/{workflow}/events", headers={"Accept": "text/event-stream"}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer.iter_lines())
        assert next(told)["data"]["event"] == "workflow.created"
        worker.run_all()
        rest = list(told)
    assert rest[-1] == {"event": "end", "data": {"status": "succeeded"}}
    kinds = [(event["data"]["event"], event["data"]["step"]) for event in rest[:-1]]
    assert kinds.index(("task.succeeded", "a")) < kinds.index(("task.started", "b"))
    assert kinds[-1] == ("workflow.succeeded", None)
    places = [int(event["id"]) for event in rest[:-1]]
    assert places == sorted(set(places))


def test_another_engine_goes_on_where_one_broke_off(
    api: httpx.Client, worker: PlayedWorker, database_url: str, redis_url: str
) -> None:
    workflow = start(api)
    worker.run_all()
    path = f"/api/v1/workflows/{workflow}/events"
    whole = list(events(iter(api.get(path).text.splitlines())))
    seen = whole[2]["id"]
    with running_engine(engine_settings(database_url, redis_url)) as other:
        by_header = list(events(iter(other.get(path, headers={"Last-Event-ID": seen}).text.splitlines())))
        by_query = list(events(iter(other.get(path, params={"after": seen}).text.splitlines())))
    assert by_header == by_query == whole[3:]


def test_what_a_browser_has_seen_counts_more_than_what_its_address_says(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    workflow = start(api)
    worker.run_all()
    path = f"/api/v1/workflows/{workflow}/events"
    whole = list(events(iter(api.get(path).text.splitlines())))
    back = api.get(path, params={"after": 0}, headers={"Last-Event-ID": whole[-2]["id"]})
    assert list(events(iter(back.text.splitlines()))) == [whole[-1]]


@pytest.mark.parametrize("place", ["x", "-1", "1" * 30])
def test_a_place_that_is_none_is_refused_by_name(api: httpx.Client, worker: PlayedWorker, place: str) -> None:
    path = f"/api/v1/workflows/{start(api)}/events"
    for answer in (api.get(path, headers={"Last-Event-ID": place}), api.get(path, params={"after": place})):
        assert answer.status_code == 422
        assert "id of an event" in answer.json()["detail"]


def test_an_unknown_workflow_has_no_events(api: httpx.Client) -> None:
    answer = api.get("/api/v1/workflows/0198c2f4-5a3e-7c41-9d3b-0f6b1f0e2a77/events")
    assert (answer.status_code, answer.json()["code"]) == (404, "workflow-not-found")


@pytest.mark.parametrize("path", ["/api/v1/workflows/{id}/events", "/admin/changes"])
def test_an_engine_that_stops_ends_its_streams_as_if_they_were_done(
    api: httpx.Client, worker: PlayedWorker, database_url: str, redis_url: str, path: str
) -> None:
    workflow = start(api)
    with httpx.Client(trust_env=False, timeout=30) as client:
        with running_engine(engine_settings(database_url, redis_url)) as other:
            url = f"{str(other.base_url).rstrip('/')}{path.format(id=workflow)}"
            stream = client.stream("GET", url)
            lines = stream.__enter__().iter_lines()
            next(events(lines))
        list(lines)  # one that was cut off would raise
        stream.__exit__(None, None, None)


def test_a_stream_outlasts_an_outage_of_postgres(api: httpx.Client, database_url: str) -> None:
    workflow = start(api)
    name = database_url.rpartition("/")[2].partition("?")[0]
    with api.stream("GET", f"/api/v1/workflows/{workflow}/events") as answer:
        told = events(answer.iter_lines())
        assert next(told)["data"]["event"] == "workflow.created"
        with psycopg.connect(database_url.replace(f"/{name}", "/postgres"), autocommit=True) as server:
            server.execute(f'alter database "{name}" allow_connections false'.encode())
            try:
                server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
                eventually(lambda: api.get(f"/api/v1/workflows/{workflow}").status_code == 503, 30)
            finally:
                server.execute(f'alter database "{name}" allow_connections true'.encode())
        eventually(lambda: api.get(f"/api/v1/workflows/{workflow}").status_code == 200, 30)
        api.post(f"/api/v1/workflows/{workflow}/cancel").raise_for_status()
        rest = list(told)
    assert [event["data"]["event"] for event in rest if event["data"].get("event") == "workflow.cancelled"]
    assert rest[-1] == {"event": "end", "data": {"status": "cancelled"}}
