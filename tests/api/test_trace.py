"""The trace of a workflow, as JSON, for OpenTelemetry and for Perfetto."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any

import httpx
import pytest

from .conftest import PlayedWorker
from .test_workflows import CHAIN, fail_at_b, start


def test_the_trace_lists_every_attempt_with_its_wait_and_run_time(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    assert api.get(f"/api/v1/workflows/{workflow_id}/trace").json() == []
    fail_at_b(worker)
    api.post(f"/api/v1/workflows/{workflow_id}/retry")
    worker.claim()

    spans = api.get(f"/api/v1/workflows/{workflow_id}/trace").json()

    assert [(span["step"], span["attempt"], span["status"]) for span in spans] == [
        ("a", 1, "succeeded"),
        ("b", 1, "failed"),
        ("b", 2, "running"),
    ]
    assert all(span["wait_s"] >= 0 and span["worker"] == "played" for span in spans)
    assert spans[1]["error"]["type"] == "user.broken"
    assert (spans[2]["run_s"], spans[2]["finished_at"]) == (None, None)
    assert spans[0]["run_s"] >= 0


def test_spans_have_ids_that_stay_the_same(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    worker.run_all()

    spans = api.get(f"/api/v1/workflows/{workflow_id}/trace").json()

    assert {span["trace_id"] for span in spans} == {uuid.UUID(workflow_id).hex}
    assert len({span["span_id"] for span in spans} | {spans[0]["parent_span_id"]}) == 4
    for span in spans:
        assert re.fullmatch("[0-9a-f]{16}", span["span_id"])
        assert span["span_id"].strip("0")
    assert api.get(f"/api/v1/workflows/{workflow_id}/trace").json() == spans


def test_opentelemetry_gets_a_root_span_and_one_for_each_attempt(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow_id = start(api)
    fail_at_b(worker)
    api.post(f"/api/v1/workflows/{workflow_id}/retry")
    worker.claim()
    plain = api.get(f"/api/v1/workflows/{workflow_id}/trace").json()

    (resource,) = api.get(f"/api/v1/workflows/{workflow_id}/trace?format=otlp").json()["resourceSpans"]

    (scope,) = resource["scopeSpans"]
    root, first, failed, running = scope["spans"]
    assert attributes(resource["resource"]) == {"service.name": "workflow-engine"}
    assert ("parentSpanId" not in root, root["name"], root["status"]) == (True, "chain", {"code": 0})
    assert [span["name"] for span in (first, failed, running)] == ["process noop"] * 3
    assert [span["parentSpanId"] for span in (first, failed, running)] == [root["spanId"]] * 3
    assert [link["spanId"] for link in running["links"]] == [failed["spanId"]]
    assert [span["spanId"] for span in (first, failed, running)] == [span["span_id"] for span in plain]
    assert first["traceId"] == root["traceId"] == uuid.UUID(workflow_id).hex
    expected = {
        "workflow.id": workflow_id, "workflow.name": "chain", "workflow.version": "1", "workflow.step.id": "b",
        "workflow.task.id": plain[1]["task_id"], "workflow.task.type": "noop", "workflow.attempt": "1",
        "error.type": "user.broken",
    }  # fmt: skip
    assert expected.items() <= attributes(failed).items()
    assert failed["status"] == {"code": 2, "message": "It broke."}
    assert attributes(failed["events"][0])["exception.message"] == "It broke."
    assert (first["status"], running["status"]) == ({"code": 1}, {"code": 0})
    assert attributes(running)["workflow.attempt.outcome"] == "running"
    for span in scope["spans"]:
        assert 0 < int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    begun = datetime.fromisoformat(plain[0]["started_at"])
    assert abs(int(first["startTimeUnixNano"]) / 1e9 - begun.timestamp()) < 1e-5


def test_perfetto_gets_a_row_for_each_task_with_waiting_and_running_apart(
    api: httpx.Client, worker: PlayedWorker
) -> None:
    workflow_id = start(api)
    fail_at_b(worker)
    api.post(f"/api/v1/workflows/{workflow_id}/retry")
    worker.claim()

    events = api.get(f"/api/v1/workflows/{workflow_id}/trace?format=chrome").json()["traceEvents"]

    rows = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert list(rows.values()) == ["a", "b"]
    ran = [event for event in events if event.get("cat") == "run"]
    assert [(rows[e["tid"]], e["name"], e["ph"]) for e in ran] == [
        ("a", "a #1", "X"), ("b", "b #1", "X"), ("b", "b #2", "X"),
    ]  # fmt: skip
    assert ran[1]["args"]["error.type"] == "user.broken"
    assert ran[2]["args"]["workflow.attempt.outcome"] == "running"
    for waited in (event for event in events if event.get("cat") == "wait"):
        assert any(waited["ts"] + waited["dur"] == e["ts"] and waited["tid"] == e["tid"] for e in ran)
    assert all(isinstance(e["ts"], int) and e["dur"] >= 0 for e in ran)


def test_a_workflow_without_attempts_has_a_trace_of_its_own(api: httpx.Client) -> None:
    workflow_id = start(api)
    path = f"/api/v1/workflows/{workflow_id}/trace"

    (resource,) = api.get(f"{path}?format=otlp").json()["resourceSpans"]
    assert [span["name"] for span in resource["scopeSpans"][0]["spans"]] == ["chain"]
    assert [event["ph"] for event in api.get(f"{path}?format=chrome").json()["traceEvents"]] == ["M"]
    assert api.get(f"{path}?format=jaeger").status_code == 422
    assert api.get(f"/api/v1/workflows/{uuid.uuid4()}/trace?format=otlp").status_code == 404


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("batch", [False, True])
def test_a_workflow_that_is_started_within_a_trace_belongs_to_it(
    api: httpx.Client, worker: PlayedWorker, batch: bool
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    body = {"name": "chain", "steps": CHAIN}
    if batch:
        (started,) = api.post("/api/v1/workflows/batch", json=[body], headers=headers).json()
    else:
        started = api.post("/api/v1/workflows", json=body, headers=headers).json()
    path = f"/api/v1/workflows/{started['id']}"
    worker.run_all()

    assert api.get(path).json()["trace_id"] == TRACE
    assert [found["trace_id"] for found in api.get("/api/v1/workflows").json()] == [TRACE]
    assert {span["trace_id"] for span in api.get(f"{path}/trace").json()} == {TRACE}
    (resource,) = api.get(f"{path}/trace?format=otlp").json()["resourceSpans"]
    root, *attempts = resource["scopeSpans"][0]["spans"]
    assert (root["traceId"], root["parentSpanId"]) == (TRACE, SPAN)
    assert {span["traceId"] for span in attempts} == {TRACE}


@pytest.mark.parametrize("headers", [[], [("traceparent", "nonsense")], [("traceparent", f"00-{TRACE}-{SPAN}-01")] * 2])
def test_one_that_is_started_by_nobody_known_has_a_trace_of_its_own(
    api: httpx.Client, headers: list[tuple[str, str]]
) -> None:
    answer = api.post("/api/v1/workflows", json={"name": "chain", "steps": CHAIN}, headers=headers)
    assert answer.status_code == 202
    workflow = api.get(f"/api/v1/workflows/{answer.json()['id']}").json()
    assert workflow["trace_id"] == uuid.UUID(workflow["id"]).hex


def attributes(of: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in of["attributes"]}
