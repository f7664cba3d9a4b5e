"""The OpenAPI document is whole, its examples are true, and docs/api.md has every route and problem."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from workflow_engine.api.answers import MEDIA_TYPES
from workflow_engine.api.problem_types import PROBLEM_TYPES
from workflow_engine.api.streams import MEDIA_TYPE as EVENTS
from workflow_engine.asgi import create_app
from workflow_engine.settings import load_settings

from .conftest import PlayedWorker

DOCUMENT: dict[str, Any] = create_app(load_settings()).openapi()
DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "api.md"


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


OPERATIONS = [pytest.param(*found, id=found[2]["operationId"]) for found in operations()]


def check(schema: dict[str, Any], value: Any) -> None:
    validator = jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert errors == []


def answer_schema(path: str, method: str, status: int) -> dict[str, Any]:
    content: dict[str, Any] = DOCUMENT["paths"][path][method]["responses"][str(status)]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_operation_is_described_with_examples_that_are_true(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    assert re.fullmatch("[a-z]+(_[a-z]+)+", operation["operationId"])
    assert operation["summary"]
    assert operation["description"]
    assert len(operation["tags"]) == 1
    for parameter in operation.get("parameters", ()):
        assert parameter["description"]
    for status, described in operation["responses"].items():
        answer = (
            DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
            if "$ref" in described
            else described
        )
        for media_type, content in answer["content"].items():
            check(content["schema"], content["example"])
            is_problem = int(status) >= 400 and media_type != "application/json"
            forms = {"application/problem+json"} if is_problem else {"application/json", EVENTS, *MEDIA_TYPES.values()}
            assert media_type in forms
    for content in operation.get("requestBody", {}).get("content", {}).values():
        assert content["examples"]
        for example in content["examples"].values():
            check(content["schema"], example["value"])


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_an_operation_names_the_problems_it_can_answer_with(path: str, method: str, operation: dict[str, Any]) -> None:
    expected = {"400", "403", "406", "408", "414", "421", "422", "429", "431", "500", "503"}
    if "{workflow_id}" in path:
        expected |= {"404"}
    if method != "get":
        expected |= {"413", "415"}
    assert expected <= set(operation["responses"])


def test_operation_ids_are_unique_and_the_dialect_is_31() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]

    assert len(ids) == len(set(ids))
    assert "workflows_create" in ids
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_answers_have_the_documented_shapes(api: httpx.Client, worker: PlayedWorker) -> None:
    steps = [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"]}]
    body = {"name": "shapes", "steps": steps, "labels": {"team": "x"}}
    started = api.post("/api/v1/workflows", json=body)
    check(answer_schema("/api/v1/workflows", "post", 202), started.json())
    worker.run_all(output={"n": 1})
    done = started.headers["location"]
    for name in ("cancel", "fail"):
        other = api.post("/api/v1/workflows", json=body).headers["location"]
        (claim,) = worker.claim()
        if name == "cancel":
            check(
                answer_schema("/api/v1/workflows/{workflow_id}/cancel", "post", 202), api.post(f"{other}/cancel").json()
            )
            worker.claim()
        else:
            error = {"type": "user.x", "message": "m", "retryable": False, "attempt": 1, "details": {}}
            worker.end(claim, "failed", error=error)
            for part in ("", "/tasks", "/dag", "/trace", "/why"):
                path = f"/api/v1/workflows/{{workflow_id}}{part}"
                check(answer_schema(path, "get", 200), api.get(other + part).json())
            check(
                answer_schema("/api/v1/workflows/{workflow_id}/retry", "post", 202), api.post(f"{other}/retry").json()
            )
            worker.claim()
    for part in ("", "/tasks", "/dag", "/trace", "/why"):
        check(answer_schema(f"/api/v1/workflows/{{workflow_id}}{part}", "get", 200), api.get(done + part).json())
    batch = api.post("/api/v1/workflows/batch", json=[body])
    check(answer_schema("/api/v1/workflows/batch", "post", 202), batch.json())
    for path in ("/api/v1/workflows", "/api/v1/workflows/running", "/api/v1/workers", "/api/v1/health"):
        found = api.get(path).json()
        assert found
        check(answer_schema(path, "get", 200), found)
    worker.connection.execute("update workflow.workers set last_heartbeat_at = 'epoch'")
    dead = api.get("/api/v1/workers/dead").json()
    assert dead
    check(answer_schema("/api/v1/workers/dead", "get", 200), dead)
    problem = api.post("/api/v1/workflows", json={"name": "X", "steps": []}).json()
    check({"$ref": "#/components/schemas/Problem"}, problem)


def test_the_documentation_page_loads_nothing_from_elsewhere(shared_api: httpx.Client) -> None:
    page = shared_api.get("/docs", headers={"Accept": "text/html"})

    assert page.status_code == 200
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page.text)
    for asset in re.findall(r"""(?:src|href)=["'](/[^"']+)""", page.text):
        assert shared_api.get(asset).status_code == 200
    assert shared_api.get("/openapi.json").json()["info"]["title"] == "Workflow Engine"


def test_every_problem_is_documented_where_its_answers_lead(shared_api: httpx.Client) -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (\d{3}) \| (.+) \| (.+) \|$", (DOCS / "problems.md").read_text(), re.MULTILINE
    )
    shown = shared_api.get("/api/v1/problems").json()

    assert [(p["code"], str(p["status"]), p["meaning"], p["remedy"]) for p in shown] == rows
    assert [p["code"] for p in shown] == list(PROBLEM_TYPES)
    problem = shared_api.get("/nothing").json()
    assert shared_api.get(problem["help"]).json() == next(p for p in shown if p["type"] == problem["type"])
    assert shared_api.get("/api/v1/problems/not-fond").json()["hint"] == 'Did you mean "not-found"?'


def test_every_route_is_documented() -> None:
    documented = set(re.findall(r"^\| `([A-Z]+) (/[^`?]*)", PAGE.read_text(), re.MULTILINE))

    assert documented == {(method.upper(), path.removeprefix("/api/v1")) for path, method, _ in operations()} | {
        ("GET", "/metrics")
    }
