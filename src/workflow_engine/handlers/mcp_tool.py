"""One call of an MCP tool over streamable HTTP. Needs the extra `mcp`: import this module lazily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import httpx
import httpx2
import orjson
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    RequestParamsMeta,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, PARSE_ERROR
from pydantic import ValidationError

from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import TaskContext
from workflow_engine.handlers.http_client import Reply, build_request, exchange, response_invalid, same_origin
from workflow_engine.handlers.output import storable_text

_PASSES_BY_ITSELF = frozenset({CONNECTION_CLOSED, INTERNAL_ERROR, PARSE_ERROR})
_IDEMPOTENCY_KEY = "workflow-engine/idempotency-key"  # MCP has no name of its own for it
_METHOD_NOT_ALLOWED = 405
_LONGEST_MESSAGE = 2000
_MEDIA_TYPES = frozenset({"application/json", "text/event-stream"})
_OWN_HEADERS = frozenset({"host", "user-agent", "accept-encoding", "connection", "content-length"})
_BODY_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})  # `exchange` has inflated it


async def call_mcp_tool(
    url: str,
    tool: str,
    arguments: dict[str, Any],
    *,
    headers: Mapping[str, str],
    trusted: bool,
    ctx: TaskContext,
    http: httpx.AsyncClient,
    max_bytes: int,
) -> Any:
    """Open a session, call the tool, close the session.

    The server may not ask anything back (sampling, elicitation): nobody is there who could answer. The call carries the
    task's idempotency key in its `_meta`. When the attempt is cancelled, the server is told that nobody waits.

    Args:
        url: The server's endpoint.
        headers: Sent with every request to it, such as `Authorization`. Concealed: the server may repeat them.
        trusted: Whether the operator gave the URL; see `exchange`.
        max_bytes: Longest answer.

    Returns:
        The structured content, or else the content: the value of a single part, a list of several.

    Raises:
        TaskError: `tool_failed` (retryable) when the tool says that it failed; `tool_error` for an error of the
            protocol, retryable where another attempt may help; and those of `exchange` and `Reply.require_success`.
    """
    ctx.conceal(*headers.values(), *(value.partition(" ")[2] for value in headers.values()))  # behind `Bearer`
    transport = _Exchange(http, headers, max_bytes, trusted_url=httpx.URL(url) if trusted else None)
    try:
        async with httpx2.AsyncClient(transport=transport, trust_env=False) as bridge:
            # The answer is bounded as a whole; one of its events may be all of it.
            streams = streamable_http_client(url, http_client=bridge, max_sse_event_size=max_bytes)
            async with Client(streams, cache=None) as client:
                meta = {_IDEMPOTENCY_KEY: ctx.idempotency_key}
                if ctx.traceparent is not None:  # where spans are written, the client puts that of its own call there
                    meta["traceparent"] = ctx.traceparent
                result = await client.call_tool(tool, arguments, meta=cast(RequestParamsMeta, meta))
    except Exception as error:
        # The client tells of our own errors in words of its own, or inside a group.
        raise transport.failure or transport.refusal() or _task_error(error) from error
    if result.is_error:
        said = " ".join(part.text for part in result.content if isinstance(part, TextContent))
        raise TaskError("tool_failed", storable_text(said or "The tool gave no reason.", _LONGEST_MESSAGE))
    return _value(result)


class _Exchange(httpx2.AsyncBaseTransport):
    """Lets the MCP client speak through the engine's own: same bounds, same egress, same errors."""

    def __init__(
        self, http: httpx.AsyncClient, headers: Mapping[str, str], max_bytes: int, *, trusted_url: httpx.URL | None
    ) -> None:
        self._http = http
        self._headers = headers
        self._max_bytes = max_bytes
        self._trusted_url = trusted_url
        self._last: Reply | None = None
        self.failure: TaskError | None = None

    def refusal(self) -> TaskError | None:
        """What is wrong with the last answer as an answer by HTTP; None where it says itself what is wrong."""
        if self._last is None or _is_json_rpc(self._last.content):
            return None
        try:
            self._last.require_success()
        except TaskError as error:
            return error
        media_type = self._last.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if self._last.content and media_type not in _MEDIA_TYPES:
            return response_invalid(self._last.request, f"is {media_type or 'of no type'}, not that of an MCP server")
        return None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and "Last-Event-ID" not in request.headers:
            # A stream for what the server wants to say of its own accord, which would stay open for ever.
            return httpx2.Response(_METHOD_NOT_ALLOWED, request=request)
        try:
            ours = build_request(
                self._http,
                request.method,
                str(request.url),
                headers=[
                    *(pair for pair in request.headers.items() if pair[0] not in _OWN_HEADERS),
                    *self._headers.items(),
                ],
                content=await request.aread(),
            )
            trusted = self._trusted_url is not None and same_origin(ours.url, self._trusted_url)
            reply = await exchange(self._http, ours, max_bytes=self._max_bytes, trusted=trusted)
        except TaskError as error:
            self.failure = error
            raise httpx2.TransportError(error.message) from error
        if request.method == "POST":
            self._last = reply
        headers = {name: value for name, value in reply.headers.items() if name not in _BODY_HEADERS}
        return httpx2.Response(reply.status, headers=headers, content=reply.content, request=request)


def _is_json_rpc(content: bytes) -> bool:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return isinstance(body, dict) and "jsonrpc" in body


def _task_error(error: BaseException) -> TaskError:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    message = storable_text(error, _LONGEST_MESSAGE)
    if isinstance(error, MCPError):
        details = {"code": error.code}
        return TaskError("tool_error", message, retryable=error.code in _PASSES_BY_ITSELF, details=details)
    if isinstance(error, ValidationError):
        return TaskError("response_invalid", f"The MCP server breaks the protocol: {message}")
    return TaskError("tool_error", message)


def _value(result: CallToolResult) -> Any:
    if result.structured_content is not None:
        return result.structured_content
    values = [_part(part) for part in result.content]
    return _alone(values)


def _alone(values: Sequence[Any]) -> Any:
    if not values:
        return None
    return values[0] if len(values) == 1 else list(values)


def _part(part: ContentBlock) -> Any:
    match part:
        case TextContent():
            return part.text
        case ImageContent() | AudioContent():
            return {"base64": part.data, "media_type": part.mime_type}
        case ResourceLink():
            return {"url": str(part.uri)}
        case EmbeddedResource(resource=BlobResourceContents() as resource):
            return {"base64": resource.blob, "media_type": resource.mime_type}
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return resource.text
