"""Compiles definitions whose task types need not be known to anyone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.faults import Faults
from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.errors import DefinitionInvalid


def compile_anything(document: Any, pointer: str = "") -> CompiledDefinition:
    """Compile a definition whatever its task types are.

    Raises:
        DefinitionInvalid: It is refused all the same; places begin with `pointer`.
    """
    try:
        return compile_definition(document, task_types=set(_types(document)))
    except DefinitionInvalid as error:
        faults = Faults()
        faults.add_from(pointer, error)
        raise DefinitionInvalid(faults.found) from error


def _types(document: Any) -> Iterator[str]:
    """Everything that may be a task type somewhere in a document; too many do no harm."""
    todo = [document]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            if isinstance(value.get("type"), str):
                yield value["type"]
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
