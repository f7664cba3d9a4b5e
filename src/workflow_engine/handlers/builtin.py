"""The engine's own task types, wired together."""

from __future__ import annotations

import httpx

from workflow_engine.handlers.agent import agent_handler
from workflow_engine.handlers.base import Handler
from workflow_engine.handlers.basic import fail, noop, transform
from workflow_engine.handlers.connections import Connections
from workflow_engine.handlers.database import database_handler
from workflow_engine.handlers.http import http_handler
from workflow_engine.handlers.http_client import make_http_client
from workflow_engine.handlers.llm_inference import llm_inference_handler
from workflow_engine.handlers.tool import tool_handler
from workflow_engine.settings import Settings

__all__ = ["builtin_handlers", "make_http_client"]


def builtin_handlers(settings: Settings, *, http: httpx.AsyncClient, connections: Connections) -> dict[str, Handler]:
    """The handlers of the built-in task types, by type. Nothing is opened; `http` and `connections` stay the caller's.

    Args:
        settings: Addresses of the neighbours, and the largest payload.
        http: From `make_http_client`.
        connections: The databases that steps may use.
    """
    handlers = [
        Handler("http", http_handler(settings, http), description="Calls an HTTP endpoint"),
        Handler(
            "agent",
            agent_handler(settings, http),
            description="Runs an agent: Agent Mesh resolves it, Agent Brain executes it",
        ),
        Handler(
            "llm_inference",
            llm_inference_handler(settings, http),
            description="Asks a language model through an OpenAI-compatible endpoint",
        ),
        Handler(
            "database",
            database_handler(settings, connections),
            description="Runs SQL on a named connection, or stores a record",
        ),
        Handler("tool", tool_handler(settings, http), description="Calls a tool of an MCP server"),
        Handler("transform", transform, description="Shapes data with expressions"),
        Handler("noop", noop, description="Does nothing: a join point"),
        Handler("fail", fail, description="Fails, for guards and tests"),
    ]
    return {handler.type: handler for handler in handlers}
