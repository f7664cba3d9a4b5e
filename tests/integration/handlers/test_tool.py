"""`tool` steps on a real MCP server, made with the same SDK, on a free port; and on servers that are none."""

import asyncio
import contextlib
import socket
import sys

import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import EmbeddedResource, ImageContent, ResourceLink, TextContent, TextResourceContents
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from starlette.responses import Response
from support.eventually import eventually_async

from workflow_engine.errors import TaskError
from workflow_engine.observability.trace_context import outgoing
from workflow_engine.testing import task_context

from .target import Answer

TOKEN = {"Authorization": "Bearer t0ken"}


def tools(calls):
    server = MCPServer("tools")

    @server.tool()
    def add(a: int, b: int, ctx: Context) -> dict[str, int]:
        calls.append((ctx.request_context.meta or {}, dict(ctx.headers or {})))
        return {"sum": a + b}

    @server.tool(structured_output=False)
    def say(text: str):
        return text

    @server.tool(structured_output=False)
    def several():
        return [
            TextContent(type="text", text="one"),
            ImageContent(type="image", data="AP8=", mime_type="image/png"),
            ResourceLink(type="resource_link", name="big", uri="https://example.com/big.bin"),
            EmbeddedResource(type="resource", resource=TextResourceContents(uri="memo://1", text="a note")),
        ]

    @server.tool(structured_output=False)
    def nothing():
        return []

    @server.tool()
    def refuse() -> str:
        raise ToolError("out of paper")

    @server.tool()
    async def hang() -> str:
        calls.append("hang")
        await asyncio.sleep(60)
        return "late"

    @server.tool()
    def much() -> str:
        return "x" * 5000

    return server


@contextlib.asynccontextmanager
async def served(app):
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve([listener]))

    async def started():
        return server.started

    await eventually_async(started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def calls():
    return []


@pytest.fixture(params=["events", "json", "old"])
async def url(request, calls):
    app = tools(calls).streamable_http_app(json_response=request.param == "json")
    async with served(_before_2026(app) if request.param == "old" else app) as url:
        yield url


def _before_2026(app):
    """A server of the protocol's versions with a handshake, as most are: it does not know how to be discovered."""

    async def old(scope, receive, send):
        if scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-method") == b"server/discover":
            await Response("Not found", 404)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return old


def call(url, tool="add", **arguments):
    return {"server": url, "tool": tool, "arguments": arguments}


async def failure(handle, inputs, **settings):
    with pytest.raises(TaskError) as failed:
        await handle("tool", inputs, task_context(), **settings)
    return failed.value


async def test_the_structured_result_of_the_tool_is_the_output(handle, url):
    assert await handle("tool", call(url, a=2, b=3), task_context()) == {"sum": 5}


async def test_a_server_is_found_by_its_name_and_sees_the_operators_headers_and_the_idempotency_key(handle, url, calls):
    inputs = call("calculator", a=1, b=1)
    servers = {"calculator": {"url": url, "headers": TOKEN}, "other": url}
    ctx = task_context(idempotency_key="order-7")
    assert await handle("tool", inputs, ctx, WORKFLOW_MCP_SERVERS=servers) == {"sum": 2}
    [(meta, headers)] = calls
    assert meta["workflow-engine/idempotency-key"] == "order-7"
    assert headers["authorization"] == "Bearer t0ken"


async def test_the_call_belongs_to_the_trace_of_the_attempt(handle, url, calls):
    trace_id, span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    traceparent = f"00-{trace_id}-{span_id}-01"
    attempt = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags.get_default())
    token = outgoing.set(traceparent)  # as for every attempt that has one
    try:
        with use_span(NonRecordingSpan(attempt)):  # the client has a span of its own where this process writes spans
            await handle("tool", call(url, a=1, b=1), task_context(traceparent=traceparent))
    finally:
        outgoing.reset(token)
    [(meta, headers)] = calls
    assert meta["traceparent"].split("-")[1] == trace_id
    assert headers["traceparent"] == traceparent


@pytest.mark.parametrize(
    ("tool", "arguments", "output"),
    [
        ("say", {"text": "hello"}, "hello"),
        ("nothing", {}, None),
        (
            "several",
            {},
            ["one", {"base64": "AP8=", "media_type": "image/png"}, {"url": "https://example.com/big.bin"}, "a note"],
        ),
    ],
)
async def test_without_structure_the_output_is_what_the_content_holds(handle, url, tool, arguments, output):
    assert await handle("tool", call(url, tool, **arguments), task_context()) == output


async def test_a_tool_that_says_it_failed_fails_the_task_and_may_be_tried_again(handle, url):
    error = await failure(handle, call(url, "refuse"))
    assert (error.type, error.retryable) == ("tool_failed", True)
    assert "out of paper" in error.message


async def test_arguments_that_the_tool_does_not_take_fail_the_task(handle, url):
    error = await failure(handle, call(url, "add", a="many"))
    assert error.type == "tool_failed"
    assert "addArguments" in error.message


async def test_an_unknown_tool_is_an_error_that_names_it(handle, url):
    error = await failure(handle, call(url, "ad"))
    assert error.type == "tool_failed"
    assert "ad" in error.message


async def test_an_answer_above_the_limit_is_refused(handle, url):
    error = await failure(handle, call(url, "much"), WORKFLOW_MAX_PAYLOAD_BYTES=4000)
    assert (error.type, error.retryable) == ("response_too_large", False)


async def test_a_cancelled_attempt_ends_at_once(handle, url, calls):
    calling = asyncio.create_task(handle("tool", call(url, "hang"), task_context()))

    async def hangs():
        return "hang" in calls

    await eventually_async(hangs)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(calling, 5)


async def test_a_server_that_is_not_configured_is_refused_with_those_that_are(handle):
    error = await failure(handle, call("calc"), WORKFLOW_MCP_SERVERS={"calculator": "http://localhost:1"})
    assert (error.type, error.retryable) == ("validation", False)
    assert "calculator" in error.message


async def test_no_connection_is_a_connection_error_that_is_retried(handle):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = await failure(handle, call(f"http://127.0.0.1:{port}/mcp"))
    assert (error.type, error.retryable) == ("connection", True)


@pytest.mark.parametrize(
    ("answer", "retryable", "retry_after"),
    [
        (Answer("who?", status=401), False, None),
        (Answer("later", status=429, headers={"Retry-After": "7"}), True, 7.0),
        (Answer({"error": "down"}, status=503), True, None),
    ],
)
async def test_a_refusing_status_is_the_http_error(handle, target, answer, retryable, retry_after):
    target.answers["/mcp"] = answer
    error = await failure(handle, call(f"{target.url}/mcp"))
    assert (error.type, error.retryable, error.retry_after) == (f"http.{answer.status}", retryable, retry_after)


async def test_a_server_that_does_not_speak_mcp_breaks_the_protocol(handle, target):
    target.answers["/mcp"] = Answer("<html>", headers={"Content-Type": "text/html"})
    error = await failure(handle, call(f"{target.url}/mcp"))
    assert (error.type, error.retryable) == ("response_invalid", True)


async def test_without_the_extra_the_error_says_what_to_install(handle, monkeypatch):
    monkeypatch.setitem(sys.modules, "workflow_engine.handlers.mcp_tool", None)
    error = await failure(handle, call("http://127.0.0.1:1/mcp"))
    assert (error.type, error.retryable) == ("missing_extra", False)
    assert "workflow-engine[mcp]" in error.message
