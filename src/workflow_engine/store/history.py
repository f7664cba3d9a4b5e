"""What happened to workflows: their attempts and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from workflow_engine.records import Attempt, EndOfEvents, LogEvent, Standing
from workflow_engine.store.pool import Pool
from workflow_engine.store.workflows import workflow_key, workflow_not_found

# All look rows up by key, in proportion to the workflow: see "Plans" in sql/README.md.
ATTEMPTS = (
    "select t.id as task_id, s.id as step, workflow.path_of(t.id, t.step_index, s.id, s.scope, s.body) as path,"
    " s.type, a.attempt, a.outcome, k.name as worker,"
    " a.pending_since, a.started_at, a.ended_at, a.error, s.queue,"
    " (select w.traceparent from workflow.workflows w where w.id = %(id)s) as traceparent"
    " from ("
    "  select id, version_id, step_index from workflow.tasks where workflow_id = %(id)s{tasks} union all"
    "  select id, version_id, step_index from workflow.replaced_tasks where workflow_id = %(id)s{tasks}) t"
    " cross join lateral (select s.id, s.type, s.queue, s.scope, s.body from workflow.definition_steps s"
    "                     where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s"
    " cross join lateral (select a.* from workflow.attempts a"
    "                     where a.workflow_id = %(id)s and a.task_id = t.id"
    "                     order by a.attempt desc limit %(each)s) a"
    " left join workflow.workers k on k.id = a.worker_id"
    " order by a.started_at, t.id, a.attempt"
)
STANDINGS = (
    "select coalesce(jsonb_object_agg(f.id, jsonb_build_array(w.status, coalesce(e.seq, 0))), '{}')"
    " from unnest(%s::uuid[]) f(id)"
    " cross join lateral (select w.status from workflow.workflows w where w.id = f.id offset 0) w"
    " left join lateral (select e.seq from workflow.events e"
    "                    where e.workflow_id = f.id and e.seq <= %s order by e.seq desc limit 1) e on true"
)


class History:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def attempts(
        self, workflow_id: str, *, tasks: Sequence[int] | None = None, each: int | None = None
    ) -> list[Attempt]:
        """Every attempt of a workflow's tasks in the order they started, running ones included, and those under earlier
        versions of its definition.

        Args:
            tasks: Only of these.
            each: Only the last so many of each task.

        Raises:
            WorkflowNotFound: There is no such workflow.
        """
        query = ATTEMPTS.format(tasks="" if tasks is None else " and id = any(%(tasks)s)")
        values = {"id": workflow_key(workflow_id), "tasks": list(tasks or ()), "each": each}
        attempts = await self._pool.rows(Attempt, query, values)
        if not attempts:
            await self._make_sure_of(workflow_id)
        return attempts

    async def log(
        self, workflow_id: str, *, after: int = 0, until: int | None = None, limit: int = 1000, newest: bool = False
    ) -> list[LogEvent]:
        """What happened to a workflow, from after the event `after`, in causal order.

        Args:
            until: The last event of interest; None = what there is.
            limit: At most so many.
            newest: The last of them, not the first.

        Raises:
            WorkflowNotFound: There is no such workflow.
        """
        events = await self._pool.rows(
            LogEvent,
            "select seq, at, type, task_id, attempt, step, step_type, worker, outcome, seconds, data, lines"
            " from workflow.workflow_log where workflow_id = %s and seq > %s"
            f"{'' if until is None else ' and seq <= %s'} order by seq {'desc' if newest else ''} limit %s",
            [workflow_key(workflow_id), after, *([] if until is None else [until]), limit],
        )
        if newest:
            events.reverse()
        if not events and after <= 0:
            await self._make_sure_of(workflow_id)
        return events

    async def last_event(self, workflow_id: str) -> int:
        """The `seq` of the last event of a workflow; 0 when there is none."""
        last: int = await self._pool.value(
            "select coalesce(max(seq), 0) from workflow.events where workflow_id = %s",
            [workflow_key(workflow_id)],
            repeatable=True,
        )
        return last

    async def end(self) -> EndOfEvents:
        """The number of the newest event there is, and who may still bring one with a lower number."""
        found = await self._pool.value("select workflow.end_of_events()", repeatable=True)
        return EndOfEvents(found["top"], frozenset(found["open"]))

    async def standings(self, ids: Sequence[UUID], *, until: int) -> Mapping[UUID, Standing]:
        """How far each of these workflows is, as far as it is there; one statement with two look-ups for each.

        Args:
            until: Events after this one do not count.
        """
        found: dict[str, tuple[str, int]] = await self._pool.value(STANDINGS, [list(ids), until], repeatable=True)
        return {UUID(id_): Standing(status, seq) for id_, (status, seq) in found.items()}

    async def _make_sure_of(self, workflow_id: str) -> None:
        exists = "select exists (select from workflow.workflows where id = %s)"
        if not await self._pool.value(exists, [workflow_key(workflow_id)], repeatable=True):
            raise workflow_not_found(workflow_id)
