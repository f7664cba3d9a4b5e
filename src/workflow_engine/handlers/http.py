"""`http`: one request. See docs/handlers.md for its inputs and outputs."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import httpx
import orjson
from pydantic import AfterValidator, Field, model_validator

from workflow_engine.definition.faults import Faults
from workflow_engine.definition.http_request import METHODS, check_headers
from workflow_engine.handlers.base import Handle, TaskContext
from workflow_engine.handlers.http_client import CONNECT_TIMEOUT, Reply, as_header, build_request, exchange
from workflow_engine.handlers.inputs import Inputs, Seconds, invalid, parse_inputs
from workflow_engine.settings import Settings

ORIGINAL_URL = "X-Original-URL"
"""Header that tells a mock of every HTTP target which URL was meant."""

_URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"  # left as they are

_TEXT_TYPES = ("application/xml", "application/javascript", "application/x-www-form-urlencoded", "application/x-ndjson")


def _accepted_method(method: str) -> str:
    if method.upper() not in METHODS:
        raise ValueError(f"must be one of {', '.join(METHODS)}")
    return method.upper()


def _allowed_headers(headers: dict[str, Any]) -> dict[str, str]:
    # The same rules as at submit: a template may have brought a header that could not be seen then.
    faults = Faults()
    check_headers(headers, "", faults)
    if faults:
        raise ValueError("; ".join(f"{fault.pointer} {fault.message}" for fault in faults.found))
    return {name: str(value) for name, value in headers.items()}


def _flat_query(query: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in query.items() if value is not None}
    for name, value in given.items():
        if not all(isinstance(one, str | int | float) for one in (value if isinstance(value, list) else [value])):
            raise ValueError(f"`{name}` must be text, a number, true or false, or a list of these")
    return given


class Basic(Inputs):
    username: str
    password: str


class Auth(Inputs):
    """Exactly one way to prove who asks."""

    basic: Basic | None = None
    bearer: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Auth:
        if (self.basic is None) == (self.bearer is None):
            raise ValueError("give either `basic` or `bearer`")
        return self

    @property
    def header(self) -> str:
        if self.basic is None:
            return f"Bearer {self.bearer}"
        pair = f"{self.basic.username}:{self.basic.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


class Timeouts(Inputs):
    """Seconds for parts of the exchange. The attempt's own timeout bounds all of it."""

    connect: Seconds = CONNECT_TIMEOUT
    read: Seconds | None = None  # longest silence while waiting for the answer's next bytes


class HttpInputs(Inputs):
    method: Annotated[str, AfterValidator(_accepted_method)] = "GET"
    url: str = Field(min_length=1)
    headers: Annotated[dict[str, Any], AfterValidator(_allowed_headers)] = Field(default_factory=dict)
    query: Annotated[dict[str, Any], AfterValidator(_flat_query)] = Field(default_factory=dict)
    body: Any = None
    auth: Auth | None = None
    timeouts: Timeouts = Timeouts()


def http_handler(settings: Settings, http: httpx.AsyncClient) -> Handle:
    """The handler of `http`."""

    async def handle(inputs: dict[str, Any], ctx: TaskContext) -> dict[str, Any]:
        request = _request(http, parse_inputs(HttpInputs, inputs), ctx, settings.mock_http_url)
        trusted = bool(settings.mock_http_url)
        reply = await exchange(http, request, max_bytes=settings.max_payload_bytes, trusted=trusted)
        ctx.log.debug("http answered", status=reply.status, bytes=len(reply.content))
        if ctx.accepts is None:
            reply.require_success()
        result = {"status": reply.status, "headers": dict(reply.headers), "body": _body(reply)}
        if ctx.accepts is not None and not ctx.accepts(result):
            reply.require_success()
            raise reply.refused("is no success by `success_when`")
        return result

    return handle


def _request(http: httpx.AsyncClient, wanted: HttpInputs, ctx: TaskContext, mock_url: str) -> httpx.Request:
    headers = httpx.Headers({"Idempotency-Key": as_header(ctx.idempotency_key)})
    own = httpx.Headers(wanted.headers, encoding="utf-8")
    content, content_type = _encoded(wanted.body, own.get("Content-Type"))
    if content_type is not None:
        headers["Content-Type"] = content_type
    if wanted.auth is not None:
        headers.update(httpx.Headers({"Authorization": wanted.auth.header}, encoding="utf-8"))
    headers.update(own)  # what the author set wins
    if mock_url:
        headers[ORIGINAL_URL] = quote(wanted.url, safe=_URL_CHARACTERS)
    request = build_request(
        http,
        wanted.method,
        mock_url or wanted.url,
        headers=headers,
        content=content,
        timeout=httpx.Timeout(None, connect=wanted.timeouts.connect, read=wanted.timeouts.read),
    )
    request.url = request.url.copy_merge_params(wanted.query)
    return request


def _encoded(body: Any, content_type: str | None) -> tuple[bytes | None, str | None]:
    """The bytes of a body, and the content type to set where the author set none."""
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode(), content_type or "text/plain; charset=utf-8"
    if isinstance(body, dict) and content_type is not None and "x-www-form-urlencoded" in content_type:
        return urlencode(body, doseq=True).encode(), content_type
    if _is_binary(body) and "json" not in (content_type or ""):
        try:
            return base64.b64decode(body["base64"], validate=True), content_type or "application/octet-stream"
        except binascii.Error as error:
            raise invalid(f"/body/base64: {error}") from error
    return orjson.dumps(body), content_type or "application/json"


def _is_binary(body: Any) -> bool:
    return isinstance(body, dict) and body.keys() == {"base64"} and isinstance(body["base64"], str)


def _body(reply: Reply) -> Any:
    """JSON by its content type, else text where it is text, else `{"base64": ...}`; None when it is empty."""
    if not reply.content:
        return None
    media_type = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        return reply.json()
    if _is_text(media_type, reply.content) and "\x00" not in reply.text:
        return reply.text
    return {"base64": base64.b64encode(reply.content).decode()}


def _is_text(media_type: str, content: bytes) -> bool:
    if media_type:
        return media_type.startswith("text/") or media_type.endswith("+xml") or media_type in _TEXT_TYPES
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
