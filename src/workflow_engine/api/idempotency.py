"""The header `Idempotency-Key`, wherever it is taken."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request

from workflow_engine.errors import RequestRefused

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def key_header(description: str) -> dict[str, Any]:
    """The header, for the OpenAPI document of an operation; `description` says what a repetition does."""
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": description,
        "example": "7d0f5a3c-1f1c-4c55-9d55-5f9f9d3f2f10",
    }


def read_key(request: Request) -> str | None:
    """The key of a request, None where it has none.

    Raises:
        RequestRefused: It is none that is accepted.
    """
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]) or not given[0].strip():
        raise RequestRefused(
            "invalid-idempotency-key", "Idempotency-Key is one text of 1 to 255 printable ASCII characters."
        )
    return given[0]
