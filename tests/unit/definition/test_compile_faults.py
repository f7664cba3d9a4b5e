"""Bad documents: each is refused with the exact place and the kind of fault."""

from typing import Any

import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.errors import CircularDependency, DefinitionInvalid, Fault


def faults(document: Any) -> tuple[Fault, ...]:
    with pytest.raises(DefinitionInvalid) as refused:
        compile_definition(document, task_types=["thumbnail"])
    return refused.value.faults


def places(document: Any) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.code) for fault in faults(document)]


def with_top(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "steps": [{"id": "a", "type": "noop"}], **fields}


def with_step(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "steps": [{"id": "a", "type": "noop", **fields}]}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("document", [None, [], "text", 5, True])
def test_a_document_is_an_object(document: Any) -> None:
    assert places(document) == [("", "validation-error")]


BAD_NAMES = ["", "a b", "A", "1a", "a" * 129, "../../etc/passwd", "a/b", "a\nb", "a\n", "\u202ea", "😀", "running"]
BAD_CRONS = [
    "* * * * * *", "61 * * * *", "0 0 31 2 *", "0 0 30 2 *", "*/1 * * * * *", "@daily", "", "a b c d e", "* * * *",
    "0 25 * * *", "0 0 0 * *", "0 0 * 13 *", "0 0 * * 9", "H * * * *", "R * * * *", "*/0 * * * *",
    "0 0 * * *;", "0 0 * * xyz",
]  # fmt: skip
BAD_IDS = ["", "1a", "a b", "a.b", "a" * 65, "a\n", "loop", "in", "true"]

