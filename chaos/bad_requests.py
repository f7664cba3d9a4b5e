"""Requests that must be refused, whatever else happens, and change nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

REFUSED = "chaos-refused"  # every definition in them has this name, so that it must never exist

_JSON = MappingProxyType({"Content-Type": "application/json"})


@dataclass(frozen=True, slots=True)
class BadRequest:
    """A request and the statuses with which it may be refused."""

    name: str
    statuses: frozenset[int]
    content: bytes = b""
    path: str = "/api/v1/workflows"
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: _JSON)


def _start(**fields: object) -> bytes:
    return json.dumps({"name": REFUSED, "steps": [{"id": "a", "type": "noop"}], **fields}).encode()


_STEPS = [{"id": "a", "type": "noop", "depends_on": ["b"]}, {"id": "b", "type": "noop", "depends_on": ["a"]}]
_CLIENT_ERRORS = frozenset({400, 422})

BAD_REQUESTS: tuple[BadRequest, ...] = (
    BadRequest("no body", _CLIENT_ERRORS),
    BadRequest("half a body", _CLIENT_ERRORS, _start()[:-10]),
    BadRequest("not UTF-8", _CLIENT_ERRORS, b'{"name": "\xff"}'),
    BadRequest("a NUL", _CLIENT_ERRORS, _start(input={"a": "\0"})),
    BadRequest("half a surrogate pair", _CLIENT_ERRORS, _start().replace(b'"noop"', b'"\\ud800"')),
    BadRequest("no number", _CLIENT_ERRORS, _start().replace(b'"steps"', b'"input": {"a": NaN}, "steps"')),
    BadRequest(
        "an endless number", _CLIENT_ERRORS, _start().replace(b'"steps"', b'"priority": ' + b"9" * 5000 + b', "steps"')
    ),
    BadRequest("a key twice", _CLIENT_ERRORS, _start().replace(b'"steps"', b'"name": "b", "steps"', 1)),
    BadRequest("too deep", _CLIENT_ERRORS, b"[" * 50_000),
    BadRequest("too large", frozenset({413}), _start(input={"a": "x" * 1_100_000})),
    BadRequest("no JSON", frozenset({415}), b"name: x", headers={"Content-Type": "text/plain"}),
    BadRequest("an unknown field", _CLIENT_ERRORS, _start(stepz=[])),
    BadRequest("a circle", _CLIENT_ERRORS, _start(steps=_STEPS)),
    BadRequest("an unknown type", _CLIENT_ERRORS, _start(steps=[{"id": "a", "type": "nobody-has-this"}])),
    BadRequest("no expression", _CLIENT_ERRORS, _start(steps=[{"id": "a", "type": "transform", "value": "${ 1 + }"}])),
    BadRequest("a bad key", frozenset({400}), _start(), headers={**_JSON, "Idempotency-Key": "x" * 300}),
    BadRequest(
        "no workflow", frozenset({404}), method="GET", path="/api/v1/workflows/00000000-0000-7000-8000-000000000000"
    ),
    BadRequest("no id", frozenset({404, 422}), path="/api/v1/workflows/nonsense/cancel"),
    BadRequest("no route", frozenset({404}), method="GET", path="/api/v1/../etc/passwd"),
    BadRequest("no method", frozenset({405}), method="DELETE", path="/api/v1/workflows"),
    BadRequest("no parameter", frozenset({422}), method="GET", path="/api/v1/workflows?limit=-1"),
)
