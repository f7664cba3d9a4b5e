"""A worker in this process, on the real loop, store and database, with handlers the test brings."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
from support.eventually import eventually_async
from support.logging import configured_logging

from workflow_engine.bootstrap import open_store
from workflow_engine.definition.compile import compile_definition
from workflow_engine.handlers.base import Handle, Handler
from workflow_engine.handlers.registry import Registry
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import Workflow, WorkflowStart
from workflow_engine.settings import Settings
from workflow_engine.store.store import Store
from workflow_engine.worker.loop import Worker

StartWorker: TypeAlias = Callable[..., AbstractAsyncContextManager[Worker]]


@pytest.fixture
def configured() -> Iterator[None]:
    """Logging as in a worker process."""
    with configured_logging("worker"):
        yield


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with open_store(settings, "test") as store:
        yield store


@pytest.fixture
def start_worker(settings: Settings, store: Store) -> StartWorker:
    """`async with start_worker({"thumbnail": handle}) as worker:`; it drains when the block ends."""

    @asynccontextmanager
    async def start(handles: Mapping[str, Handle | Handler], changed: Settings | None = None) -> AsyncIterator[Worker]:
        registry = Registry({name: h if isinstance(h, Handler) else Handler(name, h) for name, h in handles.items()})
        worker = Worker(changed or settings, store, registry, get_logger("test"))
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            if not worker.draining:
                worker.drain()
            await asyncio.wait_for(running, 30)
            registry.close()

    return start


class Engine:
    """Starts definitions and waits for their end, as the API would."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def start(self, document: dict[str, Any], input: Any = None) -> str:
        types = {step["type"] for step in document["steps"]}
        definition = compile_definition(document, task_types=types)
        await self.store.definitions.register(definition)
        started, _ = await self.store.workflows.start([WorkflowStart(definition.name, input=input or {})])
        return str(started[0].id)

    async def ended(self, workflow_id: str) -> Workflow:
        async def end() -> Workflow | None:
            workflow = await self.store.workflows.get(workflow_id)
            return workflow if workflow.finished_at else None

        found = await eventually_async(end, timeout=30)
        assert found is not None
        return found


@pytest.fixture
def engine(store: Store) -> Engine:
    return Engine(store)
