"""The translations between them use every field and step type of the language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from support.translations import definitions

from workflow_engine.definition.json_schema import definition_schema

# By what it is a field of. A step's own fields are by its type, wherever they stand.
FIELDS: Mapping[str, str] = {
    "definition": "name spec description labels input_schema vars defaults steps output timeout fail_fast on_failure"
    " on_exit idempotency concurrency priority schedule budget retention",
    "defaults": "retries timeout queue",
    "idempotency": "key on_conflict ttl",
    "concurrency": "key limit on_conflict",
    "schedule": "cron timezone overlap catchup",
    "budget": "tokens cost_usd steps on_exceeded",
    "budget amount": "soft hard",
    "retention": "succeeded failed cancelled",
    "step": "id type name description depends_on trigger_rule when inputs output output_schema retries timeout timeouts"
    " for_each loop on_error limits locks compensate queue priority idempotency_key",
    "depends_on": "step on case",
    "trigger_rule": "min_success",
    "retries": "max_attempts initial_delay backoff max_delay jitter max_elapsed retry_on no_retry_on when",
    "timeouts": "schedule_to_start start_to_close heartbeat schedule_to_close",
    "for_each": "items as concurrency max_failures max_failure_ratio",
    "loop": "until max_iterations delay",
    "on_error": "catch",
    "catch": "errors when output steps",
    "limits": "key concurrency rate units",
    "locks": "key scope",
    "http": "method url headers query body auth success_when timeouts",
    "agent": "agent goal input skills context",
    "llm_inference": "model messages prompt system params tools response_schema",
    "database": "connection statement statements params mode transactional max_rows",
    "tool": "server tool arguments",
    "transform": "expression value",
    "switch": "cases default mode",
    "block": "steps output",
    "workflow": "name version input definition wait on_parent_cancel",
    "wait": "duration until",
    "signal": "name match count timeout on_timeout",
    "approval": "prompt form_schema assignees timeout on_timeout outcomes",
    "emit": "name payload to url workflow_id",
    "terminate": "status reason output",
    "fail": "type message",
}
VALUES: Mapping[str, str] = {
    "trigger_rule": "auto all_success all_done none_failed one_success one_failed all_failed always",
    "type": "http agent llm_inference database tool transform switch block workflow wait signal approval emit terminate"
    " fail noop",
    "on": "succeeded failed",
    "mode": "all query execute",
    "to": "signal webhook",
    "on_timeout": "fail continue",
    "on_conflict": "queue reject cancel_running return_existing",
    "on_error": "continue",
    "scope": "workflow",
    "on_parent_cancel": "cancel abandon",
}
NAMES = (
    "input.", ".status", ".output", ".error", ".attempt", ".started_at", ".finished_at", "vars.", "workflow.id",
    "workflow.name", "workflow.version", "workflow.attempt", "workflow.labels", "workflow.parent_id", "workflow.status",
    "workflow.started_at", "workflow.error", "item", "index", "iteration", "last.", "result", "error.", "event.",
    "secrets.",
)  # fmt: skip
COMMON = frozenset(FIELDS["step"].split())


def used() -> set[tuple[str, str]]:
    """Every field that is used: what it belongs to, and its name."""
    return {use for document in definitions().values() for use in of_definition(document)}


def of_definition(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from of("definition", document)
    yield from of("defaults", document.get("defaults", {}))
    yield from of("retries", document.get("defaults", {}).get("retries", {}))
    for name in ("idempotency", "retention", "budget"):
        yield from of(name, document.get(name, {}))
    for amount in document.get("budget", {}).values():
        yield from of("budget amount", amount)
    for name in ("concurrency", "schedule"):
        for entry in document.get(name, []):
            yield from of(name, entry)
    handlers = [document.get(name, {}).get("steps", []) for name in ("on_failure", "on_exit")]
    for steps in (document["steps"], *handlers):
        for step in steps:
            yield from of_step(step)


def of_step(step: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from of("step", step)
    own = {name: value for name, value in step.items() if name not in COMMON or name == "output"}
    inputs = step.get("inputs")
    yield from of(step["type"], {**own, **(inputs if isinstance(inputs, dict) else {})})
    for name in ("retries", "timeouts", "for_each", "loop", "trigger_rule"):
        yield from of(name, step.get(name))
    for name in ("depends_on", "limits", "locks"):
        for entry in step.get(name, []):
            yield from of(name, entry)
    for child in step.get("steps", []):
        yield from of_step(child)
    on_error = step.get("on_error")
    yield from of("on_error", on_error)
    for catch in on_error["catch"] if isinstance(on_error, dict) else []:
        yield from of("catch", catch)
        for child in catch.get("steps", []):
            yield from of_step(child)
    if "compensate" in step:
        yield from of_step({"id": "", **step["compensate"]})
    if step["type"] == "workflow" and "definition" in step["inputs"]:
        yield from of_definition(step["inputs"]["definition"])


def of(kind: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield from ((kind, name) for name in value)


def values(value: Any, name: str) -> Iterator[str]:
    """The texts under a key, wherever it is."""
    if isinstance(value, dict):
        for key, child in value.items():
            if key == name:
                yield from (text for text in (child if isinstance(child, list) else [child]) if isinstance(text, str))
            yield from values(child, name)
    elif isinstance(value, list):
        for child in value:
            yield from values(child, name)


def test_there_are_translations_of_at_least_20_public_workflows_whose_sources_are_named() -> None:
    found = definitions()
    assert len({document["x-source"] for document in found.values()}) == len(found) >= 20
    assert all(name == document["name"] for name, document in found.items())


def test_no_field_of_the_language_is_forgotten_here() -> None:
    assert named(definition_schema()) - {name for names in FIELDS.values() for name in names.split()} == {"$schema"}


def named(schema: Any) -> set[str]:
    """All fields that a JSON Schema has, at any depth."""
    children = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    properties = schema.get("properties") if isinstance(schema, dict) else None
    own = set(properties) if isinstance(properties, dict) else set()
    return own.union(*map(named, children))


def test_every_field_of_the_language_is_used() -> None:
    found = used()
    missing = [
        f"{kind}.{name}" for kind, names in FIELDS.items() for name in names.split() if (kind, name) not in found
    ]
    assert missing == []


@pytest.mark.parametrize("name", VALUES)
def test_every_choice_is_made(name: str) -> None:
    assert set(VALUES[name].split()) - set(values(list(definitions().values()), name)) == set()


def test_every_name_that_expressions_may_use_is_used() -> None:
    text = str(list(definitions().values()))
    assert [name for name in NAMES if name not in text] == []
