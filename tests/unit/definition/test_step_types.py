"""The fields checked at submit are those the handlers read."""

import pytest

from workflow_engine.definition.step_types import BUILT_IN_TYPES
from workflow_engine.handlers.agent import AgentInputs
from workflow_engine.handlers.basic import FailInputs, TransformInputs
from workflow_engine.handlers.database import DatabaseInputs
from workflow_engine.handlers.http import HttpInputs
from workflow_engine.handlers.inputs import Inputs
from workflow_engine.handlers.llm_inference import LlmInputs

BARE_EXPRESSIONS = {"expression", "success_when"}
"""Compiled before a handler sees its inputs, or evaluated after it."""


@pytest.mark.parametrize(
    ("step_type", "model"),
    [
        ("http", HttpInputs),
        ("agent", AgentInputs),
        ("llm_inference", LlmInputs),
        ("database", DatabaseInputs),
        ("transform", TransformInputs),
        ("fail", FailInputs),
        ("noop", Inputs),
    ],
)
def test_every_type_has_the_fields_of_its_handler(step_type: str, model: type[Inputs]) -> None:
    assert BUILT_IN_TYPES[step_type].fields.keys() - BARE_EXPRESSIONS == model.model_fields.keys()
