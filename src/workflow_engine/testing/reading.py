"""Reads what a trial is asked with: a body of the API, the arguments of the fixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from workflow_engine.definition.faults import Faults, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.input_schema import validate_input
from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.errors import InputInvalid
from workflow_engine.testing.compiling import compile_anything
from workflow_engine.testing.given import GivenOutputs, read_approvals, read_signals
from workflow_engine.testing.trial import Trial

FIELDS = ("input", "outputs", "signals", "approvals", "definitions", "now")
"""What a trial may be given beside the definition."""


def read_trial(document: Mapping[str, Any], given: Mapping[str, Any], *, pointer: str = "") -> Trial:
    """A trial of a definition.

    Task types need not be known to anyone: what they do is given.

    Args:
        document: The definition.
        given: The fields of `FIELDS`; others are not looked at.
        pointer: Where the definition stands, for the places of its faults.

    Raises:
        DefinitionInvalid: The definition, or one of `definitions`, is refused.
        InputInvalid: Something that is given makes no sense, or the input does not fit the definition.
    """
    definition = compile_anything(document, pointer)
    faults = Faults()
    fields = Fields(given, "", faults)
    signals = read_signals(fields.items("signals") or [], "/signals", faults)
    approvals = read_approvals(fields.items("approvals") or [], "/approvals", faults)
    outputs = fields.mapping("outputs") or {}
    children = fields.items("definitions") or []
    now = _moment(fields, "now")
    if faults:
        raise InputInvalid(faults.found)
    input = {} if given.get("input") is None else given["input"]
    schema = definition.plan.input_schema
    validate_input(schema if isinstance(schema, dict) else None, input, "/input")
    return Trial(
        definition,
        input=input,
        outputs=GivenOutputs(outputs, "/outputs"),
        signals=signals,
        approvals=approvals,
        now=now,
        children=_children(children),
    )


def _children(documents: Sequence[Any]) -> dict[str, CompiledDefinition]:
    compiled = [compile_anything(document, join("/definitions", index)) for index, document in enumerate(documents)]
    return {definition.name: definition for definition in compiled}


def _moment(fields: Fields, name: str) -> datetime | None:
    text = fields.text(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 1970 <= moment.year <= 9000:
        fields.fault(name, "validation-error", "must be a time with its zone, such as 2026-01-31T12:00:00Z")
        return None
    return moment
