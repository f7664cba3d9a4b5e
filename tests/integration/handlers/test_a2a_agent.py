"""`agent` steps whose agent speaks A2A: a real A2A server, made with the same SDK, on a free port."""

import asyncio
import contextlib
import socket
import sys

import pytest
import uvicorn
from a2a.helpers import new_data_part, new_message, new_task_from_user_message, new_text_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, Part
from starlette.applications import Starlette
from support.eventually import eventually_async

from workflow_engine.errors import TaskError
from workflow_engine.testing import task_context

from .target import Answer


class Agent(AgentExecutor):
    """Does what the text of the message says."""

    def __init__(self):
        self.messages = []
        self.working = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def execute(self, context, event_queue):
        self.messages.append(context.message)
        order = context.message.parts[0].text
        if order == "answer":
            await event_queue.enqueue_event(new_message([new_text_part("at once")]))
            return
        task = context.current_task
        if task is None:
            task = new_task_from_user_message(context.message)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work()
        await getattr(self, f"_{order or 'work'}")(context, updater)

    async def _work(self, context, updater):
        await updater.add_artifact([new_data_part({"n": 3, "half": 0.5, "list": [1, None, True]})])
        await updater.complete()

    async def _several(self, context, updater):
        raw = Part(raw=b"\x00\xff", media_type="application/octet-stream")
        await updater.add_artifact([new_text_part("one"), raw])
        await updater.add_artifact([Part(url="https://example.com/big.bin")])
        await updater.complete()

    async def _silently(self, context, updater):
        await updater.complete()

    async def _fail(self, context, updater):
        await updater.failed(updater.new_agent_message([new_text_part("out of paper")]))

    async def _reject(self, context, updater):
        await updater.reject(updater.new_agent_message([new_text_part("not my job")]))

    async def _ask(self, context, updater):
        await updater.requires_input(updater.new_agent_message([new_text_part("which one?")]))

    async def _raise(self, context, updater):
        raise RuntimeError("broken agent")

    async def cancel(self, context, event_queue):
        self.cancelled.set()
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


