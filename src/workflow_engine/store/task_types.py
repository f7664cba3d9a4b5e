"""Task types: what operators set for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from workflow_engine.errors import TaskTypeNotFound
from workflow_engine.records import TaskType
from workflow_engine.store.pool import Pool

_COLUMNS = (
    "name, builtin, description, timeout, max_attempts, handler_timeout, handler_max_attempts, created_at, updated_at"
)


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

    async def update(self, name: str, patch: Mapping[str, Any], *, expected: datetime | None = None) -> dict[str, Any]:
        """Change what is in the patch; None takes a value back.

        Args:
            patch: `timeout` (seconds), `max_attempts`, `description`; absent ones stay.
            expected: When given, `updated_at` must be this.

        Returns:
            What changed: `{field: {"before": value, "after": value}}`; empty when nothing did.

        Raises:
            TaskTypeNotFound: There is none with this name; the hint names those there are.
            PreconditionFailed: It was changed since `expected`.
        """
        answer = await self._pool.value("select workflow.update_task_type(%s, %s, %s)", [name, Jsonb(patch), expected])
        before, after = answer["before"], answer["after"]
        return {
            field: {"before": before[field], "after": after[field]} for field in patch if before[field] != after[field]
        }

    # Last, since `list` in the annotations above means the built-in one.
    async def list(self) -> list[TaskType]:
        """All of them, by name."""
        return await self._pool.rows(TaskType, f"select {_COLUMNS} from workflow.task_types order by name")
