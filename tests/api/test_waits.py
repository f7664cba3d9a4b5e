"""Signals, approvals and the outbox over HTTP."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from support.eventually import eventually

from .conftest import PlayedWorker

NOBODY = "00000000-0000-0000-0000-000000000007"
FORM = {"type": "object", "properties": {"amount": {"type": "number", "maximum": 120}}}
ASKED = {"kind": "approval", "prompt": "Refund?", "outcomes": ["yes", "no"], "form_schema": FORM}


def waiting(api: httpx.Client, worker: PlayedWorker, awaits: dict[str, Any]) -> str:
    """A workflow whose step waits."""
    started = api.post("/api/v1/workflows", json={"name": "waits", "steps": [{"id": "a", "type": "noop"}]})
    assert started.status_code == 202, started.text
    (claim,) = worker.claim()
    worker.end(claim, "waiting", next="waiting", awaits=awaits)
    return str(started.headers["location"])


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_signal_is_sent_taken_and_shown(api: httpx.Client, worker: PlayedWorker) -> None:
    path = waiting(api, worker, {"kind": "signal", "name": "paid"})
    sent = api.post(f"{path}/signal/paid?by=shop", json={"amount": 3})
    assert (sent.status_code, sent.json()["name"]) == (202, "paid")
    assert api.post(f"{path}/signal/refunded").status_code == 202, "without a payload"
    (claim,) = worker.claim()
    (event,) = claim["resumed"]["events"]
    assert (event["payload"], event["by"]) == ({"amount": 3}, "shop")
    worker.end(claim, output=event["payload"], effects={"taken": [event["seq"]]})
    first, second = api.get(f"{path}/signals").json()
    assert (first["seq"], first["payload"], first["taken_by"]) == (
        sent.json()["seq"], {"amount": 3}, str(claim["task_id"]),
    )  # fmt: skip
    assert (second["name"], second["payload"], second["taken_by"]) == ("refunded", None, None)
    assert api.get(f"{path}/signals?name=paid").json() == [first]
    assert code(api.post(f"{path}/signal/paid")) == (409, "invalid-transition")


def test_signals_come_in_pages(api: httpx.Client, worker: PlayedWorker) -> None:
    path = waiting(api, worker, {"kind": "signal", "name": "paid"})
    for n in range(3):
        api.post(f"{path}/signal/other", json=n)
    page = api.get(f"{path}/signals?limit=2")
    assert [signal["payload"] for signal in page.json()] == [0, 1]
    following = page.headers["link"].split(";")[0].strip("<>")
    assert [signal["payload"] for signal in api.get(following).json()] == [2]


def test_a_signal_sent_again_with_its_key_is_the_same_one(api: httpx.Client, worker: PlayedWorker) -> None:
    path = waiting(api, worker, {"kind": "signal", "name": "paid"})
    headers = {"Idempotency-Key": "k"}
    first = api.post(f"{path}/signal/paid", json=1, headers=headers)
    again = api.post(f"{path}/signal/paid", json=1, headers=headers)
    assert first.json() == again.json()
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert code(api.post(f"{path}/signal/paid", json=2, headers=headers)) == (422, "idempotency-key-reused")
    assert code(api.post(f"{path}/signal/paid", json=2, headers={"Idempotency-Key": ""})) == (
        400, "invalid-idempotency-key",
    )  # fmt: skip
    assert len(api.get(f"{path}/signals").json()) == 1


@pytest.mark.parametrize("name", ["x" * 201, "a%0Ab"])
def test_a_signal_with_a_bad_name_is_refused(shared_api: httpx.Client, name: str) -> None:
    answer = shared_api.post(f"/api/v1/workflows/{NOBODY}/signal/{name}")
    assert code(answer) == (422, "invalid-parameter")


def test_what_is_not_there_is_said_with_help(shared_api: httpx.Client) -> None:
    for path in (f"/api/v1/workflows/{NOBODY}/signal/x", "/api/v1/workflows/{workflow_id}/signal/x"):
        assert code(shared_api.post(path)) == (404, "workflow-not-found")
    assert code(shared_api.get(f"/api/v1/workflows/{NOBODY}/signals")) == (404, "workflow-not-found")
    for id in (NOBODY, "{approval_id}"):
        assert code(shared_api.get(f"/api/v1/approvals/{id}")) == (404, "approval-not-found")
        assert code(shared_api.post(f"/api/v1/approvals/{id}", json={"outcome": "yes"})) == (404, "approval-not-found")
        missing = shared_api.post(f"/api/v1/outbox/{id}/retry")
        assert code(missing) == (404, "delivery-not-found")
        assert "GET /api/v1/outbox" in missing.json()["hint"]
    for path in ("approvals?status=done", "outbox?status=open", "approvals?workflow_id=x"):
        assert code(shared_api.get(f"/api/v1/{path}")) == (422, "invalid-parameter")


def test_an_approval_is_listed_answered_and_its_workflow_goes_on(api: httpx.Client, worker: PlayedWorker) -> None:
    path = waiting(api, worker, ASKED)
    other = waiting(api, worker, {"kind": "approval"})
    workflow_id = path.rpartition("/")[2]
    assert [a["workflow_id"] for a in api.get("/api/v1/approvals").json()] == [other.rpartition("/")[2], workflow_id]
    (approval,) = api.get(f"/api/v1/approvals?workflow_id={workflow_id}").json()
    assert (approval["status"], approval["prompt"], approval["step"]) == ("open", "Refund?", "a")
    link = approval["links"]["self"]
    assert api.get(link).json() == approval
    body = {"outcome": "yes", "data": {"amount": 100}, "by": "ann"}
    answered = api.post(link, json=body)
    assert answered.status_code == 200, answered.text
    assert {name: answered.json()[name] for name in (*body, "status")} == {**body, "status": "answered"}
    assert api.post(link, json=body).json() == answered.json()
    conflict = api.post(link, json={"outcome": "no", "data": {}})
    assert code(conflict) == (409, "invalid-transition")
    assert "ann" in conflict.json()["detail"]
    (claim,) = worker.claim()
    assert claim["resumed"]["answer"]["outcome"] == "yes"
    assert len(api.get("/api/v1/approvals").json()) == 1
    assert [a["id"] for a in api.get("/api/v1/approvals?status=answered").json()] == [approval["id"]]
    page = api.get("/api/v1/approvals?status=open,answered&limit=1")
    assert api.get(page.headers["link"].split(";")[0].strip("<>")).json() == [answered.json()]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/outcome"),
        ({"outcome": "perhaps"}, "/outcome"),
        ({"outcome": "yes", "data": {"amount": 121}}, "/data/amount"),
        ({"outcome": "yes", "reason": "x"}, "/reason"),
        ({"outcome": "yes", "data": {"amount": 1}, "by": "ann\r\nbob"}, "/by"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_at_its_place(
    api: httpx.Client, worker: PlayedWorker, body: dict[str, Any], pointer: str
) -> None:
    waiting(api, worker, ASKED)
    (approval,) = api.get("/api/v1/approvals").json()
    refused = api.post(approval["links"]["self"], json=body)
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
    assert api.get(approval["links"]["self"]).json()["status"] == "open"


def test_a_rejection_need_not_say_what_the_form_asks_for(api: httpx.Client, worker: PlayedWorker) -> None:
    for _ in range(2):
        waiting(api, worker, {"kind": "approval", "form_schema": {**FORM, "required": ["amount"]}})
    for approval, data in zip(api.get("/api/v1/approvals").json(), (None, {"comment": "not ours"}), strict=True):
        link = approval["links"]["self"]
        assert code(api.post(link, json={"outcome": "approved", "data": data})) == (422, "validation-error")
        assert api.post(link, json={"outcome": "rejected", "data": data}).json()["data"] == data


def test_a_form_that_is_none_does_not_stand_in_the_way(api: httpx.Client, worker: PlayedWorker) -> None:
    waiting(api, worker, {**ASKED, "form_schema": {"type": "nonsense"}})
    (approval,) = api.get("/api/v1/approvals").json()
    assert api.post(approval["links"]["self"], json={"outcome": "yes", "data": 1}).status_code == 200


def test_the_leader_delivers_what_steps_emit_within_a_poll(api: httpx.Client, worker: PlayedWorker) -> None:
    heard: list[dict[str, Any]] = []

    class Target(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    path = waiting(api, worker, {"kind": "signal", "name": "go"})
    with ThreadingHTTPServer(("127.0.0.1", 0), Target) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            for emit in (
                {"to": "signal", "workflow_id": path.rpartition("/")[2]},
                {"to": "webhook", "url": f"http://127.0.0.1:{server.server_port}/"},
                {"to": "signal", "workflow_id": NOBODY},
            ):
                api.post("/api/v1/workflows", json={"name": "emits", "steps": [{"id": "e", "type": "noop"}]})
                (claim,) = (c for c in worker.claim() if "resumed" not in c)
                worker.end(claim, effects={"emit": {"name": "go", "payload": 7, **emit}})
            found = eventually(lambda: [d for d in api.get("/api/v1/outbox?status=dead").json()])
            eventually(lambda: heard)
            eventually(lambda: len(api.get("/api/v1/outbox?status=delivered").json()) == 2)
        finally:
            server.shutdown()
    assert [(d["to"], d["target"], d["error"]) for d in found] == [("signal", NOBODY, "There is no such workflow.")]
    assert [(message["name"], message["payload"]) for message in heard] == [("go", 7)]
    again = api.post(found[0]["links"]["retry"])
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    (signal,) = api.get(f"{path}/signals").json()
    assert signal["payload"] == 7
    metrics = api.get("/metrics").text
    assert "workflow_outbox{" in metrics
