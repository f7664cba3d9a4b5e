"""Whatever is sent, the answer is a problem with a known type, nothing is written, and nothing breaks."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

JSON = {"Content-Type": "application/json"}
NOOP = {"id": "a", "type": "noop"}
START = "/api/v1/workflows"


def with_steps(*steps: Any, **more: Any) -> bytes:
    return json.dumps({"name": "one", "steps": list(steps), **more}).encode()


def body(**fields: Any) -> bytes:
    return with_steps(NOOP, **fields)


BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "malformed-json"),
    "blank": (b"   ", 400, "malformed-json"),
    "not json": (b"{name: one}", 400, "malformed-json"),
    "cut off": (b'{"name": "one", "steps": [', 400, "malformed-json"),
    "two documents": (b"{} {}", 400, "malformed-json"),
    "invalid utf-8": (b'{"name": "\xff"}', 400, "malformed-json"),
    "utf-16": ('{"name": "one"}'.encode("utf-16"), 400, "malformed-json"),
    "byte order mark": (b'\xef\xbb\xbf{"name": "one"}', 400, "malformed-json"),
    "not a number": (body()[:-1] + b', "input": NaN}', 400, "malformed-json"),
    "infinity": (body()[:-1] + b', "input": -Infinity}', 400, "malformed-json"),
    "raw control character": (b'{"name": "a\x00b"}', 400, "malformed-json"),
    "duplicate key": (b'{"name": "one", "name": "two"}', 400, "duplicate-json-key"),
    "duplicate key deep down": (body()[:-1] + b', "input": [{"a": {"b": 1, "b": 2}}]}', 400, "duplicate-json-key"),
    "too large": (body(input="x" * 1024 * 1024), 413, "payload-too-large"),
    "exponent too large": (body()[:-1] + b', "input": 1e999}', 422, "number-out-of-range"),
    "integer beyond 2^53": (body(input=[2**53]), 422, "number-out-of-range"),
    "integer below -2^53": (body(input=-(2**53)), 422, "number-out-of-range"),
    "integer of 5,000 digits": (body()[:-1] + b', "input": ' + b"9" * 5000 + b"}", 422, "number-out-of-range"),
    "lone surrogate": (body()[:-1] + rb', "input": "\ud800"}', 422, "invalid-character"),
    "lone surrogate in a key": (body()[:-1] + rb', "input": {"\uDFFF": 1}}', 422, "invalid-character"),
    "nul": (body()[:-1] + rb', "input": "a\u0000b"}', 422, "invalid-character"),
    "deep": (body()[:-1] + b', "input": ' + b"[" * 80 + b"]" * 80 + b"}", 422, "nesting-too-deep"),
    "very deep": (b"[" * 100_000 + b"]" * 100_000, 422, "nesting-too-deep"),
    "many properties": (body(input={str(n): n for n in range(10_001)}), 422, "too-many-properties"),
    "list": (b"[]", 422, "validation-error"),
    "string": (b'"one"', 422, "validation-error"),
    "null": (b"null", 422, "validation-error"),
    "empty object": (b"{}", 422, "validation-error"),
    "steps no list": (b'{"name": "one", "steps": {}}', 422, "validation-error"),
    "no steps in the list": (b'{"name": "one", "steps": []}', 422, "validation-error"),
    "step no object": (with_steps("a"), 422, "validation-error"),
    "without name": (json.dumps({"steps": [NOOP]}).encode(), 422, "validation-error"),
    "name with a path": (body(name="../../etc/passwd"), 422, "invalid-name"),
    "name with a newline": (body(name="a\nb"), 422, "invalid-name"),
    "name with right-to-left override": (body(name="a\u202eb"), 422, "invalid-name"),
    "name too long": (body(name="a" * 129), 422, "invalid-name"),
    "name empty": (body(name=""), 422, "invalid-name"),
    "name reserved": (body(name="running"), 422, "invalid-name"),
    "reserved name without steps": (b'{"name": "running"}', 422, "invalid-name"),
    "name a number": (b'{"name": 7}', 422, "validation-error"),
    "unknown step": (with_steps(NOOP, {**NOOP, "id": "b", "depends_on": ["c"]}), 422, "unknown-dependency"),
    "needs itself": (with_steps({**NOOP, "depends_on": ["a"]}), 422, "cycle-detected"),
    "needs one twice": (
        with_steps(NOOP, {**NOOP, "id": "b", "depends_on": ["a", "a"]}),
        422,
        "duplicate-dependency",
    ),
    "unknown type": (with_steps({"id": "a", "type": "shell"}), 422, "unknown-step-type"),
    "http without url": (with_steps({"id": "a", "type": "http"}), 422, "validation-error"),
    "template syntax": (with_steps({"id": "a", "type": "transform", "value": "${ input. }"}), 422, "invalid-template"),
    "file url": (with_steps({"id": "a", "type": "http", "url": "file:///etc/passwd"}), 422, "url-not-allowed"),
    "timeout zero": (with_steps({**NOOP, "timeout": 0}), 422, "out-of-range"),
    "too many steps": (with_steps(*({"id": f"s{n}", "type": "noop"} for n in range(10_001))), 422, "too-many-steps"),
    "unknown field": (body(stepz=[]), 422, "unknown-property"),
    "mass assignment": (body(status="succeeded"), 422, "unknown-property"),
    "own id": (body(id="x"), 422, "unknown-property"),
    "own time": (b'{"name": "one", "created_at": "2020-01-01T00:00:00Z"}', 422, "unknown-property"),
    "version with steps": (body(version=1), 422, "validation-error"),
    "version zero": (b'{"name": "one", "version": 0}', 422, "out-of-range"),
    "version a string": (b'{"name": "one", "version": "1"}', 422, "out-of-range"),
    "version true": (b'{"name": "one", "version": true}', 422, "out-of-range"),
    "priority too large": (body(priority=2**31), 422, "out-of-range"),
    "priority a fraction": (body(priority=1.5), 422, "out-of-range"),
    "priority a string": (body(priority="high"), 422, "out-of-range"),
    "labels no object": (body(labels=["a"]), 422, "validation-error"),
    "label no string": (body(labels={"a": 1}), 422, "validation-error"),
    "too many labels": (body(labels={f"l{n}": "x" for n in range(65)}), 422, "too-many-labels"),
    "label too long": (body(labels={"a": "x" * 10_000}), 422, "out-of-range"),
    "unknown definition": (b'{"name": "absent"}', 404, "definition-not-found"),
}

Count = Callable[[str], dict[str, int]]


def assert_problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["type"]) == (status, f"urn:workflow-engine:problem:{slug}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["instance"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    assert len(problem.get("errors", ())) <= 50
    assert all(len(error["message"]) <= 300 for error in problem.get("errors", ()))
    assert len(answer.content) < 40_000
    assert "Traceback" not in answer.text
    assert answer.content.endswith(b"\n")
    return problem


@pytest.mark.parametrize("case", BODIES)
def test_a_bad_body_is_refused_and_changes_nothing(
    case: str, shared_api: httpx.Client, shared_database_url: str, written: Count
) -> None:
    content, status, slug = BODIES[case]
    before = written(shared_database_url)

    answer = shared_api.post(START, content=content, headers=JSON)

    assert_problem(answer, status, slug)
    assert written(shared_database_url) == before


BATCHES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"[]", 422, "out-of-range"),
    "object": (b"{}", 422, "validation-error"),
    "too many": (json.dumps([{"name": "one"}] * 1001).encode(), 422, "out-of-range"),
    "item too large": (b"[" + body(input="x" * 1024 * 1024) + b"]", 413, "payload-too-large"),
    "item no object": (b"[1]", 422, "validation-error"),
    "one unknown": (b"[" + body() + b', {"name": "absent"}]', 404, "definition-not-found"),
    "one invalid": (b"[" + body() + b"," + body(labels=1) + b"]", 422, "validation-error"),
}


@pytest.mark.parametrize("case", BATCHES)
def test_a_bad_batch_is_refused_and_changes_nothing(
    case: str, shared_api: httpx.Client, shared_database_url: str, written: Count
) -> None:
    content, status, slug = BATCHES[case]
    before = written(shared_database_url)

    answer = shared_api.post(f"{START}/batch", content=content, headers=JSON)

    assert_problem(answer, status, slug)
    assert written(shared_database_url) == before


HEADERS: dict[str, tuple[dict[str, str], bytes, int, str]] = {
    "form": ({"Content-Type": "application/x-www-form-urlencoded"}, body(), 415, "unsupported-media-type"),
    "no type": ({}, body(), 415, "unsupported-media-type"),
    "text": ({"Content-Type": "text/plain"}, body(), 415, "unsupported-media-type"),
    "other charset": ({"Content-Type": "application/json; charset=latin-1"}, body(), 415, "unsupported-media-type"),
    "gzip": ({**JSON, "Content-Encoding": "gzip"}, gzip.compress(body()), 415, "unsupported-media-type"),
    "accepts xml": ({**JSON, "Accept": "text/xml"}, body(), 406, "not-acceptable"),
    "empty key": ({**JSON, "Idempotency-Key": ""}, body(), 400, "invalid-idempotency-key"),
    "long key": ({**JSON, "Idempotency-Key": "x" * 256}, body(), 400, "invalid-idempotency-key"),
    "tab in the key": ({**JSON, "Idempotency-Key": "a\tb"}, body(), 400, "invalid-idempotency-key"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_bad_header_is_refused_and_changes_nothing(
    case: str, shared_api: httpx.Client, shared_database_url: str, written: Count
) -> None:
    headers, content, status, slug = HEADERS[case]
    before = written(shared_database_url)

    answer = shared_api.post(START, content=content, headers=headers)

    assert_problem(answer, status, slug)
    assert written(shared_database_url) == before


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(shared_api: httpx.Client) -> None:
    chunks = (b"[" * 65_536 for _ in range(32))

    assert_problem(shared_api.post(START, content=chunks, headers=JSON), 413, "payload-too-large")


def test_two_idempotency_keys_are_refused(shared_api: httpx.Client) -> None:
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    assert_problem(shared_api.post(START, content=body(), headers=headers), 400, "invalid-idempotency-key")


def test_a_wrong_content_type_is_told_with_the_flag_to_add(shared_api: httpx.Client) -> None:
    answer = shared_api.post(START, content=body(), headers={"Content-Type": "application/x-www-form-urlencoded"})

    assert '-H "Content-Type: application/json"' in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=1000000000",
        "limit=0000000019999",
        "limit=abc",
        "limit=-1",
        "limit=1&limit=2",
        "limit=%D9%A3",
        "cursor=!",
        "cursor=AAAA",
        "cursor=",
        "status=' OR 1=1--",
        "status=",
        "name=",
        "name=%00",
        "since=yesterday",
        "since=",
        "offset=-1",
        "sort=name",
        "pretty=maybe",
        "label.=x&labels=y",
    ],
)
def test_a_bad_parameter_is_refused(query: str, shared_api: httpx.Client) -> None:
    assert_problem(shared_api.get(f"{START}?{query}"), 422, "invalid-parameter")


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/v1/workflows?wait=soon", "POST"),
        ("/api/v1/workflows?wait=10m", "POST"),
        ("/api/v1/workflows?wait=-1", "POST"),
        ("/api/v1/workflows/running?limit=1", "GET"),
        ("/api/v1/workers?status=dead", "GET"),
        ("/api/v1/workflows/00000000-0000-0000-0000-000000000000/retry?force=perhaps", "POST"),
        ("/api/v1/workflows/00000000-0000-0000-0000-000000000000/tasks?cursor=zzz", "GET"),
    ],
)
def test_a_bad_parameter_of_another_route_is_refused(path: str, method: str, shared_api: httpx.Client) -> None:
    assert_problem(shared_api.request(method, path), 422, "invalid-parameter")


@pytest.mark.parametrize(
    ("content", "status", "slug"),
    [
        (b"[]", 422, "validation-error"),
        (b'{"why": 1}', 422, "unknown-property"),
        (b'{"reason": 1}', 422, "validation-error"),
        (b'{"reason": "' + b"x" * 501 + b'"}', 422, "out-of-range"),
        (b"{", 400, "malformed-json"),
    ],
)
def test_a_bad_body_of_cancel_is_refused(content: bytes, status: int, slug: str, shared_api: httpx.Client) -> None:
    path = "/api/v1/workflows/00000000-0000-0000-0000-000000000000/cancel"

    assert_problem(shared_api.post(path, content=content, headers=JSON), status, slug)


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api", "/api/v1", "/api/v1/workflow", "/api/v1/workflows/", "/api/v2/workflows", "/%00", "/%ff"],
)
def test_an_unknown_path_is_a_problem(path: str, shared_api: httpx.Client) -> None:
    assert_problem(shared_api.get(path), 404, "not-found")


@pytest.mark.parametrize(
    "workflow_id", ["x", "%00", "%ff", "..%2f..%2fetc", "' OR 1=1--", "x" * 5000, "😀", "00000000-0000-0000-0000"]
)
def test_what_cannot_be_an_id_is_not_found(workflow_id: str, shared_api: httpx.Client) -> None:
    answer = shared_api.get(f"{START}/{workflow_id}")

    assert answer.status_code == 404
    assert len(answer.content) < 2000


def test_a_wrong_method_names_all_right_ones(shared_api: httpx.Client) -> None:
    answer = shared_api.delete(START)
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"

    assert_problem(shared_api.get(f"{START}/batch/cancel"), 405, "method-not-allowed")
    assert_problem(shared_api.request("PROPFIND", START), 405, "method-not-allowed")
    assert_problem(shared_api.request("BREW", START), 400, "malformed-request")
    assert answer.json()["detail"].endswith(" is not possible here; possible are GET, HEAD, OPTIONS, POST.")


@pytest.mark.parametrize("word", ["reload", "recover-orphaned", "batch"])
def test_who_forgets_that_an_operation_is_a_post_is_told(word: str, shared_api: httpx.Client) -> None:
    answer = shared_api.get(f"{START}/{word}")

    assert_problem(answer, 404, "workflow-not-found")
    assert answer.json()["hint"] == f"POST /api/v1/workflows/{word}"


def test_everything_wrong_with_a_body_is_told_at_once(shared_api: httpx.Client) -> None:
    steps = [{"id": f"s{n}", "type": "noop", "depends_on": ["absent"]} for n in range(200)]

    problem = assert_problem(shared_api.post(START, json={"name": "X", "steps": steps}), 422, "validation-error")

    assert len(problem["errors"]) == 50
    assert problem["errors"][0]["pointer"] == "/name"


def test_long_values_are_not_echoed(shared_api: httpx.Client) -> None:
    secret = "s3cret-" * 10_000
    answer = shared_api.post(START, json={"name": secret, "steps": [{"id": secret, "type": secret}], secret: 1})

    assert answer.status_code == 422
    assert len(answer.content) < 4000
