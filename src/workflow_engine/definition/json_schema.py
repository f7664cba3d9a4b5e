"""The JSON Schema (draft 2020-12) of definitions: for editors, which complete and check while one writes.

Made from what the reader itself uses (fields, types, choices, limits), so that both say the same; a test asks the
reader for the fields of every object. It tells whether a document has the right shape. References, expressions and
graphs are for `compile` to judge.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from workflow_engine.definition.document import NAME, SPEC, TOP_FIELDS
from workflow_engine.definition.field_words import STEP_WORDS, TOP_WORDS
from workflow_engine.definition.limits import (
    MAX_ATTEMPTS,
    MAX_BACKOFF,
    MAX_CASES,
    MAX_CATCHES,
    MAX_DEPENDENCIES,
    MAX_ITEMS,
    MAX_ITERATIONS,
    MAX_LABEL_VALUE,
    MAX_LABELS,
    MAX_PRIORITY,
    MAX_RESOURCES,
    MAX_STEPS,
    MAX_UNITS,
)
from workflow_engine.definition.retries import Jitter
from workflow_engine.definition.step_edges import RULES, STATUSES
from workflow_engine.definition.step_types import BUILT_IN_TYPES, StepType
from workflow_engine.definition.steps import COMMON_FIELDS, NOT_IN_COMPENSATIONS, STEP_ID
from workflow_engine.definition.workflow_plan import (
    Catchup,
    ConcurrencyConflict,
    IdempotencyConflict,
    OnExceeded,
    Overlap,
)

Schema = dict[str, Any]

_NAMING = ("id", "type")
_TEXT: Schema = {"type": "string"}
_ANY: Schema = {}
_OBJECT: Schema = {"type": "object"}
_TEMPLATE: Schema = {"type": "string", "pattern": r"^\s*\$\{"}
_DURATION: Schema = {
    "type": ["string", "number"],
    "minimum": 0,
    "maxLength": 64,
    "examples": ["30s", "5m", "1h30m", "7d", 90],
}
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}


@functools.cache
def definition_schema() -> Schema:
    """The schema; not to be changed by who gets it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:workflow-engine:schema:definition",
        "title": "Workflow definition",
        "description": "A named list of steps that form a graph.",
        **_shape(_described(_top(), TOP_FIELDS, TOP_WORDS), required=("name", "steps")),
        "$defs": {
            "duration": _DURATION,
            "steps": _list(_ref("step"), most=MAX_STEPS, least=1),
            "step": {
                "type": "object",
                "required": ["id", "type"],
                "allOf": [_ref("body")],
            },
            "body": _body(),
            "compensation": {
                "type": "object",
                "required": ["type"],
                "properties": dict.fromkeys(NOT_IN_COMPENSATIONS, False),
                "allOf": [_ref("body")],
            },
            "fields": {"properties": _described(_common(), COMMON_FIELDS, STEP_WORDS)},
            "retries": _retries(),
            "handler": _shape({"steps": _ref("steps")}, required=("steps",)),
            **{f"type_{name}": _of_type(step_type) for name, step_type in BUILT_IN_TYPES.items()},
            "type_registered": _shape(_common_references(), never_null=_NAMING),
        },
    }


# The document ---------------------------------------------------------------------------------------------------------