TOP_LEVEL: list[tuple[dict[str, Any], str, str]] = [
    *(({"name": name}, "/name", "invalid-name") for name in BAD_NAMES),
    ({"name": None}, "/name", "validation-error"),
    ({"name": 5}, "/name", "validation-error"),
    ({"spec": "2"}, "/spec", "validation-error"),
    ({"spec": 1}, "/spec", "validation-error"),
    ({"status": "succeeded"}, "/status", "unknown-property"),
    ({"on_failure": {"steps": []}}, "/on_failure/steps", "validation-error"),
    ({"on_exit": {}}, "/on_exit/steps", "validation-error"),
    ({"on_exit": {"steps": [{"id": "b", "type": "noop"}], "step": 1}}, "/on_exit/step", "unknown-property"),
    ({"output": "${ steps.b.output }"}, "/output", "unknown-dependency"),
    ({"output": {"a": "${ result }"}}, "/output/a", "invalid-template"),
    ({"output": {"a": "${ workflow.status }"}}, "/output/a", "invalid-template"),
    ({"timeout": "400d"}, "/timeout", "out-of-range"),
    ({"idempotency": {}}, "/idempotency/key", "validation-error"),
    ({"idempotency": {"key": "${ input.a + 1 }"}}, "/idempotency/key", "invalid-template"),
    ({"idempotency": {"key": "${ input.items[0] }"}}, "/idempotency/key", "invalid-template"),
    ({"idempotency": {"key": "${ steps.a.output }"}}, "/idempotency/key", "invalid-template"),
    ({"idempotency": {"key": "${ workflow.id }"}}, "/idempotency/key", "invalid-template"),
    ({"idempotency": {"key": "${ input }"}}, "/idempotency/key", "invalid-template"),
    ({"idempotency": {"key": "${ input. }"}}, "/idempotency/key", "invalid-template"),
    ({"idempotency": {"key": "${ input.a"}}, "/idempotency/key", "invalid-template"),
    ({"idempotency": {"key": "${ input.a }", "on_conflict": "queue"}}, "/idempotency/on_conflict", "validation-error"),
    ({"idempotency": {"key": "${ input.a }", "ttl": 0}}, "/idempotency/ttl", "out-of-range"),
    ({"concurrency": {"key": "a", "limit": 1}}, "/concurrency", "validation-error"),
    ({"concurrency": [{"key": "a"}]}, "/concurrency/0/limit", "validation-error"),
    ({"concurrency": [{"key": "a", "limit": 0}]}, "/concurrency/0/limit", "out-of-range"),
    ({"concurrency": [{"key": " ", "limit": 1}]}, "/concurrency/0/key", "validation-error"),
    ({"concurrency": [{"key": "${ rand() }", "limit": 1}]}, "/concurrency/0/key", "invalid-template"),
    ({"concurrency": [{"key": "a", "limit": 1}, {"key": "a", "limit": 2}]}, "/concurrency/1/key", "validation-error"),
    ({"schedule": {"cron": "0 6 * * *"}}, "/schedule", "validation-error"),
    ({"schedule": [{}]}, "/schedule/0/cron", "invalid-schedule"),
    *(({"schedule": [{"cron": cron}]}, "/schedule/0/cron", "invalid-schedule") for cron in BAD_CRONS),
    *(
        ({"schedule": [{"cron": "0 6 * * *", "timezone": zone}]}, "/schedule/0/timezone", "invalid-schedule")
        for zone in ("Mars/Olympus", "../../etc/passwd", "/etc/passwd", "", "UTC\n")
    ),
    (
        {
            "schedule": [{"cron": "0 6 * * *", "input": {"n": "x"}}],
            "input_schema": {"properties": {"n": {"type": "number"}}},
        },
        "/schedule/0/input/n",
        "validation-error",
    ),
    (
        {"schedule": [{"cron": "0 6 * * *"}], "input_schema": {"required": ["n"]}},
        "/schedule/0/input",
        "validation-error",
    ),
    ({"schedule": [{"cron": "0 6 * * *", "overlap": "maybe"}]}, "/schedule/0/overlap", "validation-error"),
    ({"schedule": [{"cron": "0 6 * * *", "catch_up": "all"}]}, "/schedule/0/catch_up", "unknown-property"),
    ({"budget": {}}, "/budget", "validation-error"),
    ({"budget": {"tokens": 5}}, "/budget/tokens", "validation-error"),
    ({"budget": {"tokens": {}}}, "/budget/tokens", "validation-error"),
    ({"budget": {"tokens": {"hard": 1.5}}}, "/budget/tokens/hard", "out-of-range"),
    ({"budget": {"tokens": {"soft": 2, "hard": 1}}}, "/budget/tokens/soft", "out-of-range"),
    ({"budget": {"cost_usd": {"hard": 0}}}, "/budget/cost_usd/hard", "out-of-range"),
    ({"budget": {"steps": {"hard": 1}, "on_exceeded": "explode"}}, "/budget/on_exceeded", "validation-error"),
    ({"retention": {"running": "1d"}}, "/retention/running", "unknown-property"),
    ({"retention": {"failed": "forever"}}, "/retention/failed", "validation-error"),
    ({"a/b~c": 1}, "/a~1b~0c", "unknown-property"),
    ({"description": "x" * 10_001}, "/description", "out-of-range"),
    ({"labels": []}, "/labels", "validation-error"),
    ({"labels": {f"l{n}": "x" for n in range(65)}}, "/labels", "too-many-labels"),
    ({"labels": {"a": "x" * 1_025}}, "/labels/a", "out-of-range"),
    ({"labels": {"a": 1}}, "/labels/a", "validation-error"),
    ({"labels": {"a": None}}, "/labels/a", "validation-error"),
    ({"labels": {"a b": "x"}}, "/labels/a b", "invalid-name"),
    ({"vars": []}, "/vars", "validation-error"),
    ({"vars": {"a": 2**53}}, "/vars/a", "number-out-of-range"),
    ({"vars": {"a": float("nan")}}, "/vars/a", "number-out-of-range"),
    ({"vars": {"a": ["\ud800"]}}, "/vars/a/0", "invalid-character"),
    ({"vars": {"a": "\0"}}, "/vars/a", "invalid-character"),
    ({"vars": {"\0": 1}}, "/vars", "invalid-character"),
    ({"vars": {1: 1}}, "/vars", "validation-error"),
    ({"vars": {"a": {1, 2}}}, "/vars/a", "validation-error"),
    ({"vars": {"a": nested(63)}}, "/vars/a" + "/0" * 62, "nesting-too-deep"),
    ({"vars": {str(n): n for n in range(10_001)}}, "/vars", "too-many-properties"),
    ({"defaults": {"retrys": 1}}, "/defaults/retrys", "unknown-property"),
    ({"defaults": {"timeout": 0}}, "/defaults/timeout", "out-of-range"),
    ({"defaults": {"retries": {"when": "steps.a.status == 'x'"}}}, "/defaults/retries/when", "invalid-template"),
    ({"input_schema": {"type": "objekt"}}, "/input_schema/type", "invalid-schema"),
    ({"input_schema": True}, "/input_schema", "validation-error"),
    ({"fail_fast": "yes"}, "/fail_fast", "validation-error"),
    ({"priority": 2**31}, "/priority", "out-of-range"),
    ({"priority": 1.0}, "/priority", "out-of-range"),
    ({"priority": "1"}, "/priority", "out-of-range"),
    ({"priority": True}, "/priority", "out-of-range"),
    ({"steps": None}, "/steps", "validation-error"),
    ({"steps": {}}, "/steps", "validation-error"),
    ({"steps": []}, "/steps", "validation-error"),
    ({"steps": ["a"]}, "/steps/0", "validation-error"),
    ({"steps": [{"id": f"s{n}", "type": "noop"} for n in range(10_001)]}, "/steps", "too-many-steps"),
]


