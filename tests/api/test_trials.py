"""Test mode over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

PATH = "/api/v1/definitions/test"
STEPS = [
    {
        "id": "fetch",
        "type": "http",
        "url": "https://example.com",
        "retries": {"max_attempts": 2, "initial_delay": "5s"},
    },
    {"id": "size", "type": "transform", "expression": "size(steps.fetch.output.body)"},
]
DEFINITION = {"name": "flow", "steps": STEPS}
OUTPUTS = {"fetch": [{"error": "http.503"}, {"status": 200, "body": [1, 2, 3]}]}


def run(api: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = api.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_definition_runs_with_given_outputs_in_virtual_time(shared_api: httpx.Client) -> None:
    result = run(shared_api, definition=DEFINITION, outputs=OUTPUTS, now="2026-01-31T12:00:00Z")
    assert (result["status"], result["output"], result["stopped"]) == ("succeeded", {"size": 3}, None)
    assert (result["started_at"], result["duration"]) == ("2026-01-31T12:00:00Z", 5.0)
    fetch = result["tasks"][0]
    assert (fetch["path"], fetch["attempt"], fetch["finished_at"]) == ("fetch", 2, "2026-01-31T12:00:05Z")
    assert result["unused"] == {"outputs": [], "signals": [], "approvals": []}


def test_nothing_is_stored(api: httpx.Client, database_url: str, written: Callable[[str], dict[str, int]]) -> None:
    before = written(database_url)
    run(api, definition=DEFINITION, outputs=OUTPUTS)
    assert written(database_url) == before


def test_a_registered_definition_is_tried_by_its_name(api: httpx.Client) -> None:
    api.post("/api/v1/definitions", json=DEFINITION).raise_for_status()
    api.post(
        "/api/v1/definitions", json={"name": "flow", "steps": [{"id": "other", "type": "noop"}]}
    ).raise_for_status()
    assert [task["path"] for task in run(api, name="flow")["tasks"]] == ["other"]
    assert run(api, name="flow", version=1, outputs=OUTPUTS)["output"] == {"size": 3}
    assert api.post(PATH, json={"name": "flow", "version": 3}).status_code == 404


def test_the_body_may_be_yaml(shared_api: httpx.Client) -> None:
    body = "definition: {name: flow, steps: [{id: a, type: mine}]}\noutputs: {a: 7}\n"
    answer = shared_api.post(PATH, content=body, headers={"Content-Type": "application/yaml"})
    assert answer.json()["output"] == {"a": 7}


def test_a_workflow_that_fails_is_an_answer_too(shared_api: httpx.Client) -> None:
    result = run(shared_api, definition=DEFINITION)
    assert (result["status"], result["error"]["type"]) == ("failed", "test.no_output")
    assert "fetch" in result["error"]["message"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"definition": DEFINITION, "name": "flow"}, ""),
        ({"definition": DEFINITION, "version": 1}, "/version"),
        ({"definition": DEFINITION, "output": {}}, "/output"),
        (
            {"definition": {"name": "flow", "steps": [{"id": "a", "type": "noop", "whne": "true"}]}},
            "/definition/steps/0/whne",
        ),
        ({"definition": DEFINITION, "outputs": {"fetch": {"error": {}}}}, "/outputs/fetch/error/type"),
        ({"definition": DEFINITION, "outputs": []}, "/outputs"),
        ({"definition": DEFINITION, "signals": [{"name": "x", "at": "soon"}]}, "/signals/0/at"),
        ({"definition": DEFINITION, "approvals": [{"step": "x"}]}, "/approvals/0/outcome"),
        ({"definition": DEFINITION, "now": "noon"}, "/now"),
        ({"definition": DEFINITION, "definitions": [{"name": "x"}]}, "/definitions/0/steps"),
        ({"definition": {**DEFINITION, "input_schema": {"required": ["day"]}}}, "/input"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(
    shared_api: httpx.Client, body: dict[str, Any], pointer: str
) -> None:
    answer = shared_api.post(PATH, json=body)
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