def _top() -> Mapping[str, Schema]:
    bound = _shape({"soft": _number(0), "hard": _number(0)})
    return {
        "$schema": _TEXT,
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "spec": _choice([SPEC]),
        "description": _TEXT,
        "labels": {
            "type": "object",
            "maxProperties": MAX_LABELS,
            "additionalProperties": {"type": "string", "maxLength": MAX_LABEL_VALUE},
        },
        "vars": _OBJECT,
        "defaults": _shape({"retries": _ref("retries"), "timeout": _ref("duration"), "queue": _TEXT}),
        "input_schema": _OBJECT,
        "steps": _ref("steps"),
        "fail_fast": {"type": "boolean", "default": True},
        "priority": _integer(-MAX_PRIORITY, MAX_PRIORITY),
        "output": _ANY,
        "timeout": _ref("duration"),
        "on_failure": _ref("handler"),
        "on_exit": _ref("handler"),
        "idempotency": _shape(
            {"key": _TEXT, "on_conflict": _choice(get_args(IdempotencyConflict)), "ttl": _ref("duration")},
            required=("key",),
        ),
        "concurrency": _list(
            _shape(
                {"key": _TEXT, "limit": _integer(1), "on_conflict": _choice(get_args(ConcurrencyConflict))},
                required=("key", "limit"),
            )
        ),
        "schedule": _list(
            _shape(
                {
                    "cron": {"type": "string", "examples": ["0 6 * * 1-5"]},
                    "timezone": {"type": "string", "examples": ["UTC", "Europe/Berlin"]},
                    "overlap": _choice(get_args(Overlap)),
                    "catchup": _choice(get_args(Catchup)),
                    "input": _ANY,
                },
                required=("cron",),
            )
        ),
        "budget": _shape(
            {"tokens": bound, "cost_usd": bound, "steps": bound, "on_exceeded": _choice(get_args(OnExceeded))}
        ),
        "retention": _shape(dict.fromkeys(("succeeded", "failed", "cancelled"), _ref("duration"))),
    }


# Steps ----------------------------------------------------------------------------------------------------------------


def _common() -> Mapping[str, Schema]:
    lock = _shape({"key": _TEXT, "scope": _choice(["task", "workflow"])}, required=("key",))
    units = _integer(1, MAX_UNITS)
    limit = _shape(
        {
            "key": _TEXT,
            "concurrency": units,
            "rate": {"type": "string", "examples": ["60/m", "10/s"]},
            "units": units,
        },
        required=("key",),
    )
    texts = {"anyOf": [_TEXT, _list(_TEXT, least=1)]}
    edge = _shape(
        {"step": _TEXT, "on": {"anyOf": [_choice(STATUSES), _list(_choice(STATUSES), least=1)]}, "case": texts},
        required=("step",),
    )
    catch = _shape(
        {"errors": _list(_TEXT, least=1), "when": _TEXT, "output": _ANY, "steps": _ref("steps")}, required=("errors",)
    )
    return {
        "id": {"type": "string", "pattern": f"^{STEP_ID.pattern}$"},
        "type": {"anyOf": [{"enum": list(BUILT_IN_TYPES)}, {"type": "string", "minLength": 1}]},
        "name": {"type": "string", "maxLength": 256},
        "description": _TEXT,
        "depends_on": _list({"anyOf": [_TEXT, edge]}, most=MAX_DEPENDENCIES),
        "trigger_rule": {
            "anyOf": [
                _choice(RULES),
                _shape({"min_success": _integer(1, MAX_DEPENDENCIES)}, required=("min_success",)),
            ]
        },
        "when": _TEXT,
        "inputs": {"anyOf": [_OBJECT, _TEMPLATE]},
        "output": _ANY,
        "output_schema": _OBJECT,
        "retries": _ref("retries"),
        "timeout": _ref("duration"),
        "timeouts": _shape(
            dict.fromkeys(("schedule_to_start", "start_to_close", "heartbeat", "schedule_to_close"), _ref("duration"))
        ),
        "for_each": _shape(
            {
                "items": {"anyOf": [_TEMPLATE, {"type": ["array", "object"]}, _integer(0, MAX_ITEMS)]},
                "as": _TEXT,
                "concurrency": _integer(1, MAX_ITEMS),
                "max_failures": _integer(0, MAX_ITEMS),
                "max_failure_ratio": _number(0, 1),
            },
            required=("items",),
        ),
        "loop": _shape(
            {"until": _TEXT, "max_iterations": _integer(1, MAX_ITERATIONS), "delay": _ref("duration")},
            required=("until",),
        ),
        "on_error": {
            "anyOf": [
                _choice(["fail", "continue"]),
                _shape({"catch": _list(catch, most=MAX_CATCHES, least=1)}, required=("catch",)),
            ]
        },
        "compensate": _ref("compensation"),
        "queue": _TEXT,
        "priority": _integer(-MAX_PRIORITY, MAX_PRIORITY),
        "idempotency_key": _TEXT,
        "locks": _list({"anyOf": [_TEXT, lock]}, most=MAX_RESOURCES),
        "limits": _list(limit, most=MAX_RESOURCES),
    }