@pytest.mark.parametrize(("fields", "pointer", "code"), TOP_LEVEL)
def test_a_bad_field_of_the_document_is_refused(fields: dict[str, Any], pointer: str, code: str) -> None:
    assert places(with_top(**fields)) == [(pointer, code)]


STEP: list[tuple[dict[str, Any], str, str]] = [
    ({"id": None}, "/id", "validation-error"),
    *(({"id": step_id}, "/id", "invalid-name") for step_id in BAD_IDS),
    ({"type": None}, "/type", "validation-error"),
    ({"type": "shell"}, "/type", "unknown-step-type"),
    ({"type": "for_each"}, "/type", "unknown-step-type"),
    ({"type": "loop"}, "/type", "unknown-step-type"),
    ({"type": 1}, "/type", "validation-error"),
    ({"dependson": ["b"]}, "/dependson", "unknown-property"),
    ({"for_each": []}, "/for_each", "validation-error"),
    ({"for_each": {}}, "/for_each/items", "validation-error"),
    ({"for_each": {"items": "${ input.a } and more"}}, "/for_each/items", "validation-error"),
    ({"for_each": {"items": -1}}, "/for_each/items", "out-of-range"),
    ({"for_each": {"items": 1.5}}, "/for_each/items", "validation-error"),
    ({"for_each": {"items": True}}, "/for_each/items", "validation-error"),
    ({"for_each": {"items": 1_000_000}}, "/for_each/items", "expansion-limit"),
    ({"for_each": {"items": [0] * 10_001}}, "/for_each/items", "expansion-limit"),
    ({"for_each": {"items": "${ item }"}}, "/for_each/items", "invalid-template"),
    ({"for_each": {"items": "${ steps.a.output }"}}, "", "cycle-detected"),
    ({"for_each": {"items": [1], "as": "input"}}, "/for_each/as", "invalid-name"),
    ({"for_each": {"items": [1], "as": "in"}}, "/for_each/as", "invalid-name"),
    ({"for_each": {"items": [1], "as": "a-b"}}, "/for_each/as", "invalid-name"),
    ({"for_each": {"items": [1], "as": "x"}, "idempotency_key": "${ item }"}, "/idempotency_key", "invalid-template"),
    ({"for_each": {"items": [1]}, "when": "item == 1"}, "/when", "invalid-template"),
    ({"for_each": {"items": [1], "concurrency": 0}}, "/for_each/concurrency", "out-of-range"),
    ({"for_each": {"items": [1], "max_failure_ratio": 2}}, "/for_each/max_failure_ratio", "out-of-range"),
    ({"loop": {}}, "/loop/until", "validation-error"),
    ({"loop": {"until": "1 + 1"}}, "/loop/until", "invalid-template"),
    ({"loop": {"until": "true", "max_iterations": 0}}, "/loop/max_iterations", "out-of-range"),
    ({"loop": {"until": "item == 1"}}, "/loop/until", "invalid-template"),
    ({"when": "iteration > 1"}, "/when", "invalid-template"),
    ({"trigger_rule": "all_succes"}, "/trigger_rule", "validation-error"),
    ({"trigger_rule": "min_success"}, "/trigger_rule", "validation-error"),
    ({"trigger_rule": {"min_success": 1}}, "/trigger_rule/min_success", "out-of-range"),
    ({"trigger_rule": {}}, "/trigger_rule/min_success", "validation-error"),
    ({"trigger_rule": "one_failed"}, "/trigger_rule", "validation-error"),
    ({"output_schema": {"type": "objekt"}}, "/output_schema/type", "invalid-schema"),
    ({"compensate": {"type": "shell"}}, "/compensate/type", "unknown-step-type"),
    ({"compensate": {"type": "noop", "depends_on": ["a"]}}, "/compensate/depends_on", "unknown-property"),
    ({"limits": [{"key": "x", "rate": "often"}]}, "/limits/0/rate", "validation-error"),
    ({"limits": [{"key": "x", "rate": "5/2d"}]}, "/limits/0/rate", "out-of-range"),
    ({"url": "http://x"}, "/url", "unknown-property"),
    ({"depends_on": "b"}, "/depends_on", "validation-error"),
    ({"depends_on": ["b"]}, "/depends_on/0", "unknown-dependency"),
    ({"depends_on": [1]}, "/depends_on/0", "validation-error"),
    ({"depends_on": [{"step": "b"}]}, "/depends_on/0", "unknown-dependency"),
    ({"depends_on": [{"on": ["failed"]}]}, "/depends_on/0/step", "validation-error"),
    ({"depends_on": [f"s{n}" for n in range(5_001)]}, "/depends_on", "too-many-dependencies"),
    ({"timeout": 0}, "/timeout", "out-of-range"),
    ({"timeout": -1}, "/timeout", "out-of-range"),
    ({"timeout": 1e12}, "/timeout", "out-of-range"),
    ({"timeout": "31d"}, "/timeout", "out-of-range"),
    ({"timeout": "soon"}, "/timeout", "validation-error"),
    ({"timeouts": {"start_to_closed": "1s"}}, "/timeouts/start_to_closed", "unknown-property"),
    ({"timeouts": {"start_to_close": "1s"}, "timeout": 1}, "/timeouts/start_to_close", "duplicate-property"),
    ({"timeouts": {"start_to_close": "1s", "heartbeat": "2s"}}, "/timeouts/heartbeat", "out-of-range"),
    ({"on_error": "ignore"}, "/on_error", "validation-error"),
    ({"on_error": {"catch": []}}, "/on_error/catch", "validation-error"),
    ({"on_error": {"catch": [{}]}}, "/on_error/catch/0/errors", "validation-error"),
    ({"on_error": {"catch": [{"errors": ["a b"]}]}}, "/on_error/catch/0/errors/0", "validation-error"),
    ({"on_error": {"catch": [{"errors": ["*"], "when": "event.name == 'x'"}]}}, "/on_error/catch/0/when",
     "invalid-template"),
    ({"on_error": {"catch": [{"errors": ["*"], "steps": []}]}}, "/on_error/catch/0/steps", "validation-error"),
    ({"queue": "a,b"}, "/queue", "invalid-name"),
    ({"queue": "a" * 41}, "/queue", "invalid-name"),
    ({"priority": 10**7}, "/priority", "out-of-range"),
    ({"retries": -1}, "/retries", "out-of-range"),
    ({"retries": 1_000}, "/retries", "out-of-range"),
    ({"retries": "3"}, "/retries", "out-of-range"),
    ({"retries": {"max_attempts": 0}}, "/retries/max_attempts", "out-of-range"),
    ({"retries": {"max_atempts": 1}}, "/retries/max_atempts", "unknown-property"),
    ({"retries": {"initial_delay": "-1s"}}, "/retries/initial_delay", "out-of-range"),
    ({"retries": {"backoff": 0.5}}, "/retries/backoff", "out-of-range"),
    ({"retries": {"max_delay": "2d"}}, "/retries/max_delay", "out-of-range"),
    ({"retries": {"max_elapsed": 0}}, "/retries/max_elapsed", "out-of-range"),
    ({"retries": {"jitter": "some"}}, "/retries/jitter", "validation-error"),
    ({"retries": {"retry_on": []}}, "/retries/retry_on", "validation-error"),
    ({"retries": {"no_retry_on": ["ok", "not ok"]}}, "/retries/no_retry_on/1", "validation-error"),
    ({"retries": {"when": "1 + 1"}}, "/retries/when", "invalid-template"),
    ({"retries": {"when": "result.x"}}, "/retries/when", "invalid-template"),
    ({"when": "input.x >"}, "/when", "invalid-template"),
    ({"when": "'text'"}, "/when", "invalid-template"),
    ({"when": "${ input.x }"}, "/when", "invalid-template"),
    ({"when": "result.x"}, "/when", "invalid-template"),
    ({"when": "steps.b.output"}, "/when", "unknown-dependency"),
    ({"when": True}, "/when", "validation-error"),
    ({"output": {"x": ["${ result. }"]}}, "/output/x/0", "invalid-template"),
    ({"output": "${ error.type }"}, "/output", "invalid-template"),
    ({"output": {"${ input.x }": 1}}, "/output/${ input.x }", "invalid-template"),
    ({"output": "${ workflow.nmae }"}, "/output", "invalid-template"),
    ({"output": "${ steps.a"}, "/output", "invalid-template"),
    ({"output": "${ 1 }" * 5_000}, "/output", "invalid-template"),
    ({"idempotency_key": "${ foo }"}, "/idempotency_key", "invalid-template"),
    ({"idempotency_key": 5}, "/idempotency_key", "validation-error"),
    ({"type": "thumbnail", "size": 5}, "/size", "unknown-property"),
    ({"type": "thumbnail", "inputs": [1]}, "/inputs", "validation-error"),
    ({"type": "thumbnail", "inputs": "a ${ input }"}, "/inputs", "validation-error"),
    ({"type": "thumbnail", "inputs": {"a": {"b": "${ steps.zz.output }"}}}, "/inputs/a/b", "unknown-dependency"),
    ({"type": "thumbnail", "inputs": {"${ input.k }": 1}}, "/inputs/${ input.k }", "invalid-template"),
    ({"inputs": {"x": 1}}, "/inputs/x", "unknown-property"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "place", "code"), STEP)
