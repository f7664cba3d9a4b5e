"""Issue 5, "Workflow Versioning Conflict": rows F01 to F06."""

import json
import re
from typing import Any

from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack

UNSERVED = {"queue": "nobody-serves-this"}
SHOW = "curl http://localhost:3003/api/v1/workflows/{workflow_id}"


def test_f01_versions_tells_which_run_and_which_is_the_default(stack: Stack) -> None:
    old = stack.start(flow("f01", {**step("a"), **UNSERVED}))
    stack.await_end(stack.start(flow("f01", step("a"), step("b", "a"))))

    def listed() -> dict[int, dict[str, Any]]:
        found = stack.curl(COMMANDS["Check active workflow versions"])
        (ours,) = [definition for definition in found if definition["name"] == "f01"]
        return {version["version"]: version for version in ours["versions"]}

    versions = listed()
    assert versions.keys() == {1, 2}
    assert {"version", "hash", "created_at", "active_runs", "pinned_runs", "is_default"} <= versions[1].keys()
    assert versions[1]["active_runs"] == 1
    assert not versions[1]["is_default"]
    assert versions[2]["is_default"]
    assert versions[1]["hash"] != versions[2]["hash"]
    stack.shell(COMMANDS["Cancel Workflow"], workflow_id=old)
    assert listed()[1]["active_runs"] == 0


def test_f02_deleting_the_literal_key_clears_the_cache_of_every_engine(stack: Stack) -> None:
    started = stack.post("/workflows", json=flow("f02", step("a")))
    for _ in range(2):
        for server in stack.engine_urls:  # by name, so that each looks the definition up
            stack.shell(
                "curl -s -X POST http://localhost:3003/api/v1/workflows -H 'Content-Type: application/json'"
                """ -d '{"name": "f02"}'""",
                server=server,
            )

    def generation() -> str:
        return stack.shell('redis-cli -h localhost -p 6379 get "workflow:definitions:*"').out.strip()

    before = generation()
    assert before, "the key of that literal name holds the generation"
    assert stack.shell(COMMANDS["Clear workflow definition cache"]).out.strip() == "1"
    ids = [started["id"]]
    misses = sum(cache_misses(stack, server) for server in stack.engine_urls)
    for server in stack.engine_urls:
        answer = stack.shell(
            "curl -s -X POST http://localhost:3003/api/v1/workflows -H 'Content-Type: application/json'"
            """ -d '{"name": "f02"}'""",
            server=server,
        ).json()
        ids.append(answer["id"])
        # What it puts there may serve the others: it is of the new generation.
        assert sum(cache_misses(stack, s) for s in stack.engine_urls) > misses, "the next read is from Postgres"
    assert generation() not in {before, ""}, "unique, so that no old entry comes back"
    assert set(stack.await_ends(ids).values()) == {"succeeded"}


def cache_misses(stack: Stack, server: str) -> float:
    text = stack.shell("curl -s http://localhost:3003/metrics", server=server).out
    found = re.findall(r"^workflow_definition_cache_misses_total(?:{[^}]*})? (\S+)", text, re.MULTILINE)
    return sum(map(float, found))


def test_f03_reload_reads_the_files_and_one_bad_one_stops_none_of_the_others(stack: Stack) -> None:
    reload = COMMANDS["Force reload definitions"]
    good, bad = stack.definitions / "f03-good.json", stack.definitions / "f03-bad.json"
    good.write_text(json.dumps(flow("f03-good", step("a"))))
    bad.write_text('{"name": "f03-bad", "steps": [')
    try:
        first = stack.shell(reload).json()
        assert "f03-good" in first["added"]
        assert [invalid["file"] for invalid in first["invalid"]] == ["f03-bad.json"]
        assert stack.shell(reload).json()["added"] == []
        good.write_text(json.dumps(flow("f03-good", step("a"), step("b", "a"))))
        assert stack.shell(reload).json()["changed"] == ["f03-good"]
        for server in stack.engine_urls:
            (ours,) = [d for d in stack.get("/workflows/versions", server=server) if d["name"] == "f03-good"]
            assert ours["latest_version"] == 2
        assert stack.post("/workflows", json={"name": "f03-good"})["version"] == 2
    finally:
        good.unlink()
        bad.unlink()


def test_f04_a_pin_decides_with_which_version_a_workflow_goes_on(stack: Stack) -> None:
    pin = COMMANDS["Pin specific version for execution"]
    waits = stack.start(flow("f04", {**step("a"), **UNSERVED}))
    stack.await_end(stack.start(flow("f04", step("a"), step("b", "a"))))
    assert stack.curl(SHOW, workflow_id=waits)["version"] == 1
    pinned = stack.shell(pin, workflow_id=waits).json()
    assert (pinned["version"], pinned["pinned_version"]) == (2, 2)
    assert stack.await_end(waits) == "succeeded", "it goes on with the version that can run"
    assert stack.outcomes(waits, "b") == ["succeeded"]

    stack.shell(pin.replace("=2", "=1"), workflow_id="f04")
    by_name = stack.post("/workflows", json={"name": "f04"})
    assert by_name["version"] == 1, "a name is pinned for all that start by it"
    stack.shell("curl -X DELETE http://localhost:3003/api/v1/workflows/f04/pin")
    assert stack.post("/workflows", json={"name": "f04"})["version"] == 2
    stack.shell(COMMANDS["Cancel Workflow"], workflow_id=by_name["id"])

    refused = stack.shell(pin.replace("=2", "=9"), workflow_id="f04").json()
    assert refused["status"] == 404
    assert "1" in refused["hint"]
    assert "2" in refused["hint"], "it lists those that exist"


def test_f05_a_definition_that_is_not_there_is_told_in_the_runbooks_words_with_the_nearest_names(stack: Stack) -> None:
    stack.await_end(stack.start(flow("f05-invoices", step("a"))))
    start = "curl -s -X POST http://localhost:3003/api/v1/workflows -H 'Content-Type: application/json' -d '{body}'"
    for body in ({"name": "f05-invoises"}, {"name": "f05-invoices", "version": 7}):
        problem = stack.shell(start, body=json.dumps(body)).json()
        assert problem["status"] == 404
        assert "Workflow definition not found" in problem["detail"]
        assert body["name"] in problem["detail"]
        assert "f05-invoices" in problem["detail"] + problem.get("hint", "")
        lines = eventually(lambda: stack.said("Workflow definition not found", str(body["name"])))  # noqa: B023
        assert lines


def test_f06_a_workflow_keeps_the_version_it_was_started_with_and_shows_the_latest(stack: Stack) -> None:
    gate = stack.directory / "f06"
    workflow = stack.start(flow("f06", step("a", type="gated", gate=str(gate)), step("old", "a")))
    eventually(lambda: stack.status(workflow) == "running")
    stack.await_end(stack.start(flow("f06", step("new"))))
    gate.touch()
    assert stack.await_end(workflow) == "succeeded"
    assert stack.outcomes(workflow, "old") == ["succeeded"]
    shown = stack.curl(SHOW, workflow_id=workflow)
    assert (shown["version"], shown["latest_version"]) == (1, 2)
