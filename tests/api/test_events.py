"""What happens to a workflow, as it happens: server-sent events that any engine can go on with."""

from __future__ import annotations

import json
import re
import time
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


@pytest.mark.parametrize(
    "path", ["/api/v1/workflows/{id}/events", "/admin/changes", "/api/v1/workflows/{id}/logs?follow=true"]
)
def test_an_engine_that_stops_ends_its_streams_as_if_they_were_done(
    api: httpx.Client, worker: PlayedWorker, database_url: str, redis_url: str, path: str
) -> None:
    workflow = start(api)
    with httpx.Client(trust_env=False, timeout=30) as client:
        with running_engine(engine_settings(database_url, redis_url)) as other:
            url = f"{str(other.base_url).rstrip('/')}{path.format(id=workflow)}"
            stream = client.stream("GET", url)
            lines = stream.__enter__().iter_lines()
            next(line for line in lines if "{" in line or line.startswith("data"))
        rest = list(lines)  # one that was cut off would raise
        stream.__exit__(None, None, None)
    if "logs" in path:  # which has no other way to say that this is not its end
        assert json.loads(rest[-1])["message"] == "this engine stops and the log goes on: follow it again"


@pytest.mark.parametrize("path", ["events", "logs?follow=true"])
def test_what_is_followed_outlasts_an_outage_of_postgres(api: httpx.Client, database_url: str, path: str) -> None:
    workflow = start(api)
    name = database_url.rpartition("/")[2].partition("?")[0]
    with api.stream("GET", f"/api/v1/workflows/{workflow}/{path}") as answer:
        told = told_events(answer.iter_lines())
        assert next(told) == "workflow.created"
        with psycopg.connect(database_url.replace(f"/{name}", "/postgres"), autocommit=True) as server:
            server.execute(f'alter database "{name}" allow_connections false'.encode())
            try:
                server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
                eventually(lambda: api.get(f"/api/v1/workflows/{workflow}").status_code == 503, 30)
            finally:
                server.execute(f'alter database "{name}" allow_connections true'.encode())
        eventually(lambda: api.get(f"/api/v1/workflows/{workflow}").status_code == 200, 30)
        api.post(f"/api/v1/workflows/{workflow}/cancel").raise_for_status()
        assert list(told)[-1] == "workflow.cancelled"


def told_events(lines: Iterator[str]) -> Iterator[str]:
    """The events that a stream of either kind tells of."""
    for line in lines:
        data = line.removeprefix("data: ")
        if data.startswith("{") and (event := json.loads(data).get("event")):
            yield event


def test_an_event_that_is_committed_late_is_told_in_its_place(
    api: httpx.Client, worker: PlayedWorker, database_url: str
) -> None:
    workflow = start(api)
    insert = "insert into workflow.events (workflow_id, type, at) values (%s, %s, now())"
    with (
        api.stream("GET", f"/api/v1/workflows/{workflow}/events") as answer,
        psycopg.connect(database_url) as late,
        psycopg.connect(database_url, autocommit=True) as prompt,
    ):
        told = told_events(answer.iter_lines())
        assert next(told) == "workflow.created"
        late.execute(insert, [workflow, "workflow.paused"])
        prompt.execute(insert, [workflow, "workflow.resumed"])
        looked = (
            "select exists (select from pg_stat_activity where datname = current_database()"
            " and query like '%%end_of_events%%' and query_start > %s)"
        )
        now = prompt.execute("select clock_timestamp()").fetchone()
        eventually(lambda: prompt.execute(looked, now).fetchone() == (True,))
        late.commit()
        assert [next(told), next(told)] == ["workflow.paused", "workflow.resumed"]


def test_a_workflow_that_is_deleted_while_it_is_followed_ends_its_streams(
    api: httpx.Client, worker: PlayedWorker, database_url: str
) -> None:
    workflow = start(api)
    path = f"/api/v1/workflows/{workflow}"
    with api.stream("GET", f"{path}/events") as answer, api.stream("GET", f"{path}/logs?follow=true") as log:
        told, lines = events(answer.iter_lines()), log.iter_lines()
        assert next(told)["data"]["event"] == json.loads(next(lines))["event"] == "workflow.created"
        with psycopg.connect(database_url) as connection:  # between two looks
            connection.execute("select workflow.cancel(%s)", [workflow])
            connection.execute("select workflow.delete_workflows(array[%s::uuid], array[%s::uuid])", [workflow] * 2)
        assert list(told) == [{"event": "end", "data": {"status": "deleted"}}]
        assert list(lines) == []


def test_followers_hear_again_after_something_that_nobody_expected(
    api: httpx.Client, worker: PlayedWorker, database_url: str
) -> None:
    workflow = start(api)
    with (
        api.stream("GET", "/admin/changes") as page,
        api.stream("GET", f"/api/v1/workflows/{workflow}/events") as answer,
        psycopg.connect(database_url, autocommit=True) as connection,
    ):
        changes, told = events(page.iter_lines()), told_events(answer.iter_lines())
        assert next(told) == "workflow.created"
        before = next(changes)["data"]
        connection.execute("alter function workflow.end_of_events() rename to mislaid")
        eventually(lambda: 'sqlstate="42883"' in api.get("/metrics").text, 30)
        connection.execute("alter function workflow.mislaid() rename to end_of_events")
        worker.run_all()
        assert next(changes)["data"] > before
        assert list(told)[-1] == "workflow.succeeded"


def of_streams(api: httpx.Client, name: str) -> float:
    """A number of the histogram of requests that follow events."""
    pattern = rf'^http_request_duration_seconds_{name}{{[^\n]*/events"[^\n]* (\S+)$'
    return sum(map(float, re.findall(pattern, api.get("/metrics").text, re.MULTILINE)))


def test_how_long_a_stream_was_open_is_not_how_long_somebody_was_kept_waiting(api: httpx.Client) -> None:
    workflow = start(api)
    count, total = of_streams(api, "count"), of_streams(api, "sum")
    begun = time.monotonic()
    with api.stream("GET", f"/api/v1/workflows/{workflow}/events") as answer:
        first = time.monotonic() - begun
        told = events(answer.iter_lines())
        next(told)
        assert "\nhttp_streams_open 1.0\n" in api.get("/metrics").text
        eventually(lambda: time.monotonic() - begun > 3 * first)
        api.post(f"/api/v1/workflows/{workflow}/cancel").raise_for_status()
        list(told)
    whole = time.monotonic() - begun
    eventually(lambda: of_streams(api, "count") == count + 1)
    assert of_streams(api, "sum") - total < whole / 2
    assert "\nhttp_streams_open 0.0\n" in api.get("/metrics").text