def test_a_bad_field_of_a_step_is_refused(fields: dict[str, Any], place: str, code: str) -> None:
    assert places(with_step(**fields)) == [(f"/steps/0{place}", code)]


HTTP: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", "validation-error"),
    ({"url": None}, "", "validation-error"),
    ({"url": 5}, "/url", "validation-error"),
    ({"url": "file:///etc/passwd"}, "/url", "url-not-allowed"),
    ({"url": "gopher://x"}, "/url", "url-not-allowed"),
    ({"url": "FTP://x/${ input.path }"}, "/url", "url-not-allowed"),
    ({"url": "http://x/\r\nHost: y"}, "/url", "url-not-allowed"),
    ({"url": "http://x", "method": "TRACE"}, "/method", "validation-error"),
    ({"url": "http://x", "method": "CONNECT"}, "/method", "validation-error"),
    ({"url": "http://x", "method": "GET / HTTP/1.1"}, "/method", "validation-error"),
    ({"url": "http://x", "headers": {"a": "b\r\nc: d"}}, "/headers/a", "invalid-header"),
    ({"url": "http://x", "headers": {"a": "b\rc"}}, "/headers/a", "invalid-header"),
    ({"url": "http://x", "headers": {"a b": "c"}}, "/headers/a b", "invalid-header"),
    ({"url": "http://x", "headers": {"": "c"}}, "/headers/", "invalid-header"),
    ({"url": "http://x", "headers": {"Host": "y"}}, "/headers/Host", "invalid-header"),
    ({"url": "http://x", "headers": {"transfer-encoding": "y"}}, "/headers/transfer-encoding", "invalid-header"),
    ({"url": "http://x", "headers": {"Content-Length": "1"}}, "/headers/Content-Length", "invalid-header"),
    ({"url": "http://x", "headers": {"Connection": "x"}}, "/headers/Connection", "invalid-header"),
    ({"url": "http://x", "headers": {"a": ["b"]}}, "/headers/a", "invalid-header"),
    ({"url": "http://x", "headers": []}, "/headers", "validation-error"),
    ({"url": "http://x", "inputs": {"url": "http://y"}}, "/url", "duplicate-property"),
    ({"url": "http://x", "inputs": "${ input }"}, "/url", "duplicate-property"),
    ({"inputs": {"url": "http://x", "methd": "GET"}}, "/inputs/methd", "unknown-property"),
    ({"inputs": {"url": "ws://x"}}, "/inputs/url", "url-not-allowed"),
    ({"url": "http://x", "auth": {}}, "/auth", "validation-error"),
    ({"url": "http://x", "auth": {"basic": {}, "bearer": "x"}}, "/auth", "validation-error"),
    ({"url": "http://x", "auth": {"digest": {}}}, "/auth", "validation-error"),
    ({"url": "http://x", "success_when": "'yes'"}, "/success_when", "invalid-template"),
    ({"url": "http://x", "success_when": "event.name == 'x'"}, "/success_when", "invalid-template"),
    ({"url": "http://x", "timeouts": {"read": 1}}, "/timeouts/read", "unknown-property"),
    ({"inputs": {"url": "http://x", "timeouts": {"raed": 1}}}, "/inputs/timeouts/raed", "unknown-property"),
    ({"inputs": {"url": "http://x", "timeouts": {"read": 0}}}, "/inputs/timeouts/read", "out-of-range"),
    ({"url": "http://x/${ steps.zz.output }"}, "/url", "unknown-dependency"),
]

