"""A definition document as typed records: every field read, every fault noted with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflow_engine.definition.endings import read_ending
from workflow_engine.definition.faults import Faults, clipped, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.input_schema import check_schema, validate_input
from workflow_engine.definition.known import Known
from workflow_engine.definition.limits import MAX_DAYS, MAX_LABEL_VALUE, MAX_LABELS, MAX_PRIORITY
from workflow_engine.definition.plan import StepKind
from workflow_engine.definition.schedules import read_schedules
from workflow_engine.definition.step_policies import read_defaults
from workflow_engine.definition.step_records import StepRecord
from workflow_engine.definition.steps import StepReader
from workflow_engine.definition.workflow_fields import (
    read_budget,
    read_concurrency,
    read_idempotency,
    read_retention,
)
from workflow_engine.definition.workflow_plan import Budget, Concurrency, Idempotency, Retention, Schedule
from workflow_engine.errors import InputInvalid

SPEC = "1"
RESERVED_NAMES = frozenset(
    {"running", "versions", "orphaned", "reload", "recover-orphaned", "search", "events", "batch", "bulk", "validate"}
)
"""Words that stand where a name would stand in the API's paths."""

NAME = re.compile(r"[a-z][a-z0-9_-]{0,127}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}")
TOP_FIELDS = (
    "$schema",
    "name", "spec", "description", "labels", "vars", "defaults", "input_schema", "steps", "fail_fast", "priority",
    "output", "timeout", "on_failure", "on_exit", "idempotency", "concurrency", "schedule", "budget", "retention",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A document as written.

    Attributes:
        default_retry_condition: `defaults.retries.when`.
        steps: The workflow's own.
        ending: What follows them, with its kinds: handlers and the output.
    """

    name: str
    labels: dict[str, str]
    vars: dict[str, Any]
    input_schema: dict[str, Any] | None
    fail_fast: bool
    priority: int
    default_retry_condition: str | None
    steps: tuple[StepRecord, ...]
    ending: tuple[tuple[StepKind, StepRecord], ...]
    timeout: float | None
    idempotency: Idempotency | None
    concurrency: tuple[Concurrency, ...]
    schedule: tuple[Schedule, ...]
    budget: Budget | None
    retention: Retention | None


def read_document(document: Mapping[str, Any], known: Known, faults: Faults, warnings: Faults) -> DocumentRecord:
    """Read a document. What it returns is whole only if no fault was noted.

    Args:
        document: JSON data that `check_values` accepted.
        known: What it may name.
        faults: Takes what is wrong.
        warnings: Takes what is allowed but probably not meant.
    """
    top = Fields(document, "", faults)
    top.refuse_unknown(TOP_FIELDS)
    top.choice("spec", (SPEC,))
    top.text("description")
    top.text("$schema")
    constants = top.mapping("vars") or {}
    _warn_of_placeholders(constants, top.at("vars"), warnings)
    schema = top.mapping("input_schema")
    if schema is not None:
        faults.extend(check_schema(schema, top.at("input_schema")))
    schedule = read_schedules(top)
    if schema is not None and not faults:
        _check_scheduled_inputs(schema, schedule, top)
    defaults = read_defaults(top)
    steps = StepReader(defaults, known, faults, warnings)
    return DocumentRecord(
        name=read_name(top),
        labels=read_labels(top),
        vars=constants,
        input_schema=schema,
        fail_fast=top.boolean("fail_fast") is not False,
        priority=top.integer("priority", -MAX_PRIORITY, MAX_PRIORITY) or 0,
        default_retry_condition=defaults.retries.get("when"),
        steps=(own := steps.read_list(top)),
        ending=read_ending(top, defaults, steps, own),
        timeout=top.duration("timeout", most=MAX_DAYS),
        idempotency=read_idempotency(top, warnings),
        concurrency=read_concurrency(top),
        schedule=schedule,
        budget=read_budget(top),
        retention=read_retention(top),
    )


def _check_scheduled_inputs(schema: dict[str, Any], schedules: tuple[Schedule, ...], top: Fields) -> None:
    """A workflow that starts by itself has nobody who would be told that its input is wrong."""
    for index, schedule in enumerate(schedules):
        given = {} if schedule.input is None else schedule.input
        try:
            validate_input(schema, given, join(top.at("schedule"), index, "input"))
        except InputInvalid as error:
            top.faults.add_from("", error)


def read_name(top: Fields) -> str:
    if top.get("name") is None:
        top.fault("name", "validation-error", "is missing")
        return ""
    name = top.matching("name", NAME, "invalid-name", "a lower-case letter, then up to 127 of a-z 0-9 _ -") or ""
    if name in RESERVED_NAMES:
        top.fault("name", "invalid-name", f"{clipped(name)} is reserved")
    return name


def read_labels(top: Fields) -> dict[str, str]:
    labels = top.mapping("labels") or {}
    if len(labels) > MAX_LABELS:
        top.fault("labels", "too-many-labels", f"has {len(labels):,} labels, {MAX_LABELS} are allowed")
        return {}
    part = Fields(labels, top.at("labels"), top.faults)
    for name in labels:
        if not _LABEL.fullmatch(name):
            part.fault(
                name, "invalid-name", "a label's name is a letter or digit, then up to 127 of A-Z a-z 0-9 _ . / -"
            )
        elif labels[name] is None:
            part.fault(name, "validation-error", "must be a string, not null")
        else:
            part.text(name, longest=MAX_LABEL_VALUE)
    return labels


def _warn_of_placeholders(value: Any, pointer: str, warnings: Faults) -> None:
    if isinstance(value, str) and "${" in value:
        warnings.add(pointer, "not-a-template", "`vars` are constants: ${ } is not evaluated here")
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _warn_of_placeholders(item, join(pointer, key), warnings)
