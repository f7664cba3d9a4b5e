"""The steps of a document as typed records: every field read, defaults applied. What they refer to is not looked up."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from workflow_engine.definition.faults import Faults, clipped, did_you_mean, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.limits import (
    MAX_ATTEMPTS,
    MAX_BACKOFF,
    MAX_DEPENDENCIES,
    MAX_ELAPSED,
    MAX_PRIORITY,
    MAX_STEPS,
    MAX_TIMEOUT,
)
from workflow_engine.definition.own_fields import OwnFields
from workflow_engine.definition.plan import OnError
from workflow_engine.definition.resources import Resource, read_resources
from workflow_engine.definition.retries import Jitter, RetryPolicy
from workflow_engine.definition.scope import json_type, step_alias
from workflow_engine.definition.step_types import BUILT_IN_TYPES, StepType, check_own_fields
from workflow_engine.definition.templates import Placeholder, split
from workflow_engine.errors import InputInvalid

_STEP_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
# Postgres allows 63 bytes for the name of a notification channel, and a queue's channel has a prefix.
_QUEUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}")
_ERROR_PATTERN = re.compile(r"\*|[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
# What CEL keeps for itself, in its grammar and for languages it may be embedded in.
_CEL_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"}
    | {"namespace", "null", "package", "return", "true", "var", "void", "while"}
)

_COMMON_FIELDS = (
    "id", "type", "name", "description", "depends_on", "when", "inputs", "output", "retries", "timeout", "on_error",
    "queue", "priority", "idempotency_key", "locks", "limits",
)  # fmt: skip
_LATER_FIELDS = (
    "trigger_rule", "output_schema", "timeouts", "for_each", "loop", "compensate",
)  # fmt: skip
_LATER_TYPES = ("switch", "block", "workflow", "wait", "signal", "approval", "emit", "terminate")
_RETRY_FIELDS = (
    "max_attempts", "initial_delay", "backoff", "max_delay", "jitter", "max_elapsed", "retry_on", "no_retry_on", "when",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step as written.

    Attributes:
        pointer: Its place.
        depends_on: Each id with its place.
        inputs: Own fields of the flat style and `inputs` together; None when there are none. A string is one `${ }`.
        input_places: Where each of them stands.
        retry_condition_place: Where the condition of its retries stands: here or in the defaults.
    """

    pointer: str
    id: str
    type: str
    depends_on: tuple[tuple[str, str], ...]
    when: str | None
    inputs: dict[str, Any] | str | None
    input_places: Mapping[str, str]
    output: Any
    retries: RetryPolicy | None
    retry_condition_place: str
    timeout: float | None
    on_error: OnError
    queue: str
    priority: int
    idempotency_key: str | None
    resources: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What steps have that do not say otherwise.

    Attributes:
        retries: Fields of the retry policy; empty when nothing is said.
    """

    retries: Mapping[str, Any]
    timeout: float | None
    queue: str


def read_defaults(top: Fields) -> Defaults:
    part = top.part("defaults")
    if part is None:
        return Defaults({}, None, "default")
    part.refuse_unknown(("retries", "timeout", "queue"))
    return Defaults(
        retries=_read_retries(part) or {},
        timeout=part.duration("timeout", most=MAX_TIMEOUT),
        queue=_read_queue(part) or "default",
    )


def read_steps(
    top: Fields, defaults: Defaults, task_types: Collection[str], faults: Faults, warnings: Faults
) -> tuple[StepRecord, ...]:
    """Read `steps`. A step without a usable id gives no record."""
    values = top.items("steps")
    if values is None:
        if top.get("steps") is None:
            top.fault("steps", "validation-error", "is missing")
        return ()
    if not values:
        top.fault("steps", "validation-error", "needs at least one step")
    if len(values) > MAX_STEPS:
        top.fault("steps", "too-many-steps", f"has {len(values):,} steps, {MAX_STEPS:,} are allowed")
        return ()
    reader = _StepReader(defaults, task_types, faults, warnings)
    records = []
    for index, value in enumerate(values):
        if faults.full:
            break
        pointer = join(top.at("steps"), index)
        if not isinstance(value, dict):
            faults.add(pointer, "validation-error", f"a step is an object, not {json_type(value)}")
        elif record := reader.read(Fields(value, pointer, faults)):
            records.append(record)
    return tuple(records)


class _StepReader:
    def __init__(self, defaults: Defaults, task_types: Collection[str], faults: Faults, warnings: Faults) -> None:
        self._defaults = defaults
        self._known_types = dict.fromkeys((*BUILT_IN_TYPES, *sorted(task_types)))
        self._faults = faults
        self._warnings = warnings
        self._places: dict[str, str] = {}  # of the ids so far, by alias

    def read(self, step: Fields) -> StepRecord | None:
        step_id = self._read_id(step)
        step_type = self._read_type(step)
        inputs, places = self._read_inputs(step, step_type)
        retries = _read_retries(step)
        policy = {**self._defaults.retries, **(retries or {})}
        step.text("name", longest=256)
        step.text("description")
        timeout = step.duration("timeout", most=MAX_TIMEOUT)
        if step_id is None:
            return None
        return StepRecord(
            pointer=step.pointer,
            id=step_id,
            type=step_type,
            depends_on=self._read_dependencies(step),
            when=step.text("when"),
            inputs=inputs,
            input_places=places,
            output=step.get("output"),
            retries=RetryPolicy(**policy) if policy else None,
            retry_condition_place=(
                join(step.at("retries"), "when") if retries and "when" in retries else "/defaults/retries/when"
            ),
            timeout=self._defaults.timeout if timeout is None else timeout,
            on_error=self._read_on_error(step),
            queue=_read_queue(step) or self._defaults.queue,
            priority=step.integer("priority", -MAX_PRIORITY, MAX_PRIORITY) or 0,
            idempotency_key=step.text("idempotency_key"),
            resources=read_resources(step),
        )

    def _read_id(self, step: Fields) -> str | None:
        if step.get("id") is None:
            step.fault("id", "validation-error", "is missing")
            return None
        step_id = step.matching("id", _STEP_ID, "invalid-name", "a letter or _, then up to 63 of A-Z a-z 0-9 _ -")
        if step_id is None:
            return None
        alias = step_alias(step_id)
        if alias in _CEL_RESERVED:
            step.fault("id", "invalid-name", f"{clipped(step_id)} is reserved in expressions")
        elif alias in self._places:
            message = f"{clipped(step_id)} is already the id of {self._places[alias]}"
            if alias != step_id or "-" in step_id:
                message += f" (expressions read both as steps.{alias})"
            step.fault("id", "duplicate-step-id", message)
            return None
        self._places[alias] = step.pointer
        return step_id

    def _read_type(self, step: Fields) -> str:
        if step.get("type") is None:
            step.fault("type", "validation-error", "is missing")
        step_type = step.text("type") or ""
        if step_type and step_type not in self._known_types:
            if step_type in _LATER_TYPES:
                message = f"{clipped(step_type)} is not supported by this version of the engine"
            else:
                hint = did_you_mean(step_type, self._known_types)
                known = ", ".join(list(self._known_types)[:30])
                message = f"unknown step type {clipped(step_type)}{hint or ';'} known are {known}"
            step.fault("type", "unknown-step-type", message)
        return step_type

    def _read_inputs(self, step: Fields, type_name: str) -> tuple[dict[str, Any] | str | None, dict[str, str]]:
        """The inputs, and the place of each; those of a built-in type are checked."""
        built_in = BUILT_IN_TYPES.get(type_name)
        flat = [name for name in built_in.fields if name not in (*_COMMON_FIELDS, *_LATER_FIELDS)] if built_in else []
        if built_in or type_name in self._known_types:
            step.refuse_unknown((*_COMMON_FIELDS, *flat), (*_LATER_FIELDS, *(built_in.later if built_in else ())))
        given = step.get("inputs")
        if isinstance(given, str) and _is_one_placeholder(given):
            for name in flat:
                if step.get(name) is not None:
                    step.fault(name, "duplicate-property", "cannot be given beside `inputs` that is one template")
            if type_name == "database":
                message = "SQL is never built from templates: the inputs of a database step are an object"
                step.fault("inputs", "sql-interpolation", message)
            return given, {}
        inputs = step.mapping("inputs") or {}
        places = {name: join(step.at("inputs"), name) for name in inputs}
        own = {name: step.values[name] for name in flat if name in step.values}
        for name in own.keys() & inputs.keys():
            step.fault(name, "duplicate-property", f"`{name}` stands both here and under `inputs`")
        values = {**own, **inputs}
        places = {**{name: step.at(name) for name in own}, **places}
        if built_in:
            values = {name: value for name, value in values.items() if not _is_absent(value, name, built_in)}
            check_own_fields(built_in, OwnFields(values, places, step.pointer, self._faults, self._warnings))
        if type_name == "database" and values.get("transactional") is True and step.get("output") is not None:
            message = (
                "a transactional step is completed by Postgres, which renders no templates: shape it in a transform"
            )
            step.fault("output", "validation-error", message)
        return (values if values or given is not None else None), places

    def _read_dependencies(self, step: Fields) -> tuple[tuple[str, str], ...]:
        if isinstance(given := step.get("depends_on"), str):
            step.fault("depends_on", "validation-error", f'must be a list: write ["{given[:64]}"]')
            return ()
        values = step.items("depends_on") or []
        if len(values) > MAX_DEPENDENCIES:
            message = f"has {len(values):,} dependencies, {MAX_DEPENDENCIES:,} are allowed"
            step.fault("depends_on", "too-many-dependencies", message)
            return ()
        found: dict[str, str] = {}
        for index, value in enumerate(values):
            place = join(step.at("depends_on"), index)
            if isinstance(value, dict):
                message = "conditions on dependencies are not supported by this version of the engine; write the id"
                self._faults.add(place, "validation-error", message)
            elif not isinstance(value, str):
                self._faults.add(place, "validation-error", f"must be the id of a step, not {json_type(value)}")
            elif value in found:
                self._faults.add(place, "duplicate-dependency", f"{clipped(value)} is listed twice")
            else:
                found[value] = place
        return tuple(found.items())

    @staticmethod
    def _read_on_error(step: Fields) -> OnError:
        if isinstance(step.get("on_error"), dict):
            step.fault("on_error", "validation-error", "`catch` is not supported by this version of the engine")
            return "fail"
        return cast(OnError, step.choice("on_error", ("fail", "continue")) or "fail")


def _read_queue(fields: Fields) -> str | None:
    return fields.matching("queue", _QUEUE, "invalid-name", "up to 40 of A-Z a-z 0-9 _ . -, not beginning with . or -")


def _read_retries(fields: Fields) -> dict[str, Any] | None:
    """The given fields of a retry policy. An integer counts the tries after the first."""
    given = fields.get("retries")
    if given is None:
        return None
    if not isinstance(given, dict):
        after_first = fields.integer("retries", 0, MAX_ATTEMPTS - 1)
        return None if after_first is None else {"max_attempts": after_first + 1}
    part = Fields(given, fields.at("retries"), fields.faults)
    part.refuse_unknown(_RETRY_FIELDS)
    policy: dict[str, Any] = {
        "max_attempts": part.integer("max_attempts", 1, MAX_ATTEMPTS),
        "initial_delay": part.duration("initial_delay", most=MAX_TIMEOUT, zero=True),
        "backoff": part.number("backoff", 1, MAX_BACKOFF),
        "max_delay": part.duration("max_delay", most=MAX_TIMEOUT, zero=True),
        "jitter": cast(Jitter | None, part.choice("jitter", ("full", "none"))),
        "max_elapsed": part.duration("max_elapsed", most=MAX_ELAPSED),
        "when": part.text("when"),
    }
    for name in ("retry_on", "no_retry_on"):
        if part.get(name) == []:
            part.fault(name, "validation-error", "must name at least one error; to never retry write `retries: 0`")
        policy[name] = tuple(
            part.names(name, _ERROR_PATTERN, "write an error such as timeout, http.503, http.5xx or *")
        )
    return {name: value for name, value in policy.items() if value not in (None, ())}


def _is_one_placeholder(text: str) -> bool:
    try:
        match split(text):
            case [Placeholder()]:
                return True
    except InputInvalid:
        # A template, if a broken one: the check of expressions says what is wrong with it.
        return text.startswith("${")
    return False


def _is_absent(value: Any, name: str, step_type: StepType) -> bool:
    """null counts as absent, but where a field may have any value."""
    return value is None and step_type.fields.get(name) is not None
