"""`agent`: has an agent run. Agent Mesh says where it runs; Agent Brain, or the agent itself by A2A, runs it.

The engine holds a name and sends an input: it owns no manifests and executes no agent.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, ValidationError

from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import Handle, TaskContext
from workflow_engine.handlers.http_client import as_header, build_request, exchange, response_invalid, same_origin
from workflow_engine.handlers.inputs import Inputs, parse_inputs
from workflow_engine.handlers.output import storable_text
from workflow_engine.observability import genai_names as genai
from workflow_engine.observability.tracing import span
from workflow_engine.settings import Settings


class AgentInputs(Inputs):
    agent: str = Field(min_length=1, max_length=2000)
    input: Any = None
    goal: str | None = None
    skills: list[str] = Field(default_factory=list)
    context: Any = None


class MeshAgent(BaseModel):
    """What Agent Mesh tells of an agent. More fields are none of our business."""

    name: str
    url: str | None = None
    protocol: Literal["brain", "a2a"] = "brain"


def agent_handler(settings: Settings, http: httpx.AsyncClient) -> Handle:
    """The handler of `agent`."""

    async def handle(inputs: dict[str, Any], ctx: TaskContext) -> Any:
        wanted = parse_inputs(AgentInputs, inputs)
        if "input" not in inputs:
            wanted = wanted.model_copy(update={"input": dict(ctx.dependencies)})
        name = _shown(wanted.agent)
        facts = {genai.OPERATION: genai.INVOKE_AGENT, genai.AGENT_NAME: name}
        with span(f"{genai.INVOKE_AGENT} {name}", facts):
            return await _run(wanted, ctx, settings, http)

    return handle


def _shown(agent: str) -> str:
    """An agent's name; of an address no more than the host, as its path may hold a secret."""
    if not _is_url(agent):
        return storable_text(agent, 200)
    try:
        return httpx.URL(agent).host
    except httpx.InvalidURL:
        return "a2a"


def _is_url(agent: str) -> bool:
    return agent.startswith(("http://", "https://"))


async def _run(wanted: AgentInputs, ctx: TaskContext, settings: Settings, http: httpx.AsyncClient) -> Any:
    if _is_url(wanted.agent):
        return await _run_by_a2a(wanted.agent, wanted, ctx, settings, http)
    agent = await _resolve(wanted.agent, settings, http)
    if agent.protocol == "a2a":
        if agent.url is None:
            raise TaskError("response_invalid", f"Agent Mesh gives no url for the A2A agent {agent.name!r}.")
        return await _run_by_a2a(agent.url, wanted, ctx, settings, http)
    return await _execute(agent, wanted, ctx, settings, http)


async def _resolve(name: str, settings: Settings, http: httpx.AsyncClient) -> MeshAgent:
    request = build_request(http, "GET", f"{settings.agent_mesh_url.rstrip('/')}/api/v1/agents/{quote(name, safe='')}")
    reply = await exchange(http, request, max_bytes=settings.max_payload_bytes, trusted=True)
    if reply.status == httpx.codes.NOT_FOUND:
        raise TaskError("agent_not_found", f"Agent Mesh knows no agent {storable_text(name, 200)!r}.", retryable=False)
    reply.require_success()
    try:
        return MeshAgent.model_validate(reply.json())
    except ValidationError as error:
        raise response_invalid(request, f"does not describe an agent: {error.errors()[0]['msg']}") from error


async def _run_by_a2a(
    url: str, wanted: AgentInputs, ctx: TaskContext, settings: Settings, http: httpx.AsyncClient
) -> Any:
    try:
        from workflow_engine.handlers.a2a_agent import run_a2a_agent
    except ImportError as error:
        raise TaskError(
            "missing_extra", "A2A agents need an extra: pip install 'workflow-engine[a2a]'", retryable=False
        ) from error
    return await run_a2a_agent(
        url,
        goal=wanted.goal,
        input=wanted.input,
        skills=wanted.skills,
        context=wanted.context,
        ctx=ctx,
        http=http,
        max_bytes=settings.max_payload_bytes,
    )


async def _execute(
    agent: MeshAgent, wanted: AgentInputs, ctx: TaskContext, settings: Settings, http: httpx.AsyncClient
) -> Any:
    base = (agent.url or settings.agent_brain_url).rstrip("/")
    request = build_request(
        http,
        "POST",
        f"{base}/api/v1/agents/{quote(agent.name, safe='')}/execute",
        headers={"Idempotency-Key": as_header(ctx.idempotency_key)},
        json={
            "agent": agent.name,
            "input": wanted.input,
            "goal": wanted.goal,
            "skills": wanted.skills,
            "context": wanted.context,
            "workflow_id": ctx.workflow_id,
            "task_id": ctx.task_id,
        },
    )
    # What Agent Mesh tells is what somebody registered there: only Agent Brain is where the operator says.
    trusted = same_origin(request.url, httpx.URL(settings.agent_brain_url))
    reply = await exchange(http, request, max_bytes=settings.max_payload_bytes, trusted=trusted)
    reply.require_success()
    result = reply.json()
    if not isinstance(result, dict) or "output" not in result:
        raise response_invalid(request, "has no `output`")
    ctx.log.debug("agent executed", agent=agent.name, usage=result.get("usage"))
    return result["output"]
