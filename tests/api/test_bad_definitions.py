"""Definitions that can never be right are refused at submit, with the place, and nothing is stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

START = "/api/v1/workflows"
Count = Callable[[str], dict[str, int]]


def one(step_type: str, **fields: Any) -> dict[str, Any]:
    return {"name": "one", "steps": [{"id": "a", "type": step_type, **fields}]}


def http(**fields: Any) -> dict[str, Any]:
    return one("http", **{"url": "https://example.com", **fields})


def noop(**fields: Any) -> dict[str, Any]:
    return one("noop", **fields)


def top(**fields: Any) -> dict[str, Any]:
    return {**noop(), **fields}


def scheduled(**fields: Any) -> dict[str, Any]:
    return top(schedule=[{"cron": "0 6 * * *", **fields}])


def fan_out(levels: int) -> dict[str, Any]:
    step: dict[str, Any] = {"id": "s", "type": "noop", "for_each": {"items": 2}}
    for _ in range(levels - 1):
        step = {"id": "b", "type": "block", "steps": [step], "for_each": {"items": 2}}
    return {"name": "one", "steps": [step]}


SELF_APPLYING = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#"}}}
DSN = "postgresql://user:password@host/db"

# What is refused, the type of the answer, and the place.
CASES: dict[str, tuple[Any, str, str]] = {
    "no object": ([], "validation-error", ""),
    "text": ("one", "validation-error", ""),
    "null": (None, "validation-error", ""),
    "steps an object": (top(steps={}), "validation-error", "/steps"),
    "a name missing": ({"steps": noop()["steps"]}, "validation-error", "/name"),
    "a name with a path": (top(name="../../etc/passwd"), "invalid-name", "/name"),
    "a name with an emoji": (top(name="a😀"), "invalid-name", "/name"),
    "an unknown dependency": (noop(depends_on=["b"]), "unknown-dependency", "/steps/0/depends_on/0"),
    "an unknown dependency with a condition": (
        noop(depends_on=[{"step": "b", "on": ["failed"]}]), "unknown-dependency", "/steps/0/depends_on/0"),
    "a step that needs itself": (noop(depends_on=["a"]), "cycle-detected", "/steps/0/depends_on"),
    "a step that reads itself": (noop(when="steps.a.status == 'x'"), "cycle-detected", "/steps/0"),
    "an unknown type": (one("shell"), "unknown-step-type", "/steps/0/type"),
    "an http step without its url": (one("http"), "validation-error", "/steps/0"),
    "an open template": (http(url="https://x/${steps.a."), "invalid-template", "/steps/0/url"),
    "5,000 placeholders": (http(body="${ 1 }" * 5_000), "invalid-template", "/steps/0/body"),
    "an unknown secret": (http(headers={"a": "${secrets.X}"}), "unknown-secret", "/steps/0/headers/a"),
    "a secret in a condition": (noop(when="secrets.X == 'a'"), "invalid-template", "/steps/0/when"),
    "a million items": (noop(for_each={"items": 1_000_000}), "expansion-limit", "/steps/0/for_each/items"),
    "a list of 10,001 items": (noop(for_each={"items": [0] * 10_001}), "expansion-limit", "/steps/0/for_each/items"),
    "for_each three deep": (fan_out(3), "expansion-limit", "/steps/0/steps/0/steps/0/for_each"),
    "a file": (http(url="file:///etc/passwd"), "url-not-allowed", "/steps/0/url"),
    "gopher": (http(url="gopher://x"), "url-not-allowed", "/steps/0/url"),
    "ftp": (http(url="ftp://x"), "url-not-allowed", "/steps/0/url"),
    "the metadata of the machine": (http(url="http://169.254.169.254/latest/"), "egress-denied", "/steps/0/url"),
    "the metadata with a template": (http(url="http://169.254.169.254/${ input.x }"), "egress-denied", "/steps/0/url"),
    "the metadata as IPv6": (http(url="http://[::ffff:169.254.169.254]/"), "egress-denied", "/steps/0/url"),
    "an address as a number": (http(url="http://2130706433/"), "egress-denied", "/steps/0/url"),
    "an address in hexadecimal": (http(url="http://0x7f.1/"), "egress-denied", "/steps/0/url"),
    "an address cut short": (http(url="http://127.1/"), "egress-denied", "/steps/0/url"),
    "a webhook to the metadata": (
        one("emit", inputs={"name": "x", "to": "webhook", "url": "http://169.254.169.254/"}), "egress-denied",
        "/steps/0/inputs/url"),
    "an agent at the metadata": (one("agent", agent="http://169.254.169.254/"), "egress-denied", "/steps/0/agent"),
    "a header with a line break": (http(headers={"a": "b\r\nc: d"}), "invalid-header", "/steps/0/headers/a"),
    "a header of the client": (http(headers={"Host": "x"}), "invalid-header", "/steps/0/headers/Host"),
    "TRACE": (http(method="TRACE"), "validation-error", "/steps/0/method"),
    "a request line": (http(method="GET / HTTP/1.1"), "validation-error", "/steps/0/method"),
    "a DSN for a connection": (
        one("database", connection=DSN, statement="select 1"), "unknown-connection", "/steps/0/connection"),
    "SQL from a template": (
        one("database", statement="select ${ input.x }"), "sql-interpolation", "/steps/0/statement"),
    "two statements": (
        one("database", statement="select 1; drop table x"), "multiple-statements", "/steps/0/statement"),
    "no time": (noop(timeout=0), "out-of-range", "/steps/0/timeout"),
    "negative time": (noop(timeout=-1), "out-of-range", "/steps/0/timeout"),
    "30,000 years": (noop(timeout=1e12), "out-of-range", "/steps/0/timeout"),
    "31 days for an attempt": (noop(timeout="31d"), "out-of-range", "/steps/0/timeout"),
    "31 days for an attempt, in full": (
        noop(timeouts={"start_to_close": "31d"}), "out-of-range", "/steps/0/timeouts/start_to_close"),
    "cron with seconds": (scheduled(cron="* * * * * *"), "invalid-schedule", "/schedule/0/cron"),
    "a minute that is none": (scheduled(cron="61 * * * *"), "invalid-schedule", "/schedule/0/cron"),
    "30 February": (scheduled(cron="0 0 31 2 *"), "invalid-schedule", "/schedule/0/cron"),
    "a word for cron": (scheduled(cron="@every 1s"), "invalid-schedule", "/schedule/0/cron"),
    "a time zone of Mars": (scheduled(timezone="Mars/Phobos"), "invalid-schedule", "/schedule/0/timezone"),
    "an invalid schema": (top(input_schema={"type": "objekt"}), "invalid-schema", "/input_schema/type"),
    "a schema elsewhere": (top(input_schema={"$ref": "http://x/y"}), "invalid-schema", "/input_schema/$ref"),
    "a schema in a file": (top(input_schema={"$ref": "file:///etc/passwd"}), "invalid-schema", "/input_schema/$ref"),
    "a schema without end": (top(input_schema=SELF_APPLYING), "invalid-schema", "/input_schema"),
    "an invalid schema of an output": (
        noop(output_schema={"$ref": "http://x"}), "invalid-schema", "/steps/0/output_schema/$ref"),
    "a pattern without end in a key": (
        top(idempotency={"key": "${ input.a.matches('(a+)+$') }"}), "invalid-template", "/idempotency/key"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_definition_that_can_never_be_right_is_refused_with_its_place(
    case: str, shared_api: httpx.Client, shared_database_url: str, written: Count
) -> None:
    document, slug, pointer = CASES[case]
    before = written(shared_database_url)

    content, began = json.dumps(document), time.process_time()

    answer = shared_api.post(START, content=content, headers={"Content-Type": "application/json"})

    spent = time.process_time() - began  # the engine is in this process
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, f"urn:workflow-engine:problem:{slug}"), answer.text
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert all(len(error["message"]) <= 300 and "password" not in error["message"] for error in problem["errors"])
    assert spent < 1
    assert written(shared_database_url) == before


def test_the_circle_is_listed(shared_api: httpx.Client) -> None:
    steps = [{"id": "a", "type": "noop", "depends_on": ["b"]}, {"id": "b", "type": "noop", "depends_on": ["a"]}]
    problem = shared_api.post(START, json={"name": "one", "steps": steps}).json()
    assert problem["cycle"] == ["a", "b", "a"]
