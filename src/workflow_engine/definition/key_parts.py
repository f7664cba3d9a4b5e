"""Keys that Postgres renders when a workflow starts: literal text and plain paths, nothing that needs evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflow_engine.definition.cel_tree import Path
from workflow_engine.definition.expressions import compile_expression
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.templates import Placeholder, split
from workflow_engine.definition.workflow_plan import KeyParts
from workflow_engine.errors import InputInvalid

MAX_KEY_LENGTH = 500
"""Characters of a key as written."""

_RULE = "a key holds plain paths only, such as ${ input.order_id }, ${ vars.x } or ${ workflow.labels.team }"


def read_key(fields: Fields, name: str = "key") -> KeyParts:
    """The parts of a key; empty when it is missing or wrong."""
    text = fields.text(name, longest=MAX_KEY_LENGTH)
    if fields.get(name) is None:
        fields.fault(name, "validation-error", "is missing")
    if text is None:
        return ()
    if not text.strip():
        fields.fault(name, "validation-error", "must not be empty")
        return ()
    try:
        parts = split(text)
    except InputInvalid as error:
        fields.faults.add_from(fields.at(name), error)
        return ()
    found: list[Mapping[str, Any]] = []
    for part in parts:
        if isinstance(part, Placeholder):
            path = _path(part.expression)
            if path is None:
                message = f"`{part.expression[:80]}` is more than that: {_RULE}, as it is read when the workflow starts"
                fields.fault(name, "invalid-template", message)
                return ()
            found.append({"path": list(path)})
        else:
            found.append({"text": part})
    return tuple(found)


def _path(expression: str) -> Path | None:
    try:
        path = compile_expression(expression).references.path
    except InputInvalid:
        return None
    if path is None or not all(isinstance(name, str) for name in path):
        return None
    below = path[2:] if path[:2] == ("workflow", "labels") else path[1:] if path[0] in ("input", "vars") else ()
    return path if below else None
