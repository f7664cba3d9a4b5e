"""Definitions over HTTP: registered, read, compared, validated, deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import yaml
from support.processes import run_engine

from workflow_engine.definition.json_schema import definition_schema

FIRST = {"name": "flow", "steps": [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"]}]}
SECOND = {**FIRST, "steps": [{"id": "b", "type": "noop", "retries": 1}, {"id": "c", "type": "noop"}]}


def register(api: httpx.Client, document: dict[str, Any]) -> dict[str, Any]:
    answer = api.post("/api/v1/definitions", json=document)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_definition_is_registered_once_and_nothing_starts(api: httpx.Client) -> None:
    answer = api.post("/api/v1/definitions", json=FIRST)

    assert (answer.status_code, answer.headers["location"]) == (201, "/api/v1/definitions/flow/versions/1")
    assert {k: answer.json()[k] for k in ("name", "version", "warnings")} == {
        "name": "flow", "version": 1, "warnings": [],
    }  # fmt: skip
    again = api.post("/api/v1/definitions", json=FIRST)
    assert (again.status_code, again.json()) == (200, answer.json())
    assert register(api, SECOND)["version"] == 2
    assert api.get("/api/v1/workflows").json() == []
    assert api.post("/api/v1/workflows", json={"name": "flow"}).json()["version"] == 2


def test_a_definition_is_read_as_it_was_submitted_in_any_version(api: httpx.Client) -> None:
    register(api, FIRST)
    register(api, SECOND)
    api.post("/api/v1/workflows/flow/pin?version=1").raise_for_status()

    latest = api.get("/api/v1/definitions/flow").json()
    assert (latest["version"], latest["latest_version"], latest["pinned_version"]) == (2, 2, 1)
    assert (latest["definition"], latest["disabled"]) == (SECOND, False)
    for path in ("?version=1", "/versions/1"):
        assert api.get(f"/api/v1/definitions/flow{path}").json()["definition"] == FIRST
    as_yaml = api.get("/api/v1/definitions/flow?format=yaml")
    assert as_yaml.headers["content-type"] == "application/yaml; charset=utf-8"
    assert yaml.safe_load(as_yaml.text) == SECOND
    versions = api.get("/api/v1/definitions/flow/versions").json()
    assert [(v["version"], v["is_default"]) for v in versions] == [(2, False), (1, True)]


def test_lists_come_in_pages(api: httpx.Client) -> None:
    for name in ("c", "a", "b"):
        register(api, {**FIRST, "name": name})
    register(api, {**SECOND, "name": "a"})

    page = api.get("/api/v1/definitions?limit=2")
    assert [d["name"] for d in page.json()] == ["a", "b"]
    assert [d["name"] for d in api.get(page.links["next"]["url"]).json()] == ["c"]
    page = api.get("/api/v1/definitions/a/versions?limit=1")
    assert [v["version"] for v in page.json()] == [2]
    last = api.get(page.links["next"]["url"])
    assert ([v["version"] for v in last.json()], last.links) == ([1], {})


def test_a_deleted_definition_starts_nothing_until_it_is_registered_again(api: httpx.Client) -> None:
    register(api, FIRST)
    running = api.post("/api/v1/workflows", json={"name": "flow"}).headers["location"]

    deleted = api.delete("/api/v1/definitions/flow")
    assert (deleted.status_code, deleted.json()["disabled"]) == (200, True)
    assert api.delete("/api/v1/definitions/flow").json() == deleted.json()
    refused = api.post("/api/v1/workflows", json={"name": "flow"})
    assert (refused.status_code, refused.json()["code"]) == (409, "definition-disabled")
    assert api.get(running).json()["status"] == "pending"
    assert [d["disabled"] for d in api.get("/api/v1/definitions").json()] == [True]
    assert api.get("/api/v1/definitions/flow").json()["definition"] == FIRST

    assert register(api, FIRST)["version"] == 1
    assert api.post("/api/v1/workflows", json={"name": "flow"}).status_code == 202


def test_two_versions_are_compared_step_by_step_and_as_text(api: httpx.Client) -> None:
    register(api, FIRST)
    register(api, SECOND)

    found = api.get("/api/v1/definitions/flow/diff").json()

    assert (found["from"], found["to"], found["fields"]) == (1, 2, [])
    assert found["steps"]["added"] == [{"id": "c", "pointer": "/steps/1"}]
    assert found["steps"]["removed"] == [{"id": "a", "pointer": "/steps/0"}]
    (step,) = found["steps"]["changed"]
    assert (step["id"], step["pointer"]) == ("b", "/steps/0")
    assert sorted(step["changes"], key=lambda change: str(change["pointer"])) == [
        {"pointer": "/steps/0/retries", "change": "added", "from": None, "to": 1},
        {"pointer": "/steps/1/depends_on", "change": "removed", "from": ["a"], "to": None},
    ]
    back = api.get("/api/v1/definitions/flow/diff?from=2&to=1&format=text")
    assert back.headers["content-type"] == "text/plain; charset=utf-8"
    assert back.text.startswith("--- flow@2\n+++ flow@1\n")
    assert "-  retries: 1\n" in back.text
    assert api.get("/api/v1/definitions/flow/diff?from=2&to=2&format=text").text == ""


def test_validating_tells_everything_that_is_wrong_and_stores_nothing(
    shared_api: httpx.Client, shared_database_url: str, written: Callable[[str], dict[str, int]]
) -> None:
    before = written(shared_database_url)
    wrong = {"name": "flow", "stpes": [], "steps": [{"id": "a", "type": "nope"}]}

    found = shared_api.post("/api/v1/definitions/validate", json=wrong).json()

    assert (found["valid"], found["name"], found["hash"], found["warnings"]) == (False, "flow", None, [])
    assert [(f["pointer"], f["code"]) for f in found["faults"]] == [
        ("/stpes", "unknown-property"),
        ("/steps/0/type", "unknown-step-type"),
    ]
    for body in ([], 7, {"name": "x"}, {**FIRST, "input": {}}):
        answer = shared_api.post("/api/v1/definitions/validate", json=body)
        assert (answer.status_code, answer.json()["valid"]) == (200, False)
        assert answer.json()["faults"]
    assert written(shared_database_url) == before


def test_validating_tells_which_version_has_the_content(api: httpx.Client) -> None:
    fine = api.post("/api/v1/definitions/validate", json=FIRST).json()
    assert (fine["valid"], fine["faults"], fine["version"], len(fine["hash"])) == (True, [], None, 64)

    register(api, FIRST)

    assert api.post("/api/v1/definitions/validate", json=FIRST).json() == {**fine, "version": 1}


@pytest.mark.parametrize("media_type", ["application/yaml", "text/yaml; charset=utf-8", "application/x-yaml"])
def test_yaml_is_taken_where_definitions_are(media_type: str, api: httpx.Client) -> None:
    text = "name: flow\nsteps:\n  - {id: a, type: noop}\n"
    headers = {"Content-Type": media_type}

    registered = api.post("/api/v1/definitions", content=text, headers=headers)
    started = api.post("/api/v1/workflows", content=text + "input: {answer: no}\n", headers=headers)
    by_name = api.post("/api/v1/workflows", content="name: flow", headers=headers)
    checked = api.post("/api/v1/definitions/validate", content=text, headers=headers)

    assert (registered.status_code, started.status_code, by_name.status_code) == (201, 202, 202)
    assert started.json()["version"] == registered.json()["version"] == checked.json()["version"] == 1
    assert api.get(started.headers["location"]).json()["input"] == {"answer": "no"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "malformed-yaml"),
        ("a: [1", "malformed-yaml"),
        ("\xff", "malformed-yaml"),
        ("a: 1\na: 2", "duplicate-property"),
        ("- 1", "validation-error"),
        ("name: flow\nsteps: [{id: a, type: noop, priority: 99999999999999999999}]", "number-out-of-range"),
    ],
)
def test_bad_yaml_is_told(text: str, code: str, shared_api: httpx.Client) -> None:
    headers = {"Content-Type": "application/yaml"}

    for path in ("/api/v1/definitions", "/api/v1/workflows"):
        answer = shared_api.post(path, content=text.encode("latin-1"), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400 if code == "malformed-yaml" else 422, code)


_LONG = "/" + "x" * 5000
_UNKNOWN = ["/flwo", "/flwo/versions", "/flwo/versions/1", "/flwo/diff", "/flwo?version=1", "/%00", _LONG]


@pytest.mark.parametrize("path", [*_UNKNOWN, *(f"/flwo/versions/{n}" for n in ("one", "0", "9" * 20))])
def test_what_is_unknown_is_not_found(path: str, shared_api: httpx.Client) -> None:
    answer = shared_api.get(f"/api/v1/definitions{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "definition-not-found")
    assert len(answer.content) < 2000
    if path in ("/flwo", "/%00"):
        assert shared_api.delete(f"/api/v1/definitions{path}").status_code == 404


def test_an_unknown_version_is_answered_with_those_that_exist(api: httpx.Client) -> None:
    register(api, FIRST)

    for path in ("?version=2", "/versions/2", "/diff?to=2", "/diff?from=2"):
        answer = api.get(f"/api/v1/definitions/flow{path}")
        assert (answer.status_code, answer.json()["hint"]) == (404, "Version 1 exists.")
    assert api.get("/api/v1/definitions/folw").json()["hint"] == "Did you mean flow?"


@pytest.mark.parametrize("query", ["?version=x", "?format=xml", "?v=1"])
def test_a_bad_parameter_is_refused(query: str, shared_api: httpx.Client) -> None:
    answer = shared_api.get(f"/api/v1/definitions/flow{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")


def test_a_bad_cursor_is_refused(shared_api: httpx.Client) -> None:
    for cursor in ("%FF", "AA", "x" * 2000):
        for path in ("", "/flow/versions"):
            answer = shared_api.get(f"/api/v1/definitions{path}?cursor={cursor}")
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameter")


def test_a_definition_that_is_wrong_is_not_registered(shared_api: httpx.Client) -> None:
    refused = shared_api.post("/api/v1/definitions", json={**FIRST, "input": {"x": 1}})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown-property")
    assert "belongs to a start" in refused.json()["detail"]
    refused = shared_api.post("/api/v1/definitions", json={"name": "Flow", "steps": FIRST["steps"]})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-name")


def test_the_command_line_draws_a_registered_definition(api: httpx.Client) -> None:
    register(api, FIRST)

    answer = run_engine("graph", "flow", "--server", str(api.base_url))

    assert (answer.returncode, answer.stdout) == (0, "flow\n  a  noop\n  b  noop  after a\n"), answer.stderr


def test_editors_find_the_schema_and_may_be_told_so_in_the_document(api: httpx.Client) -> None:
    address = "/api/v1/schema/definition.json"
    assert api.get(address).json() == definition_schema()

    assert register(api, {"$schema": f"{api.base_url}{address}", **FIRST})["version"] == 1
