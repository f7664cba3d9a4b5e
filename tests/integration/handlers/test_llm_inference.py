"""`llm_inference` steps against a server that speaks the OpenAI chat protocol."""

import pytest

from workflow_engine.errors import TaskError
from workflow_engine.observability.metrics import WORKER
from workflow_engine.testing import task_context

from .target import Answer

CHAT = "/v1/chat/completions"


def completion(content, **message):
    return {
        "model": "small-2",
        "choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


@pytest.fixture
def model(target):
    target.answers[CHAT] = Answer(completion("Four."))
    return target


@pytest.fixture
def ask(handle, model):
    async def ask(settings=None, **inputs):
        endpoint = {"WORKFLOW_LLM_BASE_URL": f"{model.url}/v1", "WORKFLOW_LLM_MODEL": "small"}
        return await handle("llm_inference", inputs, task_context(), **{**endpoint, **(settings or {})})

    return ask


async def failure(awaitable):
    with pytest.raises(TaskError) as caught:
        await awaitable
    return caught.value


async def test_a_prompt_is_asked_and_answered(ask, model):
    assert await ask(prompt="2 + 2?") == {
        "text": "Four.",
        "json": None,
        "tool_calls": [],
        "finish_reason": "stop",
        "model": "small-2",
        "usage": {"input_tokens": 11, "output_tokens": 7, "cost_usd": None},
    }
    [request] = model.received
    assert request.json == {"model": "small", "messages": [{"role": "user", "content": "2 + 2?"}]}
    assert request.headers["idempotency-key"] == task_context().idempotency_key
    assert "authorization" not in request.headers


async def test_everything_a_step_may_say_reaches_the_model(ask, model):
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    messages = [{"role": "user", "content": "2 + 2?"}]
    key = {"WORKFLOW_LLM_API_KEY": "sk-1"}
    await ask(key, model="large", system="Be brief.", messages=messages, params={"temperature": 0.5}, tools=tools)
    [request] = model.received
    assert request.headers["authorization"] == "Bearer sk-1"
    assert request.json == {
        "model": "large",
        "messages": [{"role": "system", "content": "Be brief."}, *messages],
        "temperature": 0.5,
        "tools": tools,
    }


async def test_a_structured_answer_is_parsed(ask, model):
    model.answers[CHAT] = Answer(completion('{"answer": 4}'))
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    assert (await ask(prompt="2 + 2?", response_schema=schema))["json"] == {"answer": 4}
    assert model.received[0].json["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": schema, "strict": True},
    }


@pytest.mark.parametrize("content", ["Four.", '{"answer": ', None])
async def test_a_structured_answer_that_is_no_json_is_worth_another_attempt(ask, model, content):
    model.answers[CHAT] = Answer(completion(content))
    error = await failure(ask(prompt="2 + 2?", response_schema={"type": "object"}))
    assert (error.type, error.retryable) == ("output_invalid", True)


async def test_a_call_of_a_tool_is_handed_on(ask, model):
    calls = [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]
    model.answers[CHAT] = Answer(completion(None, tool_calls=calls))
    output = await ask(prompt="2 + 2?", response_schema={"type": "object"})
    assert (output["text"], output["json"], output["tool_calls"]) == (None, None, calls)


async def test_the_cost_is_told_where_the_gateway_tells_it(ask, model):
    body = completion("Four.")
    body["usage"]["cost"] = 0.0012
    model.answers[CHAT] = Answer(body)
    assert (await ask(prompt="2 + 2?"))["usage"]["cost_usd"] == 0.0012


async def test_an_endpoint_without_usage_leaves_it_open(ask, model):
    body = completion("Four.")
    del body["usage"]
    model.answers[CHAT] = Answer(body)
    usage = (await ask(prompt="2 + 2?"))["usage"]
    assert usage == {"input_tokens": None, "output_tokens": None, "cost_usd": None}


async def test_a_busy_model_is_asked_again_when_it_says_so(ask, model):
    model.answers[CHAT] = Answer({"error": {"message": "rate limited"}}, 429, {"Retry-After": "20"})
    error = await failure(ask(prompt="2 + 2?"))
    assert (error.type, error.retryable, error.retry_after) == ("http.429", True, 20.0)
    assert "rate limited" in error.details["body"]


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{"text": "old protocol"}]}, [], "text"])
async def test_an_answer_that_is_no_completion_is_invalid(ask, model, body):
    model.answers[CHAT] = Answer(body)
    error = await failure(ask(prompt="2 + 2?"))
    assert (error.type, error.retryable) == ("response_invalid", True)


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"prompt": "x", "messages": [{"role": "user", "content": "x"}]},
        {"messages": []},
        {"prompt": "x", "params": {"model": "other"}},
        {"prompt": "x", "params": {"stream": True}},
        {"prompt": "x", "temperature": 1},
    ],
)
async def test_inputs_that_make_no_sense_are_refused(ask, model, inputs):
    error = await failure(ask(**inputs))
    assert (error.type, error.retryable) == ("validation", False)
    assert model.received == []


@pytest.mark.parametrize("name", ["WORKFLOW_LLM_BASE_URL", "WORKFLOW_LLM_MODEL"])
async def test_a_missing_setting_is_named(ask, name):
    error = await failure(ask({name: ""}, prompt="x"))
    assert (error.type, error.retryable) == ("validation", False)
    assert name in error.message


async def test_tokens_are_counted_also_of_an_answer_that_is_of_no_use(handle, model):
    endpoint = {"WORKFLOW_LLM_BASE_URL": f"{model.url}/v1", "WORKFLOW_LLM_MODEL": "small"}
    ctx = task_context()
    await handle("llm_inference", {"prompt": "2 + 2?"}, ctx, **endpoint)
    assert ctx.usage.as_json() == {"input_tokens": 11, "output_tokens": 7}
    wanted = {"prompt": "2 + 2?", "response_schema": {"type": "object"}}
    assert (await failure(handle("llm_inference", wanted, ctx, **endpoint))).type == "output_invalid"
    assert ctx.usage.as_json() == {"input_tokens": 22, "output_tokens": 14}


async def test_tokens_are_counted_by_the_model_that_was_asked(handle, model):
    def counted(direction):
        return WORKER.get_sample_value("workflow_llm_tokens_total", {"model": "asked-1", "direction": direction})

    endpoint = {"WORKFLOW_LLM_BASE_URL": f"{model.url}/v1", "WORKFLOW_LLM_MODEL": "small"}
    await handle("llm_inference", {"prompt": "2 + 2?", "model": "asked-1"}, task_context(), **endpoint)
    assert (counted("input"), counted("output")) == (11, 7)
    body = completion("Four.")
    del body["usage"]
    model.answers[CHAT] = Answer(body)
    await handle("llm_inference", {"prompt": "2 + 2?", "model": "asked-1"}, task_context(), **endpoint)
    assert (counted("input"), counted("output")) == (11, 7)
