"""The steps of a document as typed records: every field read, defaults applied. What they refer to is not looked up."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

from workflow_engine.definition.faults import Faults, clipped, did_you_mean, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.input_schema import check_schema
from workflow_engine.definition.known import Known
from workflow_engine.definition.limits import (
    MAX_CATCHES,
    MAX_DAYS,
    MAX_DEPTH,
    MAX_ITEM_NAMES,
    MAX_NESTED_FOR_EACH,
    MAX_PRIORITY,
    MAX_STEPS,
    MAX_TIMEOUT,
)
from workflow_engine.definition.own_fields import OwnFields
from workflow_engine.definition.plan import OnError
from workflow_engine.definition.resources import read_resources
from workflow_engine.definition.retries import RetryPolicy
from workflow_engine.definition.scope import CEL_RESERVED, json_type, step_alias
from workflow_engine.definition.step_edges import read_edges, read_rule
from workflow_engine.definition.step_policies import (
    ERROR_PATTERN,
    ERROR_RULE,
    Defaults,
    read_queue,
    read_retries,
    read_timeouts,
)
from workflow_engine.definition.step_records import CatchRecord, StepRecord
from workflow_engine.definition.step_repeats import read_for_each, read_loop
from workflow_engine.definition.step_types import (
    BUILT_IN_TYPES,
    CONTAINERS,
    INTERNAL_TYPES,
    NOT_REPEATED,
    WAITING_TYPES,
    StepType,
    check_own_fields,
)
from workflow_engine.definition.switches import read_switch
from workflow_engine.definition.templates import is_one_placeholder

STEP_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
COMMON_FIELDS = (
    "id", "type", "name", "description", "depends_on", "trigger_rule", "when", "inputs", "output", "output_schema",
    "retries", "timeout", "timeouts", "for_each", "loop", "on_error", "compensate", "queue", "priority",
    "idempotency_key", "locks", "limits",
)  # fmt: skip
NOT_IN_COMPENSATIONS = ("id", "depends_on", "trigger_rule", "compensate")


class StepReader:
    """Reads the steps of one document, in all their scopes."""

    def __init__(self, defaults: Defaults, known: Known, faults: Faults, warnings: Faults) -> None:
        self._defaults = defaults
        self._known = known
        self._known_types = dict.fromkeys((*BUILT_IN_TYPES, *sorted(known.task_types)))
        for name in INTERNAL_TYPES:
            self._known_types.pop(name, None)
        self._faults = faults
        self._warnings = warnings
        self._count = 0
        self._depth = 0
        self._for_each = 0  # around the step that is read
        self._item_names: set[str] = set()

    def read_list(self, owner: Fields, name: str = "steps") -> tuple[StepRecord, ...]:
        """Read a list of steps, which is a scope. A step without a usable id gives no record."""
        values = owner.items(name)
        if values is None:
            if owner.get(name) is None:
                owner.fault(name, "validation-error", "is missing")
            return ()
        if not values:
            owner.fault(name, "validation-error", "needs at least one step")
        self._count += len(values)
        if self._count > MAX_STEPS:
            message = f"the definition has {self._count:,} steps or more, {MAX_STEPS:,} are allowed"
            owner.fault(name, "too-many-steps", message)
            return ()
        if self._depth > MAX_DEPTH:
            owner.fault(name, "nesting-too-deep", f"steps are nested deeper than {MAX_DEPTH} levels")
            return ()
        places: dict[str, str] = {}  # of the ids of this scope so far, by alias
        records = []
        whole = owner.at(name)
        for index, value in enumerate(values):
            if self._faults.full:
                break
            pointer = join(whole, index)
            if not isinstance(value, dict):
                self._faults.add(pointer, "validation-error", f"a step is an object, not {json_type(value)}")
                continue
            step = Fields(value, pointer, self._faults)
            record = self._read(step, self._read_id(step, places))
            if record is not None:
                records.append(record)
        return tuple(records)

    def read_nested(self, owner: Fields, name: str = "steps") -> tuple[StepRecord, ...]:
        """Read a list of steps inside a step."""
        self._depth += 1
        try:
            return self.read_list(owner, name)
        finally:
            self._depth -= 1

    def _read(self, step: Fields, step_id: str | None) -> StepRecord | None:
        step_type = self._read_type(step)
        for_each, loop = read_for_each(step), read_loop(step)
        repeats = (for_each is not None) + (loop is not None)
        if repeats and step_type in NOT_REPEATED:
            step.fault("type", "validation-error", f"a {step_type} cannot be repeated itself: put it into a block")
        self._depth += repeats
        self._for_each += for_each is not None
        if for_each is not None and self._for_each > MAX_NESTED_FOR_EACH:
            message = (
                f"more than {MAX_NESTED_FOR_EACH} levels of `for_each`, whose items multiply: use a child workflow"
            )
            step.fault("for_each", "expansion-limit", message)
        if for_each is not None:
            self._item_names.add(for_each.as_)
            if len(self._item_names) > MAX_ITEM_NAMES:
                message = f"there are more than {MAX_ITEM_NAMES} names for items: use some of them again"
                self._faults.add(join(for_each.pointer, "as"), "out-of-range", message)
        if repeats and self._depth > MAX_DEPTH:
            self._faults.add(step.pointer, "nesting-too-deep", f"steps are nested deeper than {MAX_DEPTH} levels")
        try:
            record = self._read_body(step, step_id, step_type)
        finally:
            self._depth -= repeats
            self._for_each -= for_each is not None
        catches = self._read_catches(step)
        compensate = self._read_compensation(step, step_id)
        if record is None or not (repeats or catches or compensate):
            return record  # as nearly always; a copy is a tenth of the whole reading
        return replace(record, for_each=for_each, loop=loop, catches=catches, compensate=compensate)

    def _read_body(self, step: Fields, step_id: str | None, step_type: str) -> StepRecord | None:
        """All but what belongs to the whole of a repeated step."""
        inputs, places, child = self._read_inputs(step, step_type)
        retries = read_retries(step)
        step.text("name", longest=256)
        step.text("description")
        waits = step_type in WAITING_TYPES
        timeout, timeouts = read_timeouts(step, longest=MAX_DAYS if waits else MAX_TIMEOUT)
        if timeout is None and not waits:
            timeout = self._defaults.timeout
        switch = read_switch(step, inputs) if step_type == "switch" else None
        edges = read_edges(step)
        record = StepRecord(
            pointer=step.pointer,
            id=step_id or "",
            type=step_type,
            edges=edges,
            rule=read_rule(step, edges),
            when=step.text("when"),
            inputs=inputs,
            input_places=places,
            output=step.get("output"),
            output_schema=self._read_schema(step),
            retries=self._policy(retries, waits=waits),
            retry_condition_place=(
                join(step.at("retries"), "when") if retries and "when" in retries else "/defaults/retries/when"
            ),
            timeout=timeout,
            timeouts=timeouts,
            on_error=_read_on_error(step),
            catches=(),
            queue=read_queue(step) or self._defaults.queue,
            priority=step.integer("priority", -MAX_PRIORITY, MAX_PRIORITY) or 0,
            idempotency_key=step.text("idempotency_key"),
            resources=read_resources(step),
            steps=self.read_nested(step) if step_type == "block" else (),
            switch=switch,
            child=child,
        )
        if step_type in CONTAINERS and any(resource.scope == "task" for resource in record.resources):
            name = "locks" if step.get("locks") else "limits"
            message = (
                f"a {step_type} holds nothing while its steps run: name them on the steps, or a lock with the scope"
            )
            step.fault(name, "validation-error", f"{message} `workflow`")
        return None if step_id is None else record

    def _policy(self, retries: Mapping[str, Any] | None, *, waits: bool) -> RetryPolicy | None:
        """A step that waits for other steps, people or times is tried once, unless it says otherwise itself."""
        if waits:
            return RetryPolicy(**(retries if retries is not None else {"max_attempts": 1}))
        policy = {**self._defaults.retries, **(retries or {})}
        return RetryPolicy(**policy) if policy else None

    def _read_schema(self, step: Fields) -> dict[str, Any] | None:
        schema = step.mapping("output_schema")
        if schema is not None:
            self._faults.extend(check_schema(schema, step.at("output_schema")))
        return schema

    def _read_id(self, step: Fields, places: dict[str, str]) -> str | None:
        if step.get("id") is None:
            step.fault("id", "validation-error", "is missing")
            return None
        step_id = step.matching("id", STEP_ID, "invalid-name", "a letter or _, then up to 63 of A-Z a-z 0-9 _ -")
        if step_id is None:
            return None
        alias = step_alias(step_id)
        if alias in CEL_RESERVED:
            step.fault("id", "invalid-name", f"{clipped(step_id)} is reserved in expressions")
        elif alias in places:
            message = f"{clipped(step_id)} is already the id of {places[alias]}"
            if alias != step_id or "-" in step_id:
                message += f" (expressions read both as steps.{alias})"
            step.fault("id", "duplicate-step-id", message)
            return None
        places[alias] = step.pointer
        return step_id

    def _read_type(self, step: Fields) -> str:
        if step.get("type") is None:
            step.fault("type", "validation-error", "is missing")
        step_type = step.text("type") or ""
        if step_type in INTERNAL_TYPES:
            message = f"`{step_type}` is not a type but a field: any step may have it beside its type"
            step.fault("type", "unknown-step-type", message)
        elif (step_type or step.get("type") == "") and step_type not in self._known_types:
            hint = did_you_mean(step_type, self._known_types)
            known = textwrap.shorten(", ".join(self._known_types), 180, placeholder=" …")
            message = f"unknown step type {clipped(step_type)}{hint or ';'} known are {known}"
            step.fault("type", "unknown-step-type", message)
        return step_type

    def _read_inputs(
        self, step: Fields, type_name: str
    ) -> tuple[dict[str, Any] | str | None, dict[str, str], dict[str, Any] | None]:
        """The inputs, the place of each, and the definition of a child; those of a built-in type are checked."""
        built_in = BUILT_IN_TYPES.get(type_name)
        flat, known = _fields_of(type_name)
        if built_in or type_name in self._known_types:
            step.refuse_unknown(known)
        given = step.get("inputs")
        if isinstance(given, str) and is_one_placeholder(given):
            for name in flat:
                if step.get(name) is not None:
                    step.fault(name, "duplicate-property", "cannot be given beside `inputs` that is one template")
            if type_name == "database":
                message = "SQL is never built from templates: the inputs of a database step are an object"
                step.fault("inputs", "sql-interpolation", message)
            return given, {}, None
        inputs = step.mapping("inputs") or {}
        own = {name: step.values[name] for name in flat if name in step.values}
        for name in own.keys() & inputs.keys():
            step.fault(name, "duplicate-property", f"`{name}` stands both here and under `inputs`")
        values = {**own, **inputs}
        places = {**{name: step.at(name) for name in own}, **{name: join(step.at("inputs"), name) for name in inputs}}
        if built_in:
            values = {name: value for name, value in values.items() if not _is_absent(value, name, built_in)}
            own_fields = OwnFields(
                values, places, step.pointer, self._faults, self._warnings, COMMON_FIELDS, self._known.connections
            )
            check_own_fields(built_in, own_fields)
        if type_name == "database" and values.get("transactional") is True and step.get("output") is not None:
            message = (
                "a transactional step is completed by Postgres, which renders no templates: shape it in a transform"
            )
            step.fault("output", "validation-error", message)
        child = values.pop("definition", None) if type_name == "workflow" else None
        return (values if values or given is not None else None), places, child if isinstance(child, dict) else None

    def _read_catches(self, step: Fields) -> tuple[CatchRecord, ...]:
        given = step.get("on_error")
        if not isinstance(given, dict):
            return ()
        part = Fields(given, step.at("on_error"), self._faults)
        part.refuse_unknown(("catch",))
        values = part.items("catch") or []
        if not values:
            part.fault("catch", "validation-error", "needs at least one entry")
        if len(values) > MAX_CATCHES:
            part.fault("catch", "out-of-range", f"has {len(values):,} entries, {MAX_CATCHES} are allowed")
            return ()
        found = []
        for index, value in enumerate(values):
            place = join(part.at("catch"), index)
            if isinstance(value, dict):
                found.append(self._read_catch(Fields(value, place, self._faults)))
            else:
                self._faults.add(place, "validation-error", f"must be an object, not {json_type(value)}")
        return tuple(found)

    def _read_catch(self, entry: Fields) -> CatchRecord:
        entry.refuse_unknown(("errors", "when", "output", "steps"))
        if not entry.get("errors"):
            entry.fault(
                "errors", "validation-error", 'is missing: which errors, such as ["http.404", "timeout"] or ["*"]'
            )
        return CatchRecord(
            pointer=entry.pointer,
            errors=tuple(entry.names("errors", ERROR_PATTERN, ERROR_RULE)),
            when=entry.text("when"),
            output=entry.get("output"),
            steps=self.read_nested(entry) if entry.get("steps") is not None else (),
        )

    def _read_compensation(self, step: Fields, step_id: str | None) -> StepRecord | None:
        part = step.part("compensate")
        if part is None:
            return None
        for name in NOT_IN_COMPENSATIONS:
            if part.get(name) is not None:
                part.fault(name, "unknown-property", f"`{name}` has no meaning in a step that undoes another")
        self._count += 1
        body = {name: value for name, value in part.values.items() if name not in NOT_IN_COMPENSATIONS}
        return self._read(Fields(body, part.pointer, self._faults), f"{step_id}.compensate")


@lru_cache(maxsize=64)
def _fields_of(type_name: str) -> tuple[tuple[str, ...], Mapping[str, None]]:
    """The fields that steps of a type have beside those of all steps, and all that they may have, in order."""
    built_in = BUILT_IN_TYPES.get(type_name)
    flat = tuple(name for name in built_in.fields if name not in COMMON_FIELDS) if built_in else ()
    return flat, dict.fromkeys((*COMMON_FIELDS, *flat, *(built_in.apart if built_in else ())))


def _read_on_error(step: Fields) -> OnError:
    if isinstance(step.get("on_error"), dict):
        return "fail"
    return cast(OnError, step.choice("on_error", ("fail", "continue")) or "fail")


def _is_absent(value: Any, name: str, step_type: StepType) -> bool:
    """null counts as absent, but where a field may have any value."""
    return value is None and step_type.fields.get(name) is not None
