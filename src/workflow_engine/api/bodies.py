"""Reading bodies: within limits of size and time, of the type they say they are."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from fastapi import Request

from workflow_engine.api.decoding import decode, decode_yaml
from workflow_engine.api.services import services
from workflow_engine.definition.faults import Faults, clipped, join
from workflow_engine.definition.fields import Fields
from workflow_engine.definition.scope import json_type
from workflow_engine.errors import Fault, InputInvalid, RequestRefused

_YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_DRAIN_BYTES = 8 * 1024 * 1024


async def read_json(request: Request, *, limit: int) -> Any:
    """The body as JSON data.

    Args:
        limit: Most bytes.

    Raises:
        RequestRefused: It is absent, too large, of another type, or no JSON.
        InputInvalid: It is JSON that cannot be kept exactly.
    """
    raw = await _read(request, limit)
    if not raw:
        raise RequestRefused("malformed-json", "The body is empty; a JSON object is needed.")
    _check_type(request)
    return decode(raw)


async def read_document(request: Request, *, limit: int) -> Any:
    """The same, or YAML where the Content-Type says so: what holds a definition is written by people.

    Raises:
        DefinitionInvalid: It is no YAML, or YAML that could be read in two ways.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _YAML and not media_type.endswith("+yaml"):
        return await read_json(request, limit=limit)
    raw = await _read(request, limit)
    if not raw.strip():
        raise RequestRefused("malformed-yaml", "The body is empty; a YAML object is needed.")
    return await asyncio.to_thread(decode_yaml, raw, limit=limit)


async def read_optional_json(request: Request, *, limit: int) -> Any:
    """The same where a body is not needed: None when it is empty, whatever its type is said to be."""
    raw = await _read(request, limit)
    if not raw:
        return None
    _check_type(request)
    return decode(raw)


async def read_fields(request: Request, known: tuple[str, ...], *, limit: int) -> Fields:
    """The fields of a body that may be empty; unknown ones are refused."""
    body = await read_optional_json(request, limit=limit)
    if body is not None and not isinstance(body, dict):
        raise InputInvalid([Fault("", "validation-error", f"must be an object, not {json_type(body)}")])
    fields = Fields(body or {}, "", Faults())
    fields.refuse_unknown(known)
    if fields.faults:
        raise InputInvalid(fields.faults.found)
    return fields


async def take_no_other_body(request: Request) -> None:
    """A dependency of all routes: those that take no body get none, or an empty object. It would be ignored in silence.

    Raises:
        InputInvalid: There is something in it.
    """
    declared = getattr(request.scope.get("route"), "openapi_extra", None) or {}
    if request.method not in _WITHOUT_BODY and "requestBody" not in declared:
        await read_fields(request, (), limit=services(request).settings.max_payload_bytes)


def read_texts(fields: Fields, name: str, *, most: int) -> list[str] | None:
    """The strings of a list in a body; None when it is absent. What is wrong is noted with the fields."""
    values = fields.items(name)
    if values is not None and len(values) > most:
        fields.fault(name, "out-of-range", f"has more than {most:,} items")
        return None
    for index, value in enumerate(values or ()):
        if not isinstance(value, str):
            place = join(fields.at(name), index)
            fields.faults.add(place, "validation-error", f"must be a string, not {json_type(value)}")
    return values


async def _read(request: Request, limit: int) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        await _drain(request)
        raise RequestRefused(
            "unsupported-media-type",
            f"Bodies encoded as {clipped(encoding)} are not accepted.",
            hint="Send the body without Content-Encoding.",
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        await _drain(request)
        raise _too_large(limit)
    chunks = bytearray()
    seconds = services(request).settings.request_timeout
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                chunks += chunk
                if len(chunks) > limit:
                    await _drain(request)
                    raise _too_large(limit)
    except TimeoutError as error:
        raise RequestRefused("request-timeout", f"The body did not arrive within {seconds:g} s.") from error
    return bytes(chunks)


async def _drain(request: Request) -> None:
    """Take in what a client is still sending, within reason: it reads our answer only after that."""
    if "expect" in request.headers:
        return  # it waits for our word before it sends
    seen = 0
    try:
        async with asyncio.timeout(2):
            while seen < _DRAIN_BYTES:
                message = await request.receive()
                seen += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(
        "payload-too-large",
        f"The body is larger than {limit:,} bytes.",
        hint="Store large data elsewhere and pass a reference; WORKFLOW_MAX_PAYLOAD_BYTES is the limit.",
    )


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type", "")
    media_type, _, parameters = given.partition(";")
    media_type = media_type.strip().lower()
    charset = re.search(r'charset\s*=\s*"?([^\s";]+)', parameters.lower())
    if media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json")):
        if charset is None or charset[1] in ("utf-8", "utf8", "us-ascii"):
            return
        raise RequestRefused("unsupported-media-type", f"JSON is UTF-8, not {clipped(charset[1])}.")
    said = f"is {clipped(given)}" if given else "has no Content-Type"
    raise RequestRefused(
        "unsupported-media-type",
        f'The body {said}; it must be JSON: add -H "Content-Type: application/json".',
    )
