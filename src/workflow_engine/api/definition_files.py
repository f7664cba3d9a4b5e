"""Files that hold a definition: JSON or YAML by their suffix, read as strictly as a body."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workflow_engine.api.decoding import decode, decode_yaml
from workflow_engine.definition.scope import json_type
from workflow_engine.errors import DefinitionInvalid, Fault

SUFFIXES = frozenset({".json", ".yaml", ".yml"})


def read_file(path: Path, *, limit: int) -> dict[str, Any]:
    """The document in a file; what it means is not looked at. A file of another suffix is taken for YAML.

    Args:
        path: The file.
        limit: Most bytes.

    Raises:
        DefinitionInvalid: It cannot be read, or holds no object.
        InputInvalid: It holds what JSON cannot keep exactly.
        RequestRefused: It is no JSON.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise file_fault("file-unreadable", f"it cannot be read: {error.strerror}") from error
    if len(raw) > limit:
        raise file_fault("payload-too-large", f"it is larger than {limit:,} bytes")
    document: Any
    document = decode(raw, what="The file") if path.suffix.lower() == ".json" else decode_yaml(raw, limit=limit)
    if not isinstance(document, dict):
        raise file_fault("validation-error", f"it must be an object, not {json_type(document)}")
    return document


def file_fault(code: str, message: str) -> DefinitionInvalid:
    """The error that says one thing about a whole file."""
    return DefinitionInvalid([Fault("", code, message)])
