"""The graph of a workflow or definition, as data, as text for other tools, and as a drawing."""

from __future__ import annotations

from xml.etree import ElementTree

import httpx
import pytest

from .conftest import PlayedWorker

STEPS = [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"]}]


def started(api: httpx.Client) -> str:
    path: str = api.post("/api/v1/workflows", json={"name": "pair", "steps": STEPS}).headers["location"]
    return path


def test_the_graph_names_edges_states_and_what_is_waited_for(api: httpx.Client, worker: PlayedWorker) -> None:
    steps = [
        {"id": "join", "type": "noop", "depends_on": ["left", "right"]},
        {"id": "left", "type": "noop"},
        {"id": "middle", "type": "noop", "depends_on": ["left"]},
        {"id": "right", "type": "noop", "depends_on": ["middle"]},
    ]
    workflow_id = api.post("/api/v1/workflows", json={"name": "diamond", "steps": steps}).json()["id"]
    (claim,) = worker.claim()

    dag = api.get(f"/api/v1/workflows/{workflow_id}/dag").json()

    assert [(node["id"], node["status"]) for node in dag["nodes"]] == [
        ("join", "blocked"),
        ("left", "running"),
        ("middle", "blocked"),
        ("right", "blocked"),
    ]
    assert {(edge["from"], edge["to"]) for edge in dag["edges"]} == {
        ("left", "join"),
        ("right", "join"),
        ("left", "middle"),
        ("middle", "right"),
    }
    assert dag["cycles"] == []
    assert dag["critical_path"] == ["left", "middle", "right", "join"]
    assert dag["waiting_on"] == {"join": ["left", "right"], "middle": ["left"], "right": ["middle"]}
    worker.end(claim)
    assert api.get(f"/api/v1/workflows/{workflow_id}/dag").json()["waiting_on"] == {
        "join": ["right"],
        "right": ["middle"],
    }


def test_the_definition_of_a_name_is_shown_without_states_as_the_next_start_would_use_it(api: httpx.Client) -> None:
    started(api)
    steps = [*STEPS, {"id": "c", "type": "noop", "depends_on": ["a", "b"]}]
    api.post("/api/v1/workflows", json={"name": "pair", "steps": steps})

    dag = api.get("/api/v1/workflows/pair/dag").json()

    assert [(node["id"], node["status"], node["task_id"]) for node in dag["nodes"]] == [
        ("a", None, None), ("b", None, None), ("c", None, None),
    ]  # fmt: skip
    assert (dag["critical_path"], dag["waiting_on"]) == (["a", "b", "c"], {})
    assert 's2["c<br/>noop"]:::step' in api.get("/api/v1/workflows/pair/dag?format=mermaid").text
    absent = api.get("/api/v1/workflows/pear/dag")
    assert (absent.status_code, absent.json()["code"]) == (404, "workflow-not-found")
    assert api.get("/api/v1/workflows/%00/dag").status_code == 404


def test_what_waits_for_a_lock_says_so_in_data_and_in_the_drawing(api: httpx.Client, worker: PlayedWorker) -> None:
    path = started(api)
    worker.connection.execute(
        "insert into workflow.waits (kind, key, task_id, workflow_id, scope, capacity, units, priority, since)"
        " select 'lock', 'crm', id, workflow_id, 'task', 1, 1, 0, now() from workflow.tasks where status = 'pending'"
    )

    assert api.get(f"{path}/dag").json()["waiting_on"] == {"a": ["lock:crm"], "b": ["a"]}
    assert "noop · waits for lock:crm" in api.get(f"{path}/dag?format=svg").text


@pytest.mark.parametrize(
    ("form", "media_type", "begin"),
    [
        ("mermaid", "text/vnd.mermaid", "---\ntitle:"),
        ("dot", "text/vnd.graphviz", "digraph "),
        ("svg", "image/svg+xml", "<svg "),
    ],
)
def test_the_graph_is_drawn_in_the_form_asked_for(api: httpx.Client, form: str, media_type: str, begin: str) -> None:
    path = started(api)

    for accept in ("*/*", media_type, f"text/html, {media_type.split('/', maxsplit=1)[0]}/*;q=0.9"):
        drawn = api.get(f"{path}/dag?format={form}", headers={"Accept": accept})
        assert drawn.status_code == 200
        assert drawn.headers["content-type"] == f"{media_type}; charset=utf-8"
        assert drawn.text.startswith(begin)
        assert "pending" in drawn.text
    assert api.get(f"{path}/dag?format={form}", headers={"Accept": "application/json"}).status_code == 406
    assert api.get(f"{path}/dag", headers={"Accept": media_type}).status_code == 406
    if form == "svg":
        assert ElementTree.fromstring(drawn.text).tag == "{http://www.w3.org/2000/svg}svg"


def test_an_unknown_form_and_a_drawing_that_is_too_large_are_refused(api: httpx.Client) -> None:
    path = started(api)
    refused = api.get(f"{path}/dag?format=png")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-parameter")
    assert "json, mermaid, dot, svg" in refused.json()["detail"]
    steps = [{"id": f"s{n}", "type": "noop"} for n in range(2001)]
    large = api.post("/api/v1/workflows", json={"name": "large", "steps": steps}).headers["location"]
    refused = api.get(f"{large}/dag?format=svg")
    assert (refused.status_code, "at most 2,000 steps" in refused.json()["detail"]) == (422, True)
    assert api.get(f"{large}/dag?format=dot").status_code == 200


MAP = {
    "name": "mapping",
    "steps": [
        {"id": "orders", "type": "noop"},
        {"id": "each", "type": "noop", "depends_on": ["orders"], "for_each": {"items": 3}},
        {"id": "ship", "type": "block", "depends_on": ["orders"], "for_each": {"items": "${ input.parcels }"},
         "steps": [{"id": "pack", "type": "noop"}, {"id": "send", "type": "noop", "depends_on": ["pack"]}]},
        {"id": "done", "type": "noop", "depends_on": ["each", "ship"]},
    ],
}  # fmt: skip


def open_scopes(worker: PlayedWorker, count: int) -> None:
    """Let every task that can open `count` instances of its scope."""
    for claim in worker.claim():
        found = worker.connection.execute(
            "select d.scope from workflow.definition_scopes d join workflow.tasks t"
            " on t.version_id = d.version_id and t.step_index = d.parent_step where t.id = %s",
            [claim["task_id"]],
        ).fetchone()
        if found is None:
            worker.end(claim, "released")
        else:
            instances = [{"position": n, "variables": {"item": n, "index": n}} for n in range(count)]
            awaits = {"kind": "scope", "scope": found[0], "instances": instances}
            worker.end(claim, "waiting", next="waiting", awaits=awaits)


def test_a_repeated_step_is_one_node_and_so_is_each_step_inside_it(api: httpx.Client, worker: PlayedWorker) -> None:
    worker.types += ["for_each", "block"]
    path = api.post("/api/v1/workflows", json=MAP).headers["location"]
    (orders,) = worker.claim()
    worker.end(orders)
    open_scopes(worker, 3)  # of the two maps
    open_scopes(worker, 1)  # of the blocks that are items
    for claim in worker.claim():
        if claim["path"] in ("each[1]", "ship[2].pack"):
            worker.end(claim)

    dag = api.get(f"{path}/dag").json()

    assert {node["id"]: (node["type"], node["status"], node["parent"], node["counts"]) for node in dag["nodes"]} == {
        "orders": ("noop", "succeeded", None, None),
        "each": ("for_each", "waiting", None, {"running": 2, "succeeded": 1}),
        "ship": ("for_each", "waiting", None, {"waiting": 3}),
        "done": ("noop", "blocked", None, None),
        "ship.pack": ("noop", "running", "ship", {"running": 2, "succeeded": 1}),
        "ship.send": ("noop", "pending", "ship", {"blocked": 2, "pending": 1}),
    }
    assert [node["repeats"] for node in dag["nodes"]] == [None, "noop", "block", None, None, None]
    assert {(edge["from"], edge["to"]) for edge in dag["edges"]} == {
        ("orders", "each"), ("orders", "ship"), ("each", "done"), ("ship", "done"), ("ship.pack", "ship.send"),
    }  # fmt: skip
    assert dag["waiting_on"]["done"] == ["each", "ship"]
    assert set(dag["critical_path"]) < {"orders", "each", "ship", "done"}
    drawn = api.get(f"{path}/dag?format=mermaid").text
    assert "for_each · noop · 2 running, 1 succeeded" in drawn
    assert api.get(f"{path}/dag?format=svg").status_code == 200
    tasks = {task["path"]: task["status"] for task in api.get(f"{path}/tasks?limit=100").json()}
    assert tasks["ship[2].pack"] == "succeeded"
    assert tasks["ship[2].send"] == "pending"
    assert {span["path"] for span in api.get(f"{path}/trace").json()} >= {"each[1]", "ship[2].pack"}


def test_the_graph_of_a_definition_shows_what_is_inside_its_steps(api: httpx.Client) -> None:
    api.post("/api/v1/definitions", json=MAP)
    nodes = api.get("/api/v1/workflows/mapping/dag").json()["nodes"]
    assert [(node["id"], node["parent"], node["repeats"]) for node in nodes] == [
        ("orders", None, None), ("each", None, "noop"), ("ship", None, "block"), ("done", None, None),
        ("ship.pack", "ship", None), ("ship.send", "ship", None),
    ]  # fmt: skip


def test_a_large_graph_leaves_out_what_is_inside_its_steps(api: httpx.Client) -> None:
    inner = [{"id": f"s{n}", "type": "noop"} for n in range(300)]
    large = {"name": "large", "steps": [{"id": "all", "type": "block", "steps": inner}]}
    assert api.post("/api/v1/definitions", json=large).status_code == 201
    assert [node["id"] for node in api.get("/api/v1/workflows/large/dag").json()["nodes"]] == ["all"]