OTHER_TYPES: list[tuple[str, dict[str, Any], str, str]] = [
    ("agent", {}, "", "validation-error"),
    ("agent", {"agent": ""}, "/agent", "validation-error"),
    ("agent", {"agent": "x", "skills": "all"}, "/skills", "validation-error"),
    ("agent", {"agent": "x", "gaol": "win"}, "/gaol", "unknown-property"),
    ("llm_inference", {}, "", "validation-error"),
    ("llm_inference", {"prompt": "x", "messages": [{"role": "user"}]}, "/prompt", "validation-error"),
    ("llm_inference", {"messages": []}, "/messages", "validation-error"),
    ("llm_inference", {"messages": ["text"]}, "/messages/0", "validation-error"),
    ("llm_inference", {"messages": [5]}, "/messages/0", "validation-error"),
    ("llm_inference", {"messages": [{"content": "x"}]}, "/messages/0", "validation-error"),
    ("llm_inference", {"prompt": "x", "params": {"max_tokens": -1}}, "/params/max_tokens", "validation-error"),
    ("database", {"connection": "postgres://u:p@h/d", "statement": "select 1"}, "/connection", "unknown-connection"),
    ("database", {"statement": "select '${ input.x }'"}, "/statement", "sql-interpolation"),
    ("database", {"statement": "select 1; drop table x"}, "/statement", "multiple-statements"),
    ("database", {"statement": "-- nothing"}, "/statement", "validation-error"),
    ("database", {"statement": "select " + "1," * 50_000 + "1"}, "/statement", "out-of-range"),
    ("database", {"statements": ["select 1", "select 2; select 3"]}, "/statements/1", "multiple-statements"),
    ("database", {"statements": ["select ${ input.x }"]}, "/statements/0", "sql-interpolation"),
    ("database", {"statements": "${ input.sql }"}, "/statements", "sql-interpolation"),
    ("database", {"statements": []}, "/statements", "validation-error"),
    ("database", {"statements": [{"sql": "x"}]}, "/statements/0", "validation-error"),
    ("database", {"statement": "select 1", "statements": ["select 2"]}, "/statements", "validation-error"),
    ("database", {"statement": "select 1", "mode": "drop"}, "/mode", "validation-error"),
    ("database", {"statement": "select 1", "max_rows": 0}, "/max_rows", "out-of-range"),
    ("database", {"statement": "select 1", "max_rows": True}, "/max_rows", "validation-error"),
    ("database", {"statement": "select 1", "transactional": 1}, "/transactional", "validation-error"),
    ("database", {"statement": "select 1", "inputs": {"x": 1}}, "/inputs/x", "unknown-property"),
    ("database", {"statement": "select 1", "max_rows": 100_001}, "/max_rows", "out-of-range"),
    ("database", {"statements": ["select 1"] * 101}, "/statements", "validation-error"),
    ("database", {"statements": ["select %s"], "params": [1]}, "/params", "validation-error"),
    ("database", {"statements": [{"statement": "select 1; x"}]}, "/statements/0/statement", "multiple-statements"),
    ("database", {"statements": [{"statement": "select 1", "parms": []}]}, "/statements/0", "validation-error"),
    (
        "database",
        {"statements": [{"statement": "select %(a)s", "params": {"a": "${ input. }"}}]},
        "/statements/0/params/a",
        "invalid-template",
    ),
    (
        "database",
        {"statement": "select 1", "connection": "reports", "transactional": True},
        "/transactional",
        "validation-error",
    ),
    ("database", {"statement": "select 1", "mode": "query", "transactional": True}, "/mode", "validation-error"),
    ("database", {"statement": "select 1", "transactional": True, "output": {"a": 1}}, "/output", "validation-error"),
    ("database", {"inputs": "${ input.sql }"}, "/inputs", "sql-interpolation"),
    ("database", {"params": {"a": 1}}, "/params", "validation-error"),
    ("database", {"connection": "reports"}, "/connection", "validation-error"),
    ("database", {"input": {"a": 1}}, "/input", "unknown-property"),
    ("transform", {}, "", "validation-error"),
    ("transform", {"expression": "1", "value": 1}, "/value", "validation-error"),
    ("transform", {"expression": "${ input.x }"}, "/expression", "invalid-template"),
    ("transform", {"expression": "1 } + ${ 2"}, "/expression", "invalid-template"),
    ("transform", {"expression": 5}, "/expression", "validation-error"),
    ("transform", {"inputs": {"expression": "1 +"}}, "/inputs/expression", "invalid-template"),
    ("transform", {"value": {"a": "${ 1 + }"}}, "/value/a", "invalid-template"),
    ("fail", {"inputs": {"type": "a b"}}, "/inputs/type", "validation-error"),
    ("fail", {"inputs": {"type": 5}}, "/inputs/type", "validation-error"),
]


