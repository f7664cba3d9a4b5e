"""The log of one workflow: whole, in order, in pages or as it comes; and the command that prints it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import uuid
from typing import Any

import httpx
import pytest
from support.eventually import eventually

from .conftest import NOWHERE, PlayedWorker

STEPS = [
    {"id": "fetch", "type": "http", "url": "http://example.com", "retries": 1},
    {"id": "store", "type": "noop", "depends_on": ["fetch"]},
]


def start(api: httpx.Client) -> str:
    return str(api.post("/api/v1/workflows", json={"name": "flow", "steps": STEPS}).json()["id"])


def error(type: str, message: str, **details: Any) -> dict[str, Any]:
    return {"type": type, "message": message, "retryable": True, "attempt": 1, "details": details}


@pytest.fixture
def failed(api: httpx.Client, worker: PlayedWorker) -> str:
    """A workflow whose first step was tried twice and took too long."""
    workflow = start(api)
    worker.end(worker.claim()[0], "retried", error=error("http.503", "busy"), delay=0)
    timeout = error("timeout", "Task exceeded maximum runtime of 60 seconds", timeout=60)
    worker.end(worker.claim()[0], "failed", error=timeout)
    return workflow


def run_logs(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workflow_engine.cli", "logs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_log_tells_everything_in_order(api: httpx.Client, failed: str) -> None:
    lines = api.get(f"/api/v1/workflows/{failed}/logs").json()
    assert [(line["message"], line["level"], line["step"], line["attempt"]) for line in lines] == [
        ("workflow created", "info", None, None),
        ("workflow started", "info", None, None),
        ("task picked up", "info", "fetch", 1),
        ("busy", "warning", "fetch", 1),
        ("task picked up", "info", "fetch", 2),
        ("Task exceeded maximum runtime of 60 seconds", "warning", "fetch", 2),
        ("A step it depends on failed.", "info", "store", None),
        ("workflow failed", "warning", None, None),
    ]
    timeout = lines[5]
    assert (timeout["event"], timeout["type"], timeout["worker"]) == ("task.failed", "http", "played")
    assert timeout["fields"] | {"seconds": 0} == {
        "outcome": "failed", "seconds": 0, "error_type": "timeout", "timeout": 60
    }  # fmt: skip
    assert "outcome" not in lines[2]["fields"], "when it was picked up nobody knew"
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


def test_pages_together_are_the_whole(api: httpx.Client, failed: str) -> None:
    whole = api.get(f"/api/v1/workflows/{failed}/logs").json()
    url, found = f"/api/v1/workflows/{failed}/logs?limit=3", []
    while url:
        page = api.get(url)
        assert len(page.json()) <= 3
        found += page.json()
        url = page.links["next"]["url"] if "next" in page.links else ""
    assert found == whole


def test_as_text_it_is_logfmt_that_the_runbooks_grep_finds(api: httpx.Client, failed: str) -> None:
    answer = api.get(f"/api/v1/workflows/{failed}/logs", params={"format": "text"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    lines = answer.text.splitlines()
    assert len(lines) == 8
    for line in lines:
        assert re.match(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z level=\w+ msg=", line)
        assert f" workflow_id={failed}" in line
    assert re.search(
        r'level=warning msg="Task exceeded maximum runtime of 60 seconds" .*task_id=\d+ step=fetch type=http attempt=2'
        r" worker=played outcome=failed seconds=\S+ error_type=timeout timeout=60$",
        lines[5],
    )


def test_what_a_handler_logged_stands_before_the_end_of_its_attempt(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api)
    logged = {"time": "2026-01-31T12:00:00.000001Z", "level": "warning", "message": "slow", "fields": {"rows": 3}}
    worker.end(worker.claim()[0], "retried", error=error("http.503", "busy"), delay=0, logs=[logged, logged])
    worker.end(worker.claim()[0], logs=[{**logged, "message": "better"}])
    lines = api.get(f"/api/v1/workflows/{workflow}/logs").json()
    assert [(line["message"], line["attempt"]) for line in lines[2:]] == [
        ("task picked up", 1), ("slow", 1), ("slow", 1), ("busy", 1),
        ("task picked up", 2), ("better", 2), ("task succeeded", 2),
    ]  # fmt: skip
    assert lines[3] == lines[3] | {
        "time": "2026-01-31T12:00:00.000001Z", "level": "warning", "event": None, "step": "fetch", "type": "http",
        "worker": "played", "fields": {"rows": 3},
    }  # fmt: skip
    text = api.get(f"/api/v1/workflows/{workflow}/logs?format=text").text.splitlines()
    assert re.fullmatch(
        rf"time=2026-01-31T12:00:00.000001Z level=warning msg=slow workflow_id={workflow} task_id=\d+ step=fetch"
        r" type=http attempt=1 worker=played rows=3",
        text[3],
    )


def test_what_a_stale_result_logged_is_not_kept(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api)
    claim = worker.claim()[0]
    assert api.post(f"/api/v1/workflows/{workflow}/cancel").status_code == 202
    fields = {name: claim[name] for name in ("task_id", "attempt", "lease_token")}
    logged = {"time": "2026-01-31T12:00:00Z", "level": "info", "message": "late", "fields": {}}
    assert worker.turn({**fields, "outcome": "succeeded", "logs": [logged]})["stale"] == [0]
    assert "late" not in api.get(f"/api/v1/workflows/{workflow}/logs?format=text").text


def test_following_goes_on_until_the_end(api: httpx.Client, worker: PlayedWorker) -> None:
    workflow = start(api)
    seen: list[dict[str, Any]] = []
    ended = threading.Event()

    def follow() -> None:
        with api.stream("GET", f"/api/v1/workflows/{workflow}/logs?follow=true") as answer:
            assert answer.headers["content-type"].startswith("application/x-ndjson")
            for line in answer.iter_lines():
                seen.append(json.loads(line))
        ended.set()

    follower = threading.Thread(target=follow)
    follower.start()
    eventually(lambda: [line["event"] for line in seen] == ["workflow.created"])
    assert not ended.is_set()
    worker.run_all()
    assert ended.wait(10)
    follower.join()
    assert [line["event"] for line in seen] == [
        line["event"] for line in api.get(f"/api/v1/workflows/{workflow}/logs").json()
    ]
    assert seen[-1]["message"] == "workflow succeeded"


@pytest.mark.parametrize("query", ["", "format=text", "follow=true", "format=ndjson&follow=true"])
def test_a_workflow_that_does_not_exist_has_no_log(shared_api: httpx.Client, query: str) -> None:
    answer = shared_api.get(f"/api/v1/workflows/{uuid.uuid4()}/logs?{query}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "workflow-not-found"


def test_a_form_that_is_not_known_is_refused(shared_api: httpx.Client) -> None:
    answer = shared_api.get(f"/api/v1/workflows/{uuid.uuid4()}/logs?format=svg")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")


@pytest.fixture
def server(api: httpx.Client) -> str:
    return str(api.base_url)


def test_the_command_prints_what_the_api_has(server: str, api: httpx.Client, failed: str) -> None:
    for arguments in ((), ("--follow",)):
        answer = run_logs(failed, "--server", server, *arguments)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert answer.stdout == api.get(f"/api/v1/workflows/{failed}/logs?format=text").text


def test_the_command_says_what_is_wrong_with_an_id(server: str) -> None:
    for given in (str(uuid.uuid4()), "{workflow_id}", "a/b"):
        answer = run_logs(given, "--server", server)
        assert answer.returncode == 1
        assert answer.stderr.startswith("workflow-engine: ")
        assert "Traceback" not in answer.stderr
    assert "placeholder" in run_logs("{workflow_id}", "--server", server).stderr


def test_the_command_tells_an_engine_that_is_away_by_its_exit_code() -> None:
    answer = run_logs("some", "--server", NOWHERE)
    assert answer.returncode == 3
    assert "--server" in answer.stderr
