"""Task types: what operators set for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from workflow_engine.errors import TaskTypeNotFound
from workflow_engine.records import TaskType, TaskTypeChange, TypedStep
from workflow_engine.store.pool import Pool

_COLUMNS = (
    "name, builtin, description, timeout, max_attempts, handler_timeout, handler_max_attempts, created_at, updated_at"
)


MOST_CHANGES = 100
"""So many changes of each task type are kept."""

_STEPS_AMONG = 2000  # the newest steps of a type, of all versions


class TaskTypes:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, name: str) -> TaskType:
        """One task type.

        Raises:
            TaskTypeNotFound: There is none with this name; the hint names those there are.
        """
        types = await self.list()
        for known in types:
            if known.name == name:
                return known
        hint = f"Known are {', '.join(known.name for known in types)}."
        raise TaskTypeNotFound(f"There is no task type {name[:128]!r}.", hint=hint)

    async def update(
        self, name: str, patch: Mapping[str, Any], *, expected: datetime | None = None, by: str | None = None
    ) -> dict[str, Any]:
        """Change what is in the patch; None takes a value back.

        Args:
            patch: `timeout` (seconds), `max_attempts`, `description`; absent ones stay.
            expected: When given, `updated_at` must be this.
            by: Who changes it; kept with the change.

        Returns:
            What changed: `{field: {"before": value, "after": value}}`; empty when nothing did.

        Raises:
            TaskTypeNotFound: There is none with this name; the hint names those there are.
            PreconditionFailed: It was changed since `expected`.
        """
        answer = await self._pool.value(
            "select workflow.update_task_type(%s, %s, %s, %s)", [name, Jsonb(patch), expected, by]
        )
        before, after = answer["before"], answer["after"]
        return {
            field: {"before": before[field], "after": after[field]} for field in patch if before[field] != after[field]
        }

    async def changes(
        self, name: str, *, since: datetime | None = None, limit: int = MOST_CHANGES
    ) -> list[TaskTypeChange]:
        """What operators changed of it, the latest first; `since`: after this state of it was read."""
        return await self._pool.rows(
            TaskTypeChange,
            "select at, by, changes from workflow.task_type_changes"
            " where name = %s and at > coalesce(%s, '-infinity'::timestamptz) order by at desc limit %s",
            [name, since, limit],
        )

    async def steps(self, name: str, *, limit: int = 100) -> list[TypedStep]:
        """Steps of this type in the latest versions of definitions that are in use, by definition: among the newest."""
        return await self._pool.rows(
            TypedStep,
            # A plan is large, and taken apart once for all steps of it that are shown.
            "with typed as materialized ("
            " select v.id as version_id, v.name, v.version, s.step_index, s.id, s.queue, s.resources"
            " from (select s.* from workflow.definition_steps s where s.type = %(name)s"
            "       order by s.version_id desc limit %(among)s) s"
            " cross join lateral ("
            "   select v.id, v.name, v.version from workflow.definition_versions v"
            "   where v.id = s.version_id and exists ("
            "     select 1 from workflow.definitions d"
            "     where d.name = v.name and d.latest_version = v.version and d.disabled_at is null) offset 0) v"
            " order by v.name, s.step_index limit %(limit)s"
            "), said as materialized ("
            " select x.version_id, e.position - 1 as step_index, e.step"
            " from (select distinct t.version_id from typed t) x"
            " cross join lateral ("
            "   select v.plan -> 'steps' as steps from workflow.definition_versions v"
            "   where v.id = x.version_id offset 0) v"
            " cross join lateral jsonb_array_elements(v.steps) with ordinality e(step, position))"
            " select t.name as definition, t.version, t.id as step, t.queue,"
            " (s.step ->> 'timeout')::double precision as timeout,"
            " (s.step -> 'retries' ->> 'max_attempts')::integer as max_attempts,"
            " coalesce((select jsonb_agg(r) from jsonb_array_elements(t.resources) r where r ->> 'kind' = 'limit'),"
            " '[]') as limits"
            " from typed t left join said s on s.version_id = t.version_id and s.step_index = t.step_index"
            " order by t.name, t.step_index",
            {"name": name, "among": _STEPS_AMONG, "limit": limit},
        )

    # Last, since `list` in the annotations above means the built-in one.
    async def list(self) -> list[TaskType]:
        """All of them, by name."""
        return await self._pool.rows(TaskType, f"select {_COLUMNS} from workflow.task_types order by name")
