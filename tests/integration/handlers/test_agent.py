"""`agent` steps: Agent Mesh resolves, Agent Brain executes, over real HTTP."""

import pytest

from workflow_engine.errors import TaskError
from workflow_engine.testing import task_context

from .target import Answer

MESH = "/api/v1/agents/processor"
BRAIN = "/api/v1/agents/processor/execute"


@pytest.fixture
def mesh(target):
    target.answers[MESH] = Answer({"name": "processor", "protocol": "brain", "skills": ["sum"], "owner": "someone"})
    return target


@pytest.fixture
def brain(other_target):
    other_target.answers[BRAIN] = Answer({"output": {"total": 3}, "usage": {"input_tokens": 5}})
    return other_target


@pytest.fixture
def run(handle, mesh, brain):
    async def run(ctx=None, **inputs):
        settings = {"AGENT_MESH_URL": mesh.url, "AGENT_BRAIN_URL": f"{brain.url}/"}
        return await handle("agent", {"agent": "processor", **inputs}, ctx or task_context(), **settings)

    return run


async def failure(awaitable):
    with pytest.raises(TaskError) as caught:
        await awaitable
    return caught.value


async def test_the_mesh_resolves_and_the_brain_executes(run, mesh, brain):
    context = task_context(workflow_id="wf", task_id="7", idempotency_key="wf/process")
    output = await run(context, goal="Add up", input=[1, 2], skills=["sum"], context={"unit": "EUR"})
    assert output == {"total": 3}
    assert [(request.method, request.path) for request in mesh.received] == [("GET", MESH)]
    [request] = brain.received
    assert (request.method, request.path, request.headers["idempotency-key"]) == ("POST", BRAIN, "wf/process")
    assert request.json == {
        "agent": "processor",
        "input": [1, 2],
        "goal": "Add up",
        "skills": ["sum"],
        "context": {"unit": "EUR"},
        "workflow_id": "wf",
        "task_id": "7",
    }


async def test_without_an_input_the_agent_gets_the_outputs_of_its_dependencies(run, brain):
    await run(task_context(dependencies={"fetch": {"status": 200}}))
    assert brain.received[0].json["input"] == {"fetch": {"status": 200}}


async def test_an_input_of_null_is_an_input(run, brain):
    await run(task_context(dependencies={"fetch": 1}), input=None)
    assert brain.received[0].json["input"] is None


async def test_the_mesh_may_name_another_brain(run, mesh, brain):
    mesh.answers[MESH] = Answer({"name": "processor", "url": f"{mesh.url}/elsewhere"})
    mesh.answers[f"/elsewhere{BRAIN}"] = Answer({"output": "from elsewhere"})
    assert await run() == "from elsewhere"
    assert brain.received == []


async def test_a_name_cannot_leave_its_place_in_the_path(run, mesh):
    await failure(run(agent="../admin?x=1"))
    assert mesh.received[0].path == "/api/v1/agents/..%2Fadmin%3Fx%3D1"


async def test_an_unknown_agent_is_final(run, mesh):
    mesh.answers[MESH] = Answer({"detail": "no"}, 404)
    error = await failure(run())
    assert (error.type, error.retryable) == ("agent_not_found", False)
    assert "'processor'" in error.message


async def test_a_mesh_that_is_away_is_tried_again(run, mesh, brain):
    mesh.answers[MESH] = Answer(b"", 503, {"Retry-After": "2"})
    error = await failure(run())
    assert (error.type, error.retryable, error.retry_after) == ("http.503", True, 2.0)
    assert brain.received == []


async def test_an_agent_that_is_gone_from_its_brain_is_final(run, brain):
    brain.answers[BRAIN] = Answer({"detail": "moved"}, 410)
    error = await failure(run())
    assert (error.type, error.retryable) == ("http.410", False)


@pytest.mark.parametrize("body", [{"name": 5}, [], {"name": "processor", "protocol": "smoke signals"}, "text"])
async def test_a_mesh_that_talks_nonsense_is_tried_again(run, mesh, body):
    mesh.answers[MESH] = Answer(body)
    assert (await failure(run())).type == "response_invalid"


@pytest.mark.parametrize("body", [{"result": 1}, [1], "text"])
async def test_a_brain_without_an_output_is_tried_again(run, brain, body):
    brain.answers[BRAIN] = Answer(body)
    error = await failure(run())
    assert (error.type, error.retryable) == ("response_invalid", True)


async def test_an_output_of_null_is_an_output(run, brain):
    brain.answers[BRAIN] = Answer({"output": None})
    assert await run() is None


@pytest.mark.parametrize("inputs", [{"agent": ""}, {"agent": 5}, {"skills": "sum"}, {"gaol": "?"}])
async def test_inputs_that_make_no_sense_are_refused(run, mesh, inputs):
    error = await failure(run(**inputs))
    assert (error.type, error.retryable) == ("validation", False)
    assert mesh.received == []
