"""The JSON Schema of definitions says what the reader says: every field, and no others."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from docs.test_language import examples
from support.mutations import Mutator
from support.translations import definitions

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.document import TOP_FIELDS
from workflow_engine.definition.json_schema import definition_schema
from workflow_engine.definition.step_types import BUILT_IN_TYPES
from workflow_engine.definition.steps import COMMON_FIELDS
from workflow_engine.errors import DefinitionInvalid

FILE = Path(__file__).parents[3] / "docs" / "definition.schema.json"
SCHEMA = definition_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# One object of every kind that the language has.
WHOLE: dict[str, Any] = {
    "$schema": "http://localhost:3003/api/v1/schema/definition.json",
    "name": "whole",
    "labels": {"team": "x"},
    "defaults": {"retries": {"max_attempts": 3}},
    "on_failure": {"steps": [{"id": "tell", "type": "noop"}]},
    "idempotency": {"key": "${ input.id }"},
    "concurrency": [{"key": "c:${ input.id }", "limit": 1}],
    "schedule": [{"cron": "0 6 * * *"}],
    "budget": {"tokens": {"hard": 10}},
    "retention": {"succeeded": "30d"},
    "steps": [
        {
            "id": "a",
            "type": "http",
            "url": "https://example.com",
            "inputs": {"timeouts": {"read": "5s"}},
            "timeouts": {"heartbeat": "5s"},
            "on_error": {"catch": [{"errors": ["*"], "output": 1}]},
            "compensate": {"type": "noop"},
            "locks": [{"key": "ledger"}],
            "limits": [{"key": "openai", "concurrency": 2}],
            "x-mine": {"any": "thing"},
        },
        {"id": "s", "type": "switch", "cases": [{"id": "big", "when": "true"}], "depends_on": ["a"]},
        {
            "id": "b",
            "type": "block",
            "steps": [{"id": "c", "type": "noop"}],
            "depends_on": [{"step": "s", "case": "big"}, "a"],
            "trigger_rule": {"min_success": 1},
        },
        {"id": "e", "type": "noop", "for_each": {"items": [1]}, "depends_on": ["b"]},
        {"id": "l", "type": "transform", "value": 1, "loop": {"until": "result == 1"}, "timeout": None},
    ],
}
OBJECTS = [
    "", "/defaults", "/defaults/retries", "/on_failure", "/on_failure/steps/0", "/idempotency", "/concurrency/0",
    "/schedule/0", "/budget", "/budget/tokens", "/retention", "/steps/0/timeouts", "/steps/0/on_error",
    "/steps/0/on_error/catch/0", "/steps/0/compensate", "/steps/0/locks/0", "/steps/0/limits/0", "/steps/1/cases/0",
    "/steps/2/depends_on/0", "/steps/2/trigger_rule", "/steps/3/for_each", "/steps/4/loop", "/steps/2/steps/0",
    *(f"/steps/{n}" for n in range(5)),
]  # fmt: skip


def at(document: Any, pointer: str) -> Any:
    for key in pointer.split("/")[1:]:
        document = document[int(key) if isinstance(document, list) else key]
    return document


def errors(document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(document)]


def known_to_the_reader(document: dict[str, Any], pointer: str) -> set[str]:
    """The fields that the reader names when it meets one that it does not know."""
    wrong = copy.deepcopy(document)
    at(wrong, pointer)["zzzzzzzz"] = 1
    with pytest.raises(DefinitionInvalid) as refused:
        compile_definition(wrong)
    (message,) = (f.message for f in refused.value.faults if f.pointer == f"{pointer}/zzzzzzzz")
    return set(message.partition("known are ")[2].split(", "))


def test_it_is_a_schema_that_accepts_the_whole_language() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    compile_definition(WHOLE)
    assert errors(WHOLE) == []


@pytest.mark.parametrize("pointer", OBJECTS)
def test_an_object_has_exactly_the_fields_that_the_reader_knows(pointer: str) -> None:
    known = known_to_the_reader(WHOLE, pointer)
    schema_accepts = set()
    for name in known | set(TOP_FIELDS) | set(COMMON_FIELDS) | {"zzzzzzzz"}:
        changed = copy.deepcopy(WHOLE)
        part = at(changed, pointer)
        part.setdefault(name, None)
        unknown = any(re.search(rf"'{re.escape(name)}' (was|does not match)", error) for error in _deep_errors(changed))
        if not unknown:
            schema_accepts.add(name)
    if pointer.endswith("/compensate"):
        known -= {"id", "depends_on", "trigger_rule", "compensate"}
        schema_accepts -= {"id", "depends_on", "trigger_rule", "compensate"}
    assert schema_accepts == known


def _deep_errors(document: Any) -> list[str]:
    found = []
    pending = list(VALIDATOR.iter_errors(document))
    while pending:
        error = pending.pop()
        found.append(error.message)
        pending += error.context or ()
    return found


def test_every_top_level_and_common_field_and_type_is_described() -> None:
    assert set(SCHEMA["properties"]) == set(TOP_FIELDS)
    fields = SCHEMA["$defs"]["fields"]["properties"]
    assert set(fields) == set(COMMON_FIELDS)
    assert all(schema["description"] for schema in (*SCHEMA["properties"].values(), *fields.values()))
    for name, step_type in BUILT_IN_TYPES.items():
        properties = SCHEMA["$defs"][f"type_{name}"]["properties"]
        own = {field for field in step_type.fields if field not in COMMON_FIELDS}
        assert set(properties) == {*COMMON_FIELDS, *own, *step_type.apart}
        assert set(properties["inputs"]["anyOf"][0]["anyOf"][0]["properties"]) == set(step_type.fields)


@pytest.mark.parametrize("document", examples(), ids=lambda document: document["name"])
def test_it_accepts_what_the_documentation_shows(document: dict[str, Any]) -> None:
    assert errors(document) == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": None}, {"name": "Upper"}, {"name": 7}, {"steps": []}, {"steps": {}}, {"stpes": []}, {"spec": "2"},
        {"timeout": []}, {"fail_fast": "yes"}, {"priority": "high"}, {"labels": {"a": 1}}, {"on_exit": {}},
        {"schedule": [{"corn": "* * * * *"}]}, {"budget": {"tokens": 7}},
        *({"steps": [{"id": "a", "type": "noop", **more}]} for more in (
            {"id": None}, {"id": "1a"}, {"type": None}, {"type": 7}, {"url": "https://e.com"}, {"depends_on": "b"},
            {"depends_on": [{"on": ["failed"]}]}, {"depends_on": [{"step": "b", "on": ["done"]}]},
            {"trigger_rule": "sometimes"}, {"retries": -1}, {"retries": {"max_atempts": 1}}, {"timeout": True},
            {"timeouts": {"total": 1}}, {"for_each": {}}, {"loop": {"max_iterations": 3}}, {"on_error": "ignore"},
            {"on_error": {"catch": []}}, {"compensate": {"id": "b", "type": "noop"}}, {"locks": [7]},
            {"limits": ["a"]}, {"inputs": "text"}, {"type": ""},
        )),
        *({"steps": [{"id": "a", **step}]} for step in (
            {"type": "http", "url": 7}, {"type": "http", "inputs": {"ulr": "https://e.com"}}, {"type": "block"},
            {"type": "switch"}, {"type": "mine", "url": "https://e.com"}, {"type": "switch", "cases": [{"id": "x"}]},
        )),
    ],
    ids=str,
)  # fmt: skip
def test_it_refuses_what_has_the_wrong_shape_as_the_reader_does(change: dict[str, Any]) -> None:
    document = {"name": "flow", "steps": [{"id": "a", "type": "noop"}], **change}
    assert errors(document)
    with pytest.raises(DefinitionInvalid):
        compile_definition(document, task_types=["mine"])


@pytest.mark.parametrize("name", sorted(definitions()))
def test_it_accepts_public_workflows_written_in_the_language(name: str) -> None:
    assert errors(definitions()[name]) == []


def test_it_accepts_whatever_the_reader_accepts() -> None:
    documents = list(definitions().values())
    types = sorted(types_in(documents))
    mutator = Mutator(documents, seed=1)
    accepted = 0
    for number in range(600):
        document = mutator.mutate(documents[number % len(documents)])
        try:
            compile_definition(document, task_types=types)
        except DefinitionInvalid:
            continue
        accepted += 1
        assert errors(document) == [], document
    assert accepted > 60


def types_in(value: Any) -> set[str]:
    """The types that steps anywhere in some documents have."""
    if isinstance(value, dict):
        own = {value["type"]} if "id" in value and isinstance(value.get("type"), str) else set()
        return own.union(*map(types_in, value.values()))
    return set().union(*map(types_in, value)) if isinstance(value, list) else set()


def test_the_file_beside_the_documentation_is_the_same() -> None:
    assert json.loads(FILE.read_text()) == SCHEMA, "workflow-engine schema > docs/definition.schema.json"
