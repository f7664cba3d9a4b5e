"""Pages say when they did not look at all there are, and show each row once though more are written meanwhile."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.records import AuditFilter, WorkflowFilter, WorkflowStart
from workflow_engine.store.audit import Audit
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store
from workflow_engine.store.workflow_search import Order, WorkflowSearch


@pytest.mark.parametrize(
    ("order", "among", "is_cut"),
    [("longest", 3, True), ("longest", 9, False), ("newest", 9, False), ("oldest", 9, False)],
)
async def test_a_page_is_cut_where_there_are_more_than_may_be_looked_at(
    database_url: str, order: Order, among: int, is_cut: bool
) -> None:
    pool = Pool(database_url, size=1)
    await pool.open()
    try:
        store = Store(pool)
        await store.definitions.register(
            compile_definition({"name": "flow", "steps": [{"id": "a", "type": "noop"}]}, task_types={"noop"})
        )
        await store.workflows.start([WorkflowStart("flow")] * 4)
        page = await store.search.page(WorkflowFilter(), among=among, limit=1, order=order)
        whole = await store.search.page(WorkflowFilter(), among=among, limit=8, order=order)
    finally:
        await pool.close()
    assert (page.is_cut, whole.is_cut) == (is_cut, is_cut)
    assert (page.further is not None) == (is_cut or order != "longest")
    assert len(page.workflows) == 1


FLOW = {"name": "flow", "steps": [{"id": "a", "type": "noop"}]}
ASKED = {"age": 0, "principal": "ann", "method": "POST", "path": "/x", "operation": "o", "status": 200, "times": 1}


class BusyPool(Pool):
    """One on which somebody else writes before each single value is read: within a page, where it ends."""

    def __init__(self, database_url: str, write: Callable[[Store], Awaitable[object]]) -> None:
        super().__init__(database_url, size=1)
        self._write = write
        self._is_busy = False

    async def value(self, *args: Any, **more: Any) -> Any:
        if "offset" in args[0] and not self._is_busy:
            self._is_busy = True
            await self._write(Store(self))
            self._is_busy = False
        return await super().value(*args, **more)


async def test_pages_of_workflows_show_each_once_while_others_are_started(database_url: str) -> None:
    async def start(store: Store) -> None:
        await store.workflows.start([WorkflowStart("flow")] * 2)

    pool = BusyPool(database_url, start)
    await pool.open()
    try:
        store = Store(pool)
        await store.definitions.register(compile_definition(FLOW, task_types={"noop"}))
        for _ in range(5):
            await start(store)
        shown, before = [], None
        while True:
            page = await WorkflowSearch(pool).page(WorkflowFilter(name="flow"), before=before, among=3, limit=100)
            shown += [each.id for each in page.workflows]
            if page.further is None:
                break
            before = page.further
    finally:
        await pool.close()
    assert len(shown) == len(set(shown)) >= 8


async def test_pages_of_the_audit_log_show_each_row_once_while_others_are_written(database_url: str) -> None:
    async def ask(store: Store) -> None:
        await Audit(pool).add([ASKED] * 2)

    pool = BusyPool(database_url, ask)
    await pool.open()
    try:
        audit = Audit(pool)
        await audit.add([ASKED] * 10)
        shown, before = [], None
        while True:
            rows, before, _ = await audit.page(AuditFilter(), before=before, among=5, limit=100)
            shown += [row.id for row in rows]
            if before is None:
                break
    finally:
        await pool.close()
    assert len(shown) == len(set(shown)) >= 8