def _retries() -> Schema:
    patterns = _list(_TEXT, least=1)
    policy = _shape(
        {
            "max_attempts": _integer(1, MAX_ATTEMPTS),
            "initial_delay": _ref("duration"),
            "backoff": _number(1, MAX_BACKOFF),
            "max_delay": _ref("duration"),
            "jitter": _choice(get_args(Jitter)),
            "max_elapsed": _ref("duration"),
            "retry_on": patterns,
            "no_retry_on": patterns,
            "when": _TEXT,
        }
    )
    return {"anyOf": [_integer(0, MAX_ATTEMPTS - 1), policy]}


def _body() -> Schema:
    """What a step may be, by its type."""
    cases = [{"if": _has_type({"const": name}), "then": _ref(f"type_{name}")} for name in BUILT_IN_TYPES]
    registered = {"if": _has_type({"not": {"enum": list(BUILT_IN_TYPES)}}), "then": _ref("type_registered")}
    return {"allOf": [*cases, registered]}


def _has_type(schema: Schema) -> Schema:
    return {"properties": {"type": schema}, "required": ["type"]}


def _of_type(step_type: StepType) -> Schema:
    own = {name: _own(kind) for name, kind in step_type.fields.items()}
    inputs = _shape(own)
    if step_type.open_unless:
        inputs = {"type": "object", "properties": inputs["properties"]}
    apart: dict[str, Schema] = {}
    if "steps" in step_type.apart:
        apart["steps"] = _ref("steps")
    if "cases" in step_type.apart:
        case = _shape({"id": _TEXT, "when": _TEXT}, required=("id", "when"))
        apart |= {"cases": _list(case, most=MAX_CASES), "default": _TEXT}
    flat = {name: schema for name, schema in own.items() if name not in COMMON_FIELDS}
    fields = {**_common_references(), "inputs": {"anyOf": [inputs, _TEMPLATE]}, **flat}
    return _shape({**fields, **apart}, required=tuple(apart)[:1], never_null=_NAMING)


def _own(kind: type | tuple[type, ...] | None) -> Schema:
    """A field of a type, or the template that gives it."""
    if kind is None:
        return _ANY
    kinds = [_JSON_TYPES[one] for one in (kind if isinstance(kind, tuple) else (kind,))]
    schema: Schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
    return schema if "string" in kinds else {"anyOf": [schema, _TEMPLATE]}


def _common_references() -> dict[str, Schema]:
    return {name: {"$ref": f"#/$defs/fields/properties/{name}"} for name in COMMON_FIELDS}


# Parts ----------------------------------------------------------------------------------------------------------------


def _described(schemas: Mapping[str, Schema], fields: Iterable[str], words: Mapping[str, str]) -> dict[str, Schema]:
    return {name: {"description": words[name], **schemas[name]} for name in fields}


def _shape(
    properties: Mapping[str, Schema], *, required: tuple[str, ...] = (), never_null: tuple[str, ...] = ()
) -> Schema:
    """An object of these fields and of the author's own; a field that is not needed may be null."""
    firm = (*required, *never_null)
    return {
        "type": "object",
        "properties": {name: value if name in firm else _or_null(value) for name, value in properties.items()},
        **({"required": list(required)} if required else {}),
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> Schema:
    if not schema.keys() - {"description"}:
        return schema
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    about = {name: schema[name] for name in ("description",) if name in schema}
    rest = {name: value for name, value in schema.items() if name != "description"}
    return {**about, "anyOf": [rest, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _list(items: Schema, *, most: int | None = None, least: int = 0) -> Schema:
    bounds = {"minItems": least or None, "maxItems": most}
    return {"type": "array", "items": items, **{name: value for name, value in bounds.items() if value is not None}}


def _choice(names: Iterable[str]) -> Schema:
    return {"enum": list(names)}


def _integer(least: int, most: int | None = None) -> Schema:
    return {"type": "integer", "minimum": least, **({} if most is None else {"maximum": most})}


def _number(least: float, most: float | None = None) -> Schema:
    return {"type": "number", "minimum": least, **({} if most is None else {"maximum": most})}
