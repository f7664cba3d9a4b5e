"""Workflows: start them, find them, look into one."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import orjson

from workflow_engine.errors import IdempotencyKeyReused, WorkflowNotFound
from workflow_engine.records import (
    GraphNode,
    Reason,
    StartedWorkflow,
    Task,
    Workflow,
    WorkflowStart,
    WorkflowSummary,
)
from workflow_engine.store.definitions import GRAPH_STEP
from workflow_engine.store.pool import Pool, as_uuid
from workflow_engine.store.tasks import TASK_COLUMNS
from workflow_engine.store.workflow_search import SUMMARY

_COLUMNS = (
    "id, name, version, status, input, output, error, labels, priority, created_at, started_at, finished_at, paused_at,"
    " latest_version, pinned_version, ending, deadline, parent_id, parent_task_id, root_id, rerun_of, created_by,"
    " traceparent, idle, retried_at, paused_by, paused_reason"
)
# All look rows up by key, in proportion to the workflow: see "Plans" in sql/README.md.
#
# One row per step: of a map with ten thousand items it has counts. Of the workflow's own tasks none has a scope.
GRAPH = (
    f"select {GRAPH_STEP}, t.task_id, t.counts, t.unreached, t.attempt, t.started_at, t.finished_at, t.waits"
    " from (select t.version_id, t.step_index, min(t.id) as task_id, jsonb_object_agg(t.status, t.tasks) as counts,"
    "              sum(t.unreached)::integer as unreached, max(t.attempt) as attempt, min(t.started_at) as started_at,"
    "              case when bool_and(t.ended) then max(t.finished_at) end as finished_at,"
    "              string_agg(t.waits, ' ') as waits"
    "       from (select t.version_id, t.step_index, t.status, count(*) as tasks, min(t.id) as id,"
    "                    count(*) filter (where workflow.is_upstream_failed(t.status, t.error)) as unreached,"
    "                    max(t.attempt) as attempt, min(t.started_at) as started_at,"
    "                    max(t.finished_at) as finished_at, bool_and(t.finished_at is not null) as ended,"
    "                    string_agg(case when t.status = 'pending' then ("
    "                        select string_agg(x.kind || ':' || x.key, ' ') from workflow.waits x"
    "                        where x.task_id = t.id) end, ' ') as waits"
    "             from workflow.tasks t"
    "             left join lateral (select c.replaced from workflow.scopes c"
    "                                where c.base = t.id - t.step_index offset 0) c on true"
    "             where t.workflow_id = %s and c.replaced is not true group by 1, 2, 3) t"
    "       group by 1, 2) t"
    " cross join lateral (select s.* from workflow.definition_steps s"
    "                     where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s"
    " left join lateral (select d.kind, d.parent_step from workflow.definition_scopes d"
    "                    where d.version_id = t.version_id and d.scope = s.scope offset 0) d on true"
    " order by t.step_index"
)

ENDED_CHANNEL = "workflow_ended"
"""Where the ends of awaited workflows are told, by their ids."""


class Workflows:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def start(
        self,
        starts: Sequence[WorkflowStart],
        *,
        key: str | None = None,
        fingerprint: str = "",
        principal: str = "",
    ) -> tuple[list[StartedWorkflow], bool]:
        """Start workflows, all or none.

        Args:
            starts: What to start; the definitions are registered.
            key: Idempotency key of the whole list.
            fingerprint: Identifies the request, so that the same key with another one is noticed.
            principal: Who asks; keys of different principals do not meet.

        Returns:
            The workflows in order, and whether this is the answer to an earlier request with the same key.

        Raises:
            DefinitionNotFound: A name or version is unknown.
            DefinitionDisabled: A definition was deleted.
            IdempotencyKeyReused: The key came before with another fingerprint.
            AlreadyStarted: A definition rejects a second start with its key.
            ConcurrencyLimit: A definition rejects a start while others with its key run.
            KeyMissing: An input lacks what a key of its definition is made of.
            EnginePaused: The engine accepts nothing new.
        """
        document = orjson.dumps(
            [
                {
                    "name": s.name,
                    "version": s.version,
                    "hash": s.hash,
                    "input": s.input,
                    "labels": s.labels,
                    "priority": s.priority,
                    "awaited": s.awaited,
                    "created_by": s.created_by,
                    **({} if s.audit is None else {"audit": s.audit}),
                    **({} if s.traceparent is None else {"traceparent": s.traceparent}),
                }
                for s in starts
            ]
        )
        answer = await self._pool.value(
            "select workflow.start_many(%s::jsonb, %s, %s, %s)",
            [document.decode(), key, fingerprint, principal],
            repeatable=key is not None,
        )
        started = [
            StartedWorkflow(UUID(s["id"]), s["name"], s["version"], s["status"], s.get("existing", False))
            for s in answer["started"]
        ]
        return started, answer["replayed"]

    async def check_key(self, key: str, *, fingerprint: str, principal: str = "") -> None:
        """Refuse a request before anything is written for it; `start` decides in the end.

        Raises:
            IdempotencyKeyReused: The key came before with another fingerprint.
        """
        reused = await self._pool.value(
            "select fingerprint <> %s from workflow.idempotency_keys where principal = %s and key = %s"
            " and created_at > workflow.clock() - interval '24 hours'",
            [fingerprint, principal, key],
            repeatable=True,
        )
        if reused:
            raise IdempotencyKeyReused(hint="Use a new key for a new request.")

    async def get(self, workflow_id: str) -> Workflow:
        """One workflow.

        Raises:
            WorkflowNotFound: There is none with this id.
        """
        found = await self._pool.rows(
            Workflow,
            f"select {_COLUMNS}, case when finished_at is null then workflow.pending_reason(id) end as pending_reason,"
            " case when has_budget then workflow.budget_usage(id) end as budget"
            " from workflow.workflow_list where id = %s",
            [workflow_key(workflow_id)],
        )
        if not found:
            raise workflow_not_found(workflow_id)
        return found[0]

    async def running(self, *, waiting: bool = False) -> list[WorkflowSummary]:
        """All workflows that were started and have not ended, oldest first.

        Args:
            waiting: Also those of which nothing runs or goes on by itself: they wait for the world outside, or are
                paused.
        """
        return await self._pool.rows(
            WorkflowSummary,
            f"select {SUMMARY} from workflow.workflow_list where finished_at is null and status = 'running'"
            + ("" if waiting else " and id = any(array(select workflow.moving()))")
            + " order by id",
        )

    async def statuses(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        """The status of each of these workflows that exists; one cheap statement for many waiters."""
        rows = await self._pool.value(
            "select coalesce(jsonb_object_agg(id, status), '{}') from workflow.workflows where id = any(%s)",
            [list(ids)],
            repeatable=True,
        )
        return {UUID(id_): status for id_, status in rows.items()}

    async def tasks(self, workflow_id: str, *, after: int = -1, limit: int = 1000) -> list[Task]:
        """The tasks of a workflow in the order of its steps, from after the task id `after`.

        Raises:
            WorkflowNotFound: There is no such workflow.
        """
        tasks = await self._pool.rows(
            Task,
            f"select {TASK_COLUMNS} from workflow.task_list"
            " where workflow_id = %s and id > %s and not replaced order by id limit %s",
            [workflow_key(workflow_id), after, limit],
        )
        if not tasks and after < 0:
            raise workflow_not_found(workflow_id)
        return tasks

    async def graph(self, workflow_id: str) -> list[GraphNode]:
        """The steps of a workflow that have tasks, with their dependencies and states, in the order of the definition.

        Raises:
            WorkflowNotFound: There is no such workflow.
        """
        nodes = await self._pool.rows(GraphNode, GRAPH, [workflow_key(workflow_id)])
        if not nodes:
            raise workflow_not_found(workflow_id)
        return nodes

    async def why(self, workflow_id: str, *, after: int = -1, limit: int = 1000) -> list[Reason]:
        """For each task that has not ended the reason why it does not go on, by task id from after `after`.

        Raises:
            WorkflowNotFound: There is no such workflow.
        """
        reasons = await self._pool.rows(
            Reason, "select * from workflow.explain(%s, %s, %s)", [workflow_key(workflow_id), after, limit]
        )
        if not reasons and after < 0:
            await self.get(workflow_id)
        return reasons


def workflow_key(workflow_id: str) -> UUID:
    """The id of a workflow as Postgres knows it.

    Raises:
        WorkflowNotFound: It is none, so that there is no such workflow.
    """
    found = as_uuid(workflow_id)
    if found is None:
        raise workflow_not_found(workflow_id)
    return found


def workflow_not_found(workflow_id: str) -> WorkflowNotFound:
    hint = "GET /api/v1/workflows lists recent ones."
    if workflow_id.strip("{}") in {"workflow_id", "id"}:
        hint = f"This looks like the placeholder; put a real id here. {hint}"
    return WorkflowNotFound(f"There is no workflow {workflow_id[:80]!r}.", hint=hint)
