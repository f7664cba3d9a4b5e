"""What the expressions of a step read: checked at submit, so that a bad reference is refused and never runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workflow_engine.definition.database_fields import STATEMENT_FIELDS
from workflow_engine.definition.expressions import Expression, compile_expression
from workflow_engine.definition.faults import Faults, did_you_mean, join
from workflow_engine.definition.scope import COMMON_VARIABLES, misuses, step_alias, steps_read
from workflow_engine.definition.steps import StepRecord
from workflow_engine.definition.templates import Placeholder, split
from workflow_engine.errors import InputInvalid


@dataclass(slots=True)
class Reads:
    """What the expressions of one step read.

    Attributes:
        steps: Positions of the steps.
        uses_input: Whether one reads `input`.
    """

    steps: set[int] = field(default_factory=set)
    uses_input: bool = False


class ExpressionReader:
    """Reads the expressions of one document."""

    def __init__(self, positions: Mapping[str, int], faults: Faults) -> None:
        """
        Args:
            positions: Of the steps, by id.
            faults: Takes what is wrong: `invalid-template`, or `unknown-dependency` for a step that does not exist.
        """
        self._aliases = {step_alias(step_id): position for step_id, position in positions.items()}
        self._faults = faults

    def read_default_condition(self, condition: str | None) -> None:
        """Check `defaults.retries.when`. It applies to every step, so it cannot read any of them."""
        if condition is not None:
            variables = ("input", "vars", "workflow", "error")
            self._bare("/defaults/retries/when", condition, variables, Reads(), condition=True)

    def read(self, step: StepRecord) -> Reads:
        """Check all expressions of a step and gather what they read."""
        reads = Reads()
        if step.when is not None:
            self._bare(join(step.pointer, "when"), step.when, COMMON_VARIABLES, reads, condition=True)
        if step.retries is not None and step.retries.when is not None:
            self._retry_condition(step, step.retries.when, reads)
        self._template(join(step.pointer, "output"), step.output, (*COMMON_VARIABLES, "result"), reads)
        self._template(join(step.pointer, "idempotency_key"), step.idempotency_key, COMMON_VARIABLES, reads)
        if not isinstance(step.inputs, dict):
            self._template(join(step.pointer, "inputs"), step.inputs, COMMON_VARIABLES, reads)
            return reads
        for name, value in step.inputs.items():
            self._check_key(name, step.input_places[name])
            if step.type == "transform" and name == "expression":
                if isinstance(value, str):
                    self._bare(step.input_places[name], value, COMMON_VARIABLES, reads)
            elif step.type == "database" and name in STATEMENT_FIELDS:
                self._statement_parameters(step.input_places[name], value, reads)
            else:
                self._template(step.input_places[name], value, COMMON_VARIABLES, reads)
        return reads

    def _statement_parameters(self, place: str, statements: Any, reads: Reads) -> None:
        """Of a list of statements only the parameters: `${` in SQL has been refused with a better reason."""
        for index, one in enumerate(statements if isinstance(statements, list) else ()):
            if isinstance(one, dict) and "params" in one:
                self._template(join(place, index, "params"), one["params"], COMMON_VARIABLES, reads)

    def _retry_condition(self, step: StepRecord, condition: str, reads: Reads) -> None:
        if step.retry_condition_place.startswith(step.pointer):
            variables = (*COMMON_VARIABLES, "error")
            self._bare(step.retry_condition_place, condition, variables, reads, condition=True)
            return
        try:
            # The default, whose faults were noted once; it reads no steps.
            references = compile_expression(condition).references
        except InputInvalid:
            return
        reads.uses_input |= references.reads("input")

    def _bare(
        self, place: str, text: str, variables: tuple[str, ...], reads: Reads, *, condition: bool = False
    ) -> None:
        """An expression without `${ }`; a condition must be able to give true or false."""
        if text.lstrip().startswith("${"):
            self._faults.add(place, "invalid-template", "this place takes a bare expression: leave out the ${ }")
            return
        expression = self._expression(place, text, variables, reads)
        if condition and expression is not None and not expression.can_be_bool:
            self._faults.add(place, "invalid-template", "a condition must give true or false")

    def _template(self, place: str, value: Any, variables: tuple[str, ...], reads: Reads) -> None:
        if isinstance(value, str):
            if "${" in value:
                self._string(place, value, variables, reads)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._template(join(place, index), item, variables, reads)
        elif isinstance(value, dict):
            for key, item in value.items():
                self._check_key(key, join(place, key))
                self._template(join(place, key), item, variables, reads)

    def _check_key(self, key: str, place: str) -> None:
        if "${" in key:
            message = "keys are not templates: build the object in an expression"
            self._faults.add(place, "invalid-template", message)

    def _string(self, place: str, text: str, variables: tuple[str, ...], reads: Reads) -> None:
        try:
            parts = split(text)
        except InputInvalid as error:
            self._faults.add_from(place, error)
            return
        for part in parts:
            if isinstance(part, Placeholder):
                self._expression(place, part.expression, variables, reads)

    def _expression(self, place: str, text: str, variables: tuple[str, ...], reads: Reads) -> Expression | None:
        if self._faults.full:
            return None
        try:
            expression = compile_expression(text)
        except InputInvalid as error:
            self._faults.add(place, "invalid-template", f"`{text[:80]}`: {error.faults[0].message}")
            return None
        for message in misuses(expression.references, variables):
            self._faults.add(place, "invalid-template", f"`{text[:80]}`: {message}")
        for name in sorted(steps_read(expression.references)):
            if step_alias(name) not in self._aliases:
                message = f"`{text[:80]}`: there is no step `{name}`{did_you_mean(name, self._aliases)}"
                self._faults.add(place, "unknown-dependency", message)
        self._gather(expression, reads)
        return expression

    def _gather(self, expression: Expression, reads: Reads) -> None:
        for name in steps_read(expression.references):
            if (position := self._aliases.get(step_alias(name))) is not None:
                reads.steps.add(position)
        reads.uses_input |= expression.references.reads("input")
