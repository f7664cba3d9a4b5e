"""From the result of a step to the output that is stored: shaped by `output`, held against `output_schema`, encoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_engine.definition.input_schema import validate_input
from workflow_engine.definition.templates import Template
from workflow_engine.errors import InputInvalid, TaskError
from workflow_engine.execution.attempt import Attempt
from workflow_engine.execution.completions import completion
from workflow_engine.handlers.base import Outcome
from workflow_engine.handlers.output import encode_output
from workflow_engine.records import Completion
from workflow_engine.states import AttemptOutcome

_SHOWN_FAULTS = 3


def succeeded(
    attempt: Attempt, result: Outcome, template: Template | None, inside: Mapping[str, Any] | None = None
) -> Completion:
    """The completion of an attempt that gave a result.

    Args:
        template: What shapes the result; None = it is the output.
        inside: Results of steps inside the attempt's own, which the template sees beside the others.

    Raises:
        TaskError: `expression`, `output_invalid`, `serialization_error` or `payload_too_large`.
    """
    output = result.output
    if template is not None:
        steps = {**attempt.names["steps"], **(inside or {})}
        output = template.render({**attempt.names, "steps": steps, "result": output})
    encoded = encode_output(output, attempt.limits.payload_bytes)
    if result.record is not None:
        encode_output(result.record, attempt.limits.payload_bytes, what="record")
    if attempt.step.output_schema is not None:
        _check(attempt.step.output_schema, output)
    return completion(attempt, AttemptOutcome.SUCCEEDED, output=encoded, record=result.record, effects=result.effects)


def _check(schema: Mapping[str, Any], output: Any) -> None:
    try:
        validate_input(schema, output, pointer="")
    except InputInvalid as error:
        faults = [{"pointer": fault.pointer, "message": fault.message} for fault in error.faults]
        shown = "; ".join(f"{fault['pointer'] or 'it'}: {fault['message']}" for fault in faults[:_SHOWN_FAULTS])
        raise TaskError(
            "output_invalid", f"The output does not fit `output_schema`: {shown}", details={"errors": faults}
        ) from error
