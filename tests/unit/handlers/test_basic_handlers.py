"""`transform`, `noop` and `fail`, and the set of built-in types."""

import pytest

from workflow_engine.errors import TaskError
from workflow_engine.handlers.basic import fail, noop, transform
from workflow_engine.handlers.builtin import builtin_handlers, make_http_client
from workflow_engine.handlers.connections import Connections
from workflow_engine.settings import load_settings
from workflow_engine.testing import task_context


@pytest.mark.parametrize("value", [None, 0, "text", {"a": [1]}])
async def test_transform_gives_its_value(value):
    assert await transform({"value": value}, task_context()) == value


@pytest.mark.parametrize("inputs", [{}, {"value": 1, "valeu": 2}])
async def test_transform_takes_exactly_a_value(inputs):
    with pytest.raises(TaskError) as caught:
        await transform(inputs, task_context())
    assert (caught.value.type, caught.value.retryable) == ("validation", False)


async def test_noop_gives_nothing():
    assert await noop({}, task_context()) is None


@pytest.mark.parametrize(
    ("inputs", "type", "message"),
    [
        ({"type": "out_of_stock", "message": "None left"}, "user.out_of_stock", "None left"),
        ({}, "user.failed", "The workflow asked for this failure."),
        ({"type": "a b"}, "validation", "/type"),
    ],
)
async def test_fail_fails_for_good(inputs, type, message):
    with pytest.raises(TaskError) as caught:
        await fail(inputs, task_context())
    assert (caught.value.type, caught.value.retryable) == (type, False)
    assert caught.value.message.startswith(message)


async def test_all_built_in_types_are_there_and_described():
    settings = load_settings()
    async with make_http_client(settings) as http, Connections({}) as connections:
        handlers = builtin_handlers(settings, http=http, connections=connections)
    assert sorted(handlers) == ["agent", "database", "fail", "http", "llm_inference", "noop", "tool", "transform"]
    assert all(handler.type == name and handler.description for name, handler in handlers.items())