@pytest.mark.parametrize(("step_type", "fields", "place", "code"), [*(("http", *case) for case in HTTP), *OTHER_TYPES])
def test_a_bad_own_field_of_a_type_is_refused(step_type: str, fields: dict[str, Any], place: str, code: str) -> None:
    assert places(with_step(type=step_type, **fields)) == [(f"/steps/0{place}", code)]


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        (with_top(descripton="x"), 'did you mean "description"?'),
        (with_step(dependsOn=[]), 'did you mean "depends_on"?'),
        (with_step(type="htp"), 'did you mean "http"?'),
        (with_step(type="shell"), "thumbnail"),
        (with_step(type="http", ulr="http://x"), 'did you mean "url"?'),
        (with_step(on_error="contineu"), 'did you mean "continue"?'),
        (with_step(depends_on=["A"]), 'did you mean "a"?'),
        (with_step(output="${ steps.aa.output }"), 'did you mean "a"?'),
        (with_step(depends_on="a"), 'write ["a"]'),
    ],
)  # fmt: skip
def test_a_near_miss_is_answered_with_what_was_meant(document: dict[str, Any], hint: str) -> None:
    assert hint in faults(document)[0].message


def test_ids_that_expressions_cannot_tell_apart_clash() -> None:
    steps = [{"id": step_id, "type": "noop"} for step_id in ("a-b", "c", "a_b", "c")]
    assert places({"name": "x", "steps": steps}) == [
        ("/steps/2/id", "duplicate-step-id"),
        ("/steps/3/id", "duplicate-step-id"),
    ]


