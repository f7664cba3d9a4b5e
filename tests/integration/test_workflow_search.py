"""Pages of workflows say when they did not look at all there are."""

import pytest

from workflow_engine.definition.compile import compile_definition
from workflow_engine.records import WorkflowFilter, WorkflowStart
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store
from workflow_engine.store.workflow_search import Order


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
