"""What cannot be done with what there is, and parameters that nobody takes: a problem, and not a row is different."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from support.databases import new_database

from .conftest import PlayedWorker, engine_settings, running_engine
from .test_bad_input import assert_problem

API = "/api/v1"
NOBODY = "00000000-0000-0000-0000-000000000007"
NOOP = {"id": "a", "type": "noop"}
LONG = "x" * 3000

# Some tables change by themselves while an engine runs; and what is refused is told in the audit log.
_RESTLESS = (
    "engine",
    "workers",
    "narration",
    "leader",
    "audit",
    "counted_events",
    "daily_ends",
    "samples",
    "engines",
    "watched",
    "alerts",
)


class Prepared:
    """An engine with something in each state."""

    def __init__(self, api: httpx.Client, database_url: str) -> None:
        self.api = api
        self.connection = psycopg.connect(database_url, autocommit=True)
        self.names = {
            "nobody": NOBODY,
            "ended": self._start("ended"),
            "failing": self._start("failing"),
            "live": self._start("live"),
        }
        with PlayedWorker(database_url) as worker:
            for claim in worker.claim():
                if claim["workflow_id"] == self.names["live"]:
                    worker.end(claim, "waiting", next="waiting", awaits={"kind": "approval", "outcomes": ["yes", "no"]})
                elif claim["workflow_id"] == self.names["failing"]:
                    error = {"type": "user.x", "message": "m", "retryable": False, "attempt": 1, "details": {}}
                    worker.end(claim, "failed", error=error)
                else:
                    worker.end(claim)
        self.names["task"] = api.get(f"{API}/workflows/{self.names['live']}/tasks").json()[0]["id"]
        self.names["ended_task"] = api.get(f"{API}/workflows/{self.names['ended']}/tasks").json()[0]["id"]
        self.names["approval"] = api.get(f"{API}/approvals").json()[0]["id"]
        assert api.post(f"{API}/definitions", json={"name": "gone", "steps": [NOOP]}).status_code == 201
        assert api.delete(f"{API}/definitions/gone").status_code == 200
        schema = {"type": "object", "required": ["day"], "properties": {"day": {"type": "string"}}}
        assert api.post(
            f"{API}/definitions", json={"name": "with-schema", "steps": [NOOP], "input_schema": schema}
        ).is_success
        key = {"Idempotency-Key": "used"}
        assert api.post(f"{API}/workflows", json={"name": "ended", "input": 1}, headers=key).status_code == 202

    def _start(self, name: str) -> str:
        started = self.api.post(f"{API}/workflows", json={"name": name, "steps": [NOOP]})
        assert started.status_code == 202, started.text
        return str(started.json()["id"])

    def state(self) -> dict[str, Any]:
        """A digest of every table that only changes when somebody changes it."""
        tables = self.connection.execute(
            "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = 'workflow' and c.relkind in ('r', 'p') and not c.relispartition"
            " and not c.relname = any(%s) order by 1",
            [list(_RESTLESS)],
        ).fetchall()
        digests = " union all ".join(
            f"select '{table}', md5(string_agg(t::text, ',' order by t::text)) from {table} t" for (table,) in tables
        )
        return dict(self.connection.execute(digests.encode()).fetchall())


@pytest.fixture(scope="module")
def prepared(server_url: str, template_database: str, redis_server_url: str) -> Iterator[Prepared]:
    with (
        new_database(server_url, "prepared", template=template_database) as url,
        running_engine(engine_settings(url, redis_server_url)) as api,
    ):
        found = Prepared(api, url)
        yield found
        found.connection.close()


# method, path, body (None: none; bytes: as they are; else as JSON), headers, status, code
Case = tuple[str, str, Any, dict[str, str], int, str]


def get(path: str, status: int, code: str) -> Case:
    return "GET", path, None, {}, status, code


def post(path: str, body: Any, status: int, code: str, **headers: str) -> Case:
    return "POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()}, status, code


def patch(body: Any, status: int, code: str, **headers: str) -> Case:
    _, path, body, named, *_ = post("/task-types/noop", body, status, code, **headers)
    return "PATCH", path, body, named, status, code


CASES: dict[str, Case] = {
    "start what is unknown": post("/workflows", {"name": "absent"}, 404, "definition-not-found"),
    "start an unknown version": post("/workflows", {"name": "ended", "version": 9}, 404, "definition-not-found"),
    "start what was deleted": post("/workflows", {"name": "gone"}, 409, "definition-disabled"),
    "an input that does not fit": post("/workflows", {"name": "with-schema"}, 422, "validation-error"),
    "an input that does not fit, in a batch": post(
        "/workflows/batch", [{"name": "ended"}, {"name": "with-schema", "input": {"day": 7}}], 422, "validation-error"
    ),
    "a key with another request": post(
        "/workflows", {"name": "ended", "input": 2}, 422, "idempotency-key-reused", Idempotency_Key="used"
    ),
    "a key with an umlaut": post("/workflows", {"name": "ended"}, 400, "invalid-idempotency-key", Idempotency_Key="ü"),
    "read nobody": get("/workflows/{nobody}", 404, "workflow-not-found"),
    "the tasks of nobody": get("/workflows/{nobody}/tasks", 404, "workflow-not-found"),
    "the log of nobody": get("/workflows/{nobody}/logs?follow=true", 404, "workflow-not-found"),
    "cancel nobody": post("/workflows/{nobody}/cancel", None, 404, "workflow-not-found"),
    "cancel what has ended": post("/workflows/{ended}/cancel", None, 409, "invalid-transition"),
    "pause what has ended": post("/workflows/{ended}/pause", None, 409, "invalid-transition"),
    "resume what has ended": post("/workflows/{ended}/resume", None, 409, "invalid-transition"),
    "retry what has succeeded": post("/workflows/{ended}/retry", None, 409, "invalid-transition"),
    "retry what runs": post("/workflows/{live}/retry", None, 409, "invalid-transition"),
    "rerun what runs": post("/workflows/{live}/rerun", None, 409, "invalid-transition"),
    "rerun from a step that is none": post("/workflows/{ended}/rerun", {"from": "zz"}, 422, "unknown-dependency"),
    "rerun with a field too many": post("/workflows/{ended}/rerun", {"status": "failed"}, 422, "unknown-property"),
    "a reason that is a list": post("/workflows/{live}/cancel", {"reason": []}, 422, "validation-error"),
    "a reason without end": post("/workflows/{live}/cancel", {"reason": "x" * 501}, 422, "out-of-range"),
    "a signal to what has ended": post("/workflows/{ended}/signal/x", {}, 409, "invalid-transition"),
    "a signal to nobody": post("/workflows/{nobody}/signal/x", {}, 404, "workflow-not-found"),
    "a signal above the limit": post(
        "/workflows/{live}/signal/x", "x" * 1024 * 1024, 413, "payload-too-large"),
    "a signal that is no JSON": post("/workflows/{live}/signal/x", b"{", 400, "malformed-json"),
    "a signal with half a pair": post("/workflows/{live}/signal/x", rb'"\udc00"', 422, "invalid-character"),
    "a signal with a NUL in its key": post("/workflows/{live}/signal/x", rb'{"\u0000": 1}', 422, "invalid-character"),
    "a signal with a long name": post(f"/workflows/{{live}}/signal/{LONG}", {}, 422, "invalid-parameter"),
    "a signal by somebody long": post(f"/workflows/{{live}}/signal/x?by={LONG}", {}, 422, "invalid-parameter"),
    "a signal by two lines": post("/workflows/{live}/signal/x?by=a%0Ab", {}, 422, "invalid-parameter"),
    "a budget for nobody": post("/workflows/{nobody}/budget", {"steps": {"hard": 1}}, 404, "workflow-not-found"),
    "a budget below zero": post("/workflows/{live}/budget", {"steps": {"hard": -1}}, 422, "out-of-range"),
    "a budget that is a word": post("/workflows/{live}/budget", {"tokens": "many"}, 422, "validation-error"),
    "pin to no version": post("/workflows/{live}/pin", None, 422, "invalid-parameter"),
    "pin to an unknown version": post("/workflows/{live}/pin?version=9", None, 404, "definition-not-found"),
    "pin what has succeeded": post("/workflows/{ended}/pin?version=1", None, 409, "invalid-transition"),
    "an answer that is no outcome": post("/approvals/{approval}", {"outcome": "maybe"}, 422, "validation-error"),
    "an answer without outcome": post("/approvals/{approval}", {}, 422, "validation-error"),
    "an answer to nobody": post("/approvals/{nobody}", {"outcome": "yes"}, 404, "approval-not-found"),
    "an answer with a field too many": post(
        "/approvals/{approval}", {"outcome": "yes", "status": "answered"}, 422, "unknown-property"),
    "a task that is none": get("/tasks/1", 404, "task-not-found"),
    "a task beyond all numbers": get(f"/tasks/{'9' * 400}", 404, "task-not-found"),
    "a task that is a word": get("/tasks/one", 404, "task-not-found"),
    "retry a task that succeeded": post("/tasks/{ended_task}/retry", None, 409, "invalid-transition"),
    "retry a task for ever": post("/tasks/{task}/retry?timeout=25h", None, 422, "invalid-parameter"),
    "skip a task that succeeded": post("/tasks/{ended_task}/skip", {"output": 1}, 409, "invalid-transition"),
    "skip nobody": post("/tasks/1/skip", {"output": 1}, 404, "task-not-found"),
    "skip with a field too many": post("/tasks/{task}/skip", {"attempt": 7}, 422, "unknown-property"),
    "a task type that is none": get("/task-types/shell", 404, "task-type-not-found"),
    "a timeout of zero": patch({"timeout": 0}, 422, "out-of-range"),
    "a timeout of 31 days": patch({"timeout": "31d"}, 422, "out-of-range"),
    "a timeout that is a list": patch({"timeout": [1]}, 422, "validation-error"),
    "a million tries": patch({"max_attempts": 1_000_000}, 422, "out-of-range"),
    "a field of others": patch({"name": "x"}, 422, "unknown-property"),
    "a task type that was changed since": patch({"timeout": 5}, 412, "precondition-failed", If_Match='"0"'),
    "a schedule that is none": get("/schedules/ended", 404, "schedule-not-found"),
    "pause a schedule that is none": post("/schedules/ended/pause", None, 404, "schedule-not-found"),
    "backfill without a time": post("/schedules/ended/backfill", None, 422, "invalid-parameter"),
    "backfill from no time": post("/schedules/ended/backfill?from=never", None, 422, "invalid-parameter"),
    "pause for ever": post("/pause?ttl=366d", None, 422, "invalid-parameter"),
    "pause with a body that nobody reads": post("/pause", {"ttl": "15m"}, 422, "unknown-property"),
    "resume with a list": post("/workflows/{live}/resume", [], 422, "validation-error"),
    "retry with a word": post("/workflows/{failing}/retry", b"now", 400, "malformed-json"),
    "pause for no time": post("/pause?ttl=0", None, 422, "invalid-parameter"),
    "cancel whom?": post("/workflows/bulk/cancel", None, 422, "validation-error"),
    "cancel 1,001 at once": post("/workflows/bulk/cancel", {"ids": [NOBODY] * 1001}, 422, "out-of-range"),
    "cancel numbers": post("/workflows/bulk/cancel", {"ids": [1]}, 422, "validation-error"),
    "recover with another action": post("/workflows/recover-orphaned?action=delete", None, 422, "invalid-parameter"),
    "deliver what is not there": post("/outbox/{nobody}/retry", None, 404, "delivery-not-found"),
    "an unknown definition": get("/definitions/absent", 404, "definition-not-found"),
    "a version that is a word": get("/definitions/ended/versions/one", 404, "definition-not-found"),
    "a version beyond all numbers": get(f"/definitions/ended/versions/{'9' * 400}", 404, "definition-not-found"),
    "a difference to nothing": get("/definitions/ended/diff?to=9", 404, "definition-not-found"),
    "a definition with an input": post(
        "/definitions", {"name": "x", "steps": [NOOP], "input": {}}, 422, "unknown-property"),
    "a test without a definition": post("/definitions/test", {}, 422, "validation-error"),
    "a test of nobody": post("/definitions/test", {"name": "absent"}, 404, "definition-not-found"),
    "a form that is none": get("/workflows/{ended}/dag?format=pdf", 422, "invalid-parameter"),
    "a window of a year": get("/tasks/stats?window=365d", 422, "invalid-parameter"),
    "no limit": get("/workflows?limit=0", 422, "invalid-parameter"),
    "a limit of a billion": get("/workflows?limit=1000000000", 422, "invalid-parameter"),
    "an unknown filter": get("/workflows?nmae=x", 422, "invalid-parameter"),
    "SQL in a filter": get("/workflows?status=%27%20OR%201=1--", 422, "invalid-parameter"),
    "half a pair in a query": get("/workflows?status=%ED%A0%80", 422, "invalid-parameter"),
    "a name that is no UTF-8": get("/workflows?limit=%ff", 422, "invalid-parameter"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_done_changes_nothing(case: str, prepared: Prepared) -> None:
    method, path, body, headers, status, code = CASES[case]
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    if content is not None:
        headers = {"Content-Type": "application/json", **headers}
    before = prepared.state()

    answer = prepared.api.request(
        method,
        API + path.format(**prepared.names),
        content=content,
        headers={k: v.encode() for k, v in headers.items()},
    )

    assert_problem(answer, status, code)
    assert "x" * 201 not in answer.text, "a long value is echoed"
    assert prepared.state() == before


def test_markup_and_line_breaks_are_kept_as_text_and_answered_as_json(prepared: Prepared) -> None:
    wild = '<img src=x onerror=alert(1)>\n\x1b[31m"}'
    started = prepared.api.post(f"{API}/workflows", json={"name": "ended", "labels": {"note": wild}, "input": wild})
    shown = prepared.api.get(started.headers["location"])

    assert shown.json()["labels"]["note"] == shown.json()["input"] == wild
    assert shown.headers["content-type"] == "application/json"
    assert shown.headers["x-content-type-options"] == "nosniff"
