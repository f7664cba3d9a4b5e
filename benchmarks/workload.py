"""Starts workflows and waits until they have ended, with the check that they ended well."""

from __future__ import annotations

import asyncio

from workflow_engine.definition.compile import CompiledDefinition
from workflow_engine.errors import StackUnavailable
from workflow_engine.records import WorkflowStart
from workflow_engine.store.store import Store

_LOOK_SECONDS = 0.02
_LIMIT_SECONDS = 300.0


async def run_workflows(store: Store, definition: CompiledDefinition, count: int) -> float:
    """Start `count` workflows in one commit, so that idle workers see all at once, and wait for their end.

    Returns:
        Seconds from the first claim to the last completion, by the database's clock.

    Raises:
        StackUnavailable: Some did not succeed, or a step ran more than once.
    """
    started, _ = await store.workflows.start([WorkflowStart(definition.name)] * count)
    ids = [workflow.id for workflow in started]
    async with asyncio.timeout(_LIMIT_SECONDS):
        live = True
        while live:
            await asyncio.sleep(_LOOK_SECONDS)
            live = await store.pool.value("select exists (select 1 from workflow.workflows where finished_at is null)")
    succeeded, seconds = await store.pool.value(
        "select jsonb_build_array(count(*) filter (where status = 'succeeded'),"
        " extract(epoch from max(finished_at) - min(started_at))) from workflow.workflows where id = any(%s)",
        [ids],
    )
    attempts = await store.pool.value(
        "select count(*) from workflow.attempt_history h join workflow.tasks t on t.id = h.task_id"
        " where t.workflow_id = any(%s)",
        [ids],
    )
    expected = count * len(definition.plan.steps)
    if (succeeded, attempts) != (count, expected):
        raise StackUnavailable(f"{succeeded} of {count} succeeded with {attempts} attempts, not {expected}")
    return float(seconds)