def test_own_steps_are_not_called_like_those_of_the_ending_that_there_are() -> None:
    own = [{"id": step_id, "type": "noop"} for step_id in ("output", "on_failure", "on_exit")]
    handler = {"steps": [{"id": "on_exit", "type": "noop"}]}
    assert places({"name": "x", "steps": own, "output": 1, "on_failure": handler}) == [
        ("/steps/0/id", "duplicate-step-id"),
        ("/steps/1/id", "duplicate-step-id"),
    ]


@pytest.mark.parametrize(("expression", "call"), [("[1].sum()", "sum(list)"), ("sort([1])", "list.sort()")])
def test_a_function_that_is_called_otherwise_is_shown_how(expression: str, call: str) -> None:
    assert faults(with_step(type="transform", expression=expression))[0].message.count(f"; write {call}") == 1


def test_a_dependency_listed_twice_is_refused() -> None:
    steps = [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a", "a"]}]
    assert places({"name": "x", "steps": steps}) == [("/steps/1/depends_on/1", "duplicate-dependency")]


def test_too_many_edges_are_refused() -> None:
    # 320 steps that all wait for the 320 before them.
    first = [{"id": f"a{n}", "type": "noop"} for n in range(320)]
    second = [{"id": f"b{n}", "type": "noop", "depends_on": [step["id"] for step in first]} for n in range(320)]
    assert places({"name": "x", "steps": [*first, *second]}) == [("/steps", "too-many-edges")]


@pytest.mark.parametrize(
    ("steps", "cycle", "pointer"),
    [
        ([{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}], "a -> b -> a", "/steps/0/depends_on"),
        ([{"id": "a", "depends_on": ["a"]}], "a -> a", "/steps/0/depends_on"),
        ([{"id": "a", "when": "has(steps.a.output)"}], "a -> a", "/steps/0"),
        (
            [
                {"id": "r"},
                {"id": "a", "output": "${ steps.b_1.output }"},
                {"id": "b-1", "depends_on": ["a", "r"]},
            ],
            "a -> b-1 -> a",
            "/steps/1",
        ),
    ],
)
def test_steps_that_wait_for_each_other_are_a_circular_dependency(
    steps: list[dict[str, Any]], cycle: str, pointer: str
) -> None:
    with pytest.raises(CircularDependency, match=f"Circular dependency detected: {cycle}") as refused:
        compile_definition({"name": "x", "steps": [{"type": "noop", **step} for step in steps]})
    assert refused.value.cycle == tuple(cycle.split(" -> "))
    assert refused.value.code == "cycle-detected"
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_a_cycle_among_other_faults_is_told_with_them() -> None:
    assert places(with_step(depends_on=["a"], timeout=0)) == [
        ("/steps/0/timeout", "out-of-range"),
        ("/steps/0/depends_on", "cycle-detected"),
    ]


def test_all_faults_are_told_at_once() -> None:
    document = {"nam": "x", "steps": [{"id": "a", "type": "http", "when": "1 +"}, {"id": "b", "type": "nop"}]}
    assert places(document) == [
        ("/nam", "unknown-property"),
        ("/name", "validation-error"),
        ("/steps/0", "validation-error"),
        ("/steps/1/type", "unknown-step-type"),
        ("/steps/0/when", "invalid-template"),
    ]


def test_at_most_fifty_faults_are_told() -> None:
    assert len(places({"name": "x", "steps": [{"id": f"s{n}", "type": "nope"} for n in range(1_000)]})) == 50


def test_a_refusal_is_named_after_its_only_kind_of_fault() -> None:
    with pytest.raises(DefinitionInvalid) as one_kind:
        compile_definition(with_top(name="A"))
    assert one_kind.value.code == "invalid-name"
    with pytest.raises(DefinitionInvalid) as two_kinds:
        compile_definition(with_top(name="A", spec="2"))
    assert two_kinds.value.code == "validation-error"


def test_what_is_shown_of_a_bad_value_is_short_and_never_a_secret() -> None:
    assert len(faults(with_top(name="x" * 100_000))[0].message) < 250
    assert len(faults(with_step(type="x" * 9_000))[0].message) < 350
    secret = "postgres://user:hunter2@host/db"
    assert "hunter2" not in faults(with_step(type="database", connection=secret, statement="select 1"))[0].message
