"""Neighbours of the handlers: servers of the test, and a client as workers have it."""

import pytest

from workflow_engine.handlers.builtin import builtin_handlers, make_http_client
from workflow_engine.handlers.connections import Connections
from workflow_engine.settings import load_settings

from .target import Target


@pytest.fixture
def target():
    with Target() as target:
        yield target


@pytest.fixture
def other_target():
    with Target() as target:
        yield target


@pytest.fixture
async def http():
    async with make_http_client(load_settings()) as client:
        yield client


@pytest.fixture
def handle(http):
    """Runs a built-in handler: `await handle("http", inputs, context, WORKFLOW_MAX_PAYLOAD_BYTES=1024)`."""

    async def handle(type, inputs, ctx, **settings):
        async with Connections({}) as connections:
            handlers = builtin_handlers(load_settings(**settings), http=http, connections=connections)
            return await handlers[type].handle(inputs, ctx)

    return handle
