"""`tool`: calls a tool of an MCP server, one that the operator named or one given by its URL."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import Field

from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import Handle, TaskContext
from workflow_engine.handlers.inputs import Inputs, invalid, parse_inputs
from workflow_engine.handlers.output import storable_text
from workflow_engine.observability import genai_names as genai
from workflow_engine.observability.tracing import span
from workflow_engine.settings import McpServer, Settings


class ToolInputs(Inputs):
    server: str = Field(min_length=1, max_length=2000)
    tool: str = Field(min_length=1, max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict)


def tool_handler(settings: Settings, http: httpx.AsyncClient) -> Handle:
    """The handler of `tool`."""

    async def handle(inputs: dict[str, Any], ctx: TaskContext) -> Any:
        wanted = parse_inputs(ToolInputs, inputs)
        server, trusted = _find(wanted.server, settings)
        try:
            from workflow_engine.handlers.mcp_tool import call_mcp_tool
        except ImportError as error:
            raise TaskError(
                "missing_extra",
                "Steps of type `tool` need an extra: pip install 'workflow-engine[mcp]'",
                retryable=False,
            ) from error
        facts = {
            genai.OPERATION: genai.EXECUTE_TOOL,
            genai.TOOL_NAME: wanted.tool,
            genai.TOOL_TYPE: genai.EXTENSION,
        }
        with span(f"{genai.EXECUTE_TOOL} {wanted.tool}", facts, kind="internal"):
            return await call_mcp_tool(
                server.url,
                wanted.tool,
                wanted.arguments,
                headers=server.headers,
                trusted=trusted,
                ctx=ctx,
                http=http,
                max_bytes=settings.max_payload_bytes,
            )

    return handle


def _find(name: str, settings: Settings) -> tuple[McpServer, bool]:
    """The server, and whether the operator says where it is."""
    if name.startswith(("http://", "https://")):
        return McpServer(url=name), False
    server = settings.mcp_servers.get(name)
    if server is None:
        known = ", ".join(sorted(settings.mcp_servers)) or "none"
        raise invalid(
            f"There is no MCP server {storable_text(name, 200)!r}. Known: {known}. WORKFLOW_MCP_SERVERS names them."
        )
    return server, True
