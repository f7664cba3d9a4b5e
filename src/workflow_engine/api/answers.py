"""Answers that are JSON: encoded once, ended by a newline so that a shell's prompt is not glued to them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import Request, Response

from workflow_engine.errors import Fault, InputInvalid

API = "/api/v1"

MEDIA_TYPES = {
    "mermaid": "text/vnd.mermaid",
    "dot": "text/vnd.graphviz",
    "svg": "image/svg+xml",
    "yaml": "application/yaml",
    "text": "text/plain",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
}
"""Of the answers that are not JSON, by the value of `?format=` that asks for them."""


def json_answer(
    request: Request, content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`content` as JSON; `?pretty` indents it."""
    return Response(dump(content, pretty=is_pretty(request)), status, headers, media_type="application/json")


def text_answer(content: str, media_type: str) -> Response:
    """An answer for people or for other tools, in UTF-8."""
    return Response(content.encode(), headers={"Content-Type": f"{media_type}; charset=utf-8"})


def dump(content: Any, *, pretty: bool = False) -> bytes:
    """JSON with a newline at its end; times in UTC."""
    option = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC
    return orjson.dumps(content, option=option | orjson.OPT_INDENT_2 if pretty else option)


def is_pretty(request: Request) -> bool:
    """Whether `?pretty` is given and not `false`."""
    return request.query_params.get("pretty", "false").lower() not in ("false", "0", "no")


def next_link(request: Request, position: object) -> dict[str, str]:
    """The header that leads to the page after the item at `position`."""
    return {"Link": f'<{next_path(request, position)}>; rel="next"'}


def next_path(request: Request, position: object) -> str:
    """The path and query of the page after the item at `position`."""
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return f"{request.url.path}?{urlencode([*query, ('cursor', cursor_of(position))])}"


def cursor_of(position: object) -> str:
    """The cursor of the page after the item at `position`."""
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> str:
    """The position in a cursor that `next_link` made.

    Raises:
        InputInvalid: It did not.
    """
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError) as error:
        message = "Parameter cursor: take it from the Link header of the page before"
        raise InputInvalid([Fault("", "invalid-parameter", message)], message) from error