@contextlib.asynccontextmanager
async def served(make_routes):
    """A server on a free port; `make_routes(url)` gives its routes. Yields the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=make_routes(url)), log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve([listener]))

    async def started():
        return server.started

    await eventually_async(started)
    try:
        yield url
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def agent():
    return Agent()


@pytest.fixture(params=["JSONRPC", "HTTP+JSON"])
async def agent_url(agent, request):
    def routes(url):
        interface = AgentInterface(url=f"{url}/a2a", protocol_binding=request.param, protocol_version="1.0")
        card = AgentCard(
            name="worker",
            description="Works",
            version="1",
            supported_interfaces=[interface],
            capabilities=AgentCapabilities(streaming=False),
            default_input_modes=["text/plain", "application/json"],
            default_output_modes=["text/plain"],
        )
        handler = DefaultRequestHandler(agent_executor=agent, task_store=InMemoryTaskStore(), agent_card=card)
        if request.param == "JSONRPC":
            return [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/a2a")]
        return [*create_agent_card_routes(card), *create_rest_routes(handler, path_prefix="/a2a")]

    async with served(routes) as url:
        yield url


@pytest.fixture
def run(handle, agent_url):
    async def run(ctx=None, **inputs):
        return await handle("agent", {"agent": agent_url, **inputs}, ctx or task_context())

    return run


async def failure(awaitable):
    with pytest.raises(TaskError) as caught:
        await awaitable
    return caught.value


async def test_an_agent_is_given_its_input_and_gives_its_artifact(run, agent):
    output = await run(input={"order": [1, 2]})
    assert output == {"n": 3, "half": 0.5, "list": [1, None, True]}
    assert isinstance(output["n"], int)
    assert agent.messages[0].parts[0].data.struct_value["order"] == [1, 2]


async def test_without_an_input_the_agent_gets_the_outputs_of_its_dependencies(run, agent):
    await run(task_context(dependencies={"fetch": "page"}))
    assert agent.messages[0].parts[0].data.struct_value["fetch"] == "page"


async def test_every_attempt_sends_the_same_message_id(run, agent):
    for attempt in (1, 2):
        await run(task_context(attempt=attempt, idempotency_key="wf/process"))
    await run(task_context(idempotency_key="wf/other"))
    first, second, other = [message.message_id for message in agent.messages]
    assert first == second != other


async def test_goal_skills_and_context_are_passed_on(run, agent):
    await run(goal="answer", input="text", skills=["sum"], context={"unit": "EUR"})
    [message] = agent.messages
    assert [part.text for part in message.parts] == ["answer", "text"]
    assert message.metadata["skills"] == ["sum"]
    assert message.metadata["context"] == {"unit": "EUR"}


@pytest.mark.parametrize(
    ("order", "output"),
    [
        ("answer", "at once"),
        ("silently", None),
        ("several", ["one", {"base64": "AP8="}, {"url": "https://example.com/big.bin"}]),
    ],
)
async def test_what_the_agent_says_becomes_the_output(run, order, output):
    assert await run(input=order) == output


@pytest.mark.parametrize(
    ("order", "type", "message", "retryable"),
    [
        ("fail", "agent_failed", "out of paper", True),
        ("reject", "agent_rejected", "not my job", False),
        ("ask", "agent_input_required", "which one?", False),
    ],
)
async def test_how_the_agent_ends_decides_about_another_attempt(run, *, order, type, message, retryable):
    error = await failure(run(input=order))
    assert (error.type, error.message, error.retryable) == (type, message, retryable)


async def test_an_agent_that_breaks_is_tried_again(run):
    error = await failure(run(input="raise"))
    assert error.retryable


async def test_the_card_itself_may_be_named(handle, agent_url):
    card = f"{agent_url}/.well-known/agent-card.json"
    assert await handle("agent", {"agent": card, "input": "answer"}, task_context()) == "at once"


async def test_the_mesh_may_say_that_an_agent_speaks_a2a(handle, agent_url, target):
    target.answers["/api/v1/agents/worker"] = Answer({"name": "worker", "url": agent_url, "protocol": "a2a"})
    inputs = {"agent": "worker", "input": "answer"}
    assert await handle("agent", inputs, task_context(), AGENT_MESH_URL=target.url) == "at once"


async def test_an_answer_above_the_limit_is_refused(handle, agent_url):
    inputs = {"agent": agent_url, "goal": "several", "input": "x" * 4000}  # the agent's task repeats its input
    error = await failure(handle("agent", inputs, task_context(), WORKFLOW_MAX_PAYLOAD_BYTES=1024))
    assert (error.type, error.retryable) == ("response_too_large", False)


CARD = {
    "name": "slow",
    "description": "",
    "version": "1",
    "capabilities": {},
    "defaultInputModes": [],
    "defaultOutputModes": [],
    "skills": [],
}


def scripted(target, states):
    """A JSON-RPC agent that answers before its task has ended, state by state."""
    interfaces = [{"url": f"{target.url}/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
    target.answers["/.well-known/agent-card.json"] = Answer({**CARD, "supportedInterfaces": interfaces})
    tasks = [{"id": "t-1", "contextId": "c-1", "status": {"state": f"TASK_STATE_{state}"}} for state in states]
    tasks[-1]["artifacts"] = [{"artifactId": "a", "parts": [{"text": "done"}]}]
    results = [{"task": tasks[0]}, *tasks[1:]]
    target.answers["/rpc"] = [Answer({"jsonrpc": "2.0", "id": "1", "result": result}) for result in results]


async def test_a_task_that_goes_on_is_asked_for_until_it_ends(handle, target):
    scripted(target, ["SUBMITTED", "WORKING", "COMPLETED"])
    assert await handle("agent", {"agent": target.url, "input": "x"}, task_context()) == "done"
    methods = [request.json["method"] for request in target.received if request.path == "/rpc"]
    assert methods == ["SendMessage", "GetTask", "GetTask"]


async def test_a_cancelled_attempt_asks_the_agent_to_stop(handle, target):
    scripted(target, ["WORKING", *["WORKING"] * 20])

    async def asked_again():  # so the first answer, with the task's id, has been read
        return len([request for request in target.received if request.path == "/rpc"]) == 2

    attempt = asyncio.create_task(handle("agent", {"agent": target.url, "input": "x"}, task_context()))
    await eventually_async(asked_again)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert target.received[-1].json["method"] == "CancelTask"
    assert target.received[-1].json["params"]["id"] == "t-1"


@pytest.mark.parametrize(
    ("answer", "type", "retryable"),
    [
        (Answer("no json", headers={"Content-Type": "application/json"}), "response_invalid", True),
        (Answer([1]), "response_invalid", True),
        (Answer({}, 404), "http.404", False),
        (Answer(b"", 503), "http.503", True),
        (Answer({**CARD, "supportedInterfaces": []}), "validation", False),
    ],
)
async def test_a_card_that_is_no_card_is_told(handle, target, *, answer, type, retryable):
    target.answers["/.well-known/agent-card.json"] = answer
    error = await failure(handle("agent", {"agent": target.url, "input": "x"}, task_context()))
    assert (error.type, error.retryable) == (type, retryable)


async def test_a_request_the_agent_does_not_support_is_final(handle, target):
    scripted(target, ["COMPLETED"])
    refusal = {"jsonrpc": "2.0", "id": "1", "error": {"code": -32602, "message": "no such parameter"}}
    target.answers["/rpc"] = Answer(refusal)
    error = await failure(handle("agent", {"agent": target.url, "input": "x"}, task_context()))
    assert (error.type, error.retryable) == ("agent_error", False)
    assert "no such parameter" in error.message


async def test_without_the_extra_the_error_says_how_to_install_it(handle, monkeypatch):
    monkeypatch.delitem(sys.modules, "workflow_engine.handlers.a2a_agent", raising=False)
    monkeypatch.setitem(sys.modules, "a2a.client", None)
    error = await failure(handle("agent", {"agent": "http://127.0.0.1:1", "input": "x"}, task_context()))
    assert (error.type, error.retryable) == ("missing_extra", False)
    assert "pip install 'workflow-engine[a2a]'" in error.message
