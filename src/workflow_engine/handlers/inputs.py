"""Reads the inputs of a built-in handler into a model of its own."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from workflow_engine.definition.durations import parse_duration
from workflow_engine.errors import InputInvalid, TaskError


class Inputs(BaseModel):
    """Base of all input models.

    An unknown field is an error, because a typo must not be silent. An optional field that is null counts as absent,
    as everywhere in a definition.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            name: value
            for name, value in values.items()
            if value is not None or name not in fields or fields[name].is_required()
        }


M = TypeVar("M", bound=Inputs)


def _seconds(value: object) -> float:
    try:
        return parse_duration(value)
    except InputInvalid as error:
        raise ValueError(error.faults[0].message) from error


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
"""A duration as people write it, in seconds."""


def parse_inputs(model: type[M], inputs: dict[str, Any]) -> M:
    """Validate rendered inputs.

    Raises:
        TaskError: `validation`, not retryable. Names each place as a JSON Pointer, never the value: it may be secret.
    """
    try:
        return model.model_validate(inputs)
    except ValidationError as error:
        faults = [
            {"pointer": "".join(f"/{part}" for part in problem["loc"]), "message": problem["msg"]}
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        message = "; ".join(f"{fault['pointer'] or 'inputs'}: {fault['message']}" for fault in faults[:3])
        raise invalid(message, errors=faults) from error


def invalid(message: str, **details: Any) -> TaskError:
    """The error of inputs that no other attempt can mend."""
    return TaskError("validation", message, retryable=False, details=details)
