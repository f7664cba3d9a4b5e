"""Runs an agent that speaks A2A itself, found by its agent card. Needs the extra `a2a`: import this module lazily."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Iterable
from typing import Any

import httpx
from a2a.client import A2ACardResolver, A2AClientError, AgentCardResolutionError, Client, ClientConfig, ClientFactory
from a2a.helpers import get_data_parts, new_data_part, new_text_part
from a2a.types import CancelTaskRequest, GetTaskRequest, Message, Part, Role, SendMessageRequest, Task, TaskState
from a2a.utils.constants import TransportProtocol
from a2a.utils.errors import A2AError, InternalError, InvalidAgentResponseError

from workflow_engine.errors import TaskError
from workflow_engine.handlers.base import TaskContext
from workflow_engine.handlers.http_client import exchange
from workflow_engine.handlers.inputs import invalid
from workflow_engine.handlers.output import storable_text

_CANCEL_TIMEOUT = 2.0  # seconds for telling the agent that nobody waits any more
_FIRST_POLL, _LONGEST_POLL = 0.25, 5.0  # seconds
_RUNNING = frozenset({TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING})
_MESSAGE_IDS = uuid.UUID("7f0dbf0e-9d43-4d1c-9a55-0f6f6f2a51a2")


async def run_a2a_agent(
    url: str,
    *,
    goal: str | None,
    input: Any,
    skills: list[str],
    context: Any,
    ctx: TaskContext,
    http: httpx.AsyncClient,
    max_bytes: int,
) -> Any:
    """Send the agent one message and wait until its task has ended.

    The message's id follows from the idempotency key, so that an agent can recognise another attempt of the same task.
    When the attempt is cancelled while the agent works, the agent is asked to stop.

    Args:
        url: The agent card (`.../agent-card.json`), or the base URL below which it stands.
        max_bytes: Longest answer.

    Returns:
        What the agent's artifacts hold, or else its last message: the value of a single part, a list of several.

    Raises:
        TaskError: `agent_failed` (retryable), `agent_rejected`, `agent_cancelled`, `agent_input_required`,
            `agent_error` for a protocol error, and those of `exchange`.
    """
    message = Message(
        message_id=str(uuid.uuid5(_MESSAGE_IDS, ctx.idempotency_key)),
        role=Role.ROLE_USER,
        parts=_parts(goal, input),
        metadata={"skills": skills, "context": context, "workflow_id": ctx.workflow_id},
    )
    async with httpx.AsyncClient(transport=_Exchange(http, max_bytes), trust_env=False) as client:
        try:
            agent = await _connect(url, client)
            return await _converse(agent, message)
        except AgentCardResolutionError as error:
            raise TaskError("response_invalid", f"There is no valid agent card: {storable_text(error, 500)}") from error
        except A2AError as error:
            retryable = isinstance(error, A2AClientError | InternalError | InvalidAgentResponseError)
            raise TaskError("agent_error", storable_text(error, 1000), retryable=retryable) from error


class _Exchange(httpx.AsyncBaseTransport):
    """Lets the A2A client speak through the engine's own: same bounds, same egress, same errors."""

    def __init__(self, http: httpx.AsyncClient, max_bytes: int) -> None:
        self._http = http
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions.pop("timeout", None)  # the attempt's own timeout bounds the call
        reply = await exchange(self._http, request, max_bytes=self._max_bytes)
        reply.require_success()
        content_type = reply.headers.get("Content-Type", "application/json")
        return httpx.Response(reply.status, headers={"Content-Type": content_type}, content=reply.content)


async def _connect(url: str, client: httpx.AsyncClient) -> Client:
    card_path = "/" if url.endswith(".json") else None
    card = await A2ACardResolver(client, url).get_agent_card(card_path)
    bindings: list[str] = [TransportProtocol.JSONRPC.value, TransportProtocol.HTTP_JSON.value]
    config = ClientConfig(streaming=False, httpx_client=client, supported_protocol_bindings=bindings)
    try:
        return ClientFactory(config).create(card)
    except ValueError as error:
        raise invalid(f"The agent {card.name!r} offers none of {', '.join(bindings)}.") from error


async def _converse(agent: Client, message: Message) -> Any:
    async for response in agent.send_message(SendMessageRequest(message=message)):
        if response.HasField("message"):
            return _value(response.message.parts)
        if response.HasField("task"):
            return _result(await _ended(agent, response.task))
    raise TaskError("agent_error", "The agent answered with neither a message nor a task.")


async def _ended(agent: Client, task: Task) -> Task:
    """The task when it has ended; an agent may answer before it has."""
    pause = _FIRST_POLL
    try:
        while task.status.state in _RUNNING:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL)
            task = await agent.get_task(GetTaskRequest(id=task.id))
    except asyncio.CancelledError:
        await _cancel(agent, task.id)
        raise
    return task


async def _cancel(agent: Client, task_id: str) -> None:
    try:
        async with asyncio.timeout(_CANCEL_TIMEOUT):
            await agent.cancel_task(CancelTaskRequest(id=task_id))
    except (TimeoutError, A2AError, TaskError):
        return  # a courtesy: the attempt has ended whether or not the agent heard of it


def _result(task: Task) -> Any:
    said = " ".join(part.text for part in task.status.message.parts if part.text) or "The agent gave no reason."
    match task.status.state:
        case TaskState.TASK_STATE_COMPLETED:
            parts = [part for artifact in task.artifacts for part in artifact.parts]
            return _value(parts or task.status.message.parts)
        case TaskState.TASK_STATE_FAILED:
            raise TaskError("agent_failed", storable_text(said))
        case TaskState.TASK_STATE_REJECTED:
            raise TaskError("agent_rejected", storable_text(said), retryable=False)
        case TaskState.TASK_STATE_CANCELED:
            raise TaskError("agent_cancelled", storable_text(said), retryable=False)
        case TaskState.TASK_STATE_INPUT_REQUIRED | TaskState.TASK_STATE_AUTH_REQUIRED:
            raise TaskError("agent_input_required", storable_text(said), retryable=False)
        case other:
            raise TaskError("agent_error", f"The agent's task is in the unknown state {other}.", retryable=False)


def _parts(goal: str | None, input: Any) -> list[Part]:
    parts = [] if goal is None else [new_text_part(goal)]
    if isinstance(input, str):
        parts.append(new_text_part(input))
    elif input is not None or not parts:
        parts.append(new_data_part(input))
    return parts


def _value(parts: Iterable[Part]) -> Any:
    values = [_part_value(part) for part in parts]
    if not values:
        return None
    return values[0] if len(values) == 1 else values


def _part_value(part: Part) -> Any:
    match part.WhichOneof("content"):
        case "text":
            return part.text
        case "data":
            return _whole_numbers(get_data_parts([part])[0])
        case "raw":
            return {"base64": base64.b64encode(part.raw).decode()}
        case "url":
            return {"url": part.url}
        case _:
            return None


def _whole_numbers(value: Any) -> Any:
    """Protobuf knows only doubles; a whole number in JSON is to stay one."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_numbers(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(child) for child in value]
    return value
