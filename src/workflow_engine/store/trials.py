"""What a trial does in the database: all of it in one transaction that is rolled back.

A trial takes the same SQL functions as everybody else, but names of its own: what it registers, starts and queues meets
nothing real. So it waits for nobody, and nobody for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from workflow_engine.records import Completion, Turn
from workflow_engine.store.definitions import graph_of
from workflow_engine.store.turns import TURN, completions_document, read_turn

if TYPE_CHECKING:
    from workflow_engine.definition.plan import CompiledDefinition

_STATEMENT_TIMEOUT = "10s"
_LEASE_SECONDS = 1e9  # a virtual worker does not die

_TREE = (
    "with recursive tree as ("
    "  select w.id, '' as prefix from workflow.workflows w where w.id = %(root)s"
    "  union all"
    "  select w.id, tree.prefix || coalesce(c.path || case when s.body then '' else '.' || s.id end, s.id) || '/'"
    "  from tree join workflow.tasks t on t.workflow_id = tree.id"
    "  join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index"
    "  left join workflow.scopes c on s.scope > 0 and c.base = t.id - t.step_index"
    "  join workflow.workflows w on w.parent_task_id = t.id)"
)
_PATH = "tree.prefix || coalesce(c.path || case when s.body then '' else '.' || s.id end, s.id)"
_PLACE = (
    " join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index"
    " left join workflow.scopes c on s.scope > 0 and c.base = t.id - t.step_index"
)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep brought, and how things stand."""

    moved: bool
    next_due: float | None  # seconds until the next deadline
    ended: bool  # the workflow


class Trials:
    """One trial's place in the database.

    Args:
        connection: Inside a transaction that the caller rolls back.
        key: Unique to this trial; part of every name it uses.
    """

    def __init__(self, connection: AsyncConnection[Any], key: str) -> None:
        self._connection = connection
        self._key = key
        self._queue = f"test:{key}"
        self._worker_id = 0

    async def begin(self, now: datetime) -> None:
        """Set the clock and register the virtual worker. It offers no types, as that may lock those that are known."""
        await self._value(f"select set_config('statement_timeout', '{_STATEMENT_TIMEOUT}', true)")
        await self.set_clock(now)
        self._worker_id = await self._value(
            "select workflow.register_worker(%s, 'test', 0, '', %s, '[]', 1, 1e9,"
            " (select worker_id from procrastinate_register_worker_v1()))",
            [self._queue, [self._queue]],
        )

    async def set_clock(self, now: datetime) -> None:
        """Let the time stand at `now`."""
        await self._value("select set_config('workflow.clock_time', %s, true)", [now.isoformat()])

    def private_name(self, name: str) -> str:
        """The name under which a definition is registered for this trial."""
        return f"test:{self._key}:{name}"

    async def register(self, definition: CompiledDefinition) -> tuple[int, int]:
        """Register a definition for this trial alone; returns the number and the id of its version.

        Its locks and limits are its own, so that it does not wait for those of real workflows.
        """
        steps = [
            {
                **step,
                "queue": self._queue,
                "resources": [
                    {**resource, "key": f"{self._queue}:{resource['key']}"} for resource in step["resources"]
                ],
            }
            for step in graph_of(definition.plan)
        ]
        plan = {**definition.plan.to_json(), "schedule": [], "concurrency": [], "idempotency": None}
        name = self.private_name(definition.name)
        version = await self._value(
            "select workflow.register_definition(%s, %s, %s, %s, %s)",
            [name, Jsonb(definition.document), definition.hash, Jsonb(plan), Jsonb(steps)],
        )
        version_id = await self._value(
            "select id from workflow.definition_versions where name = %s and version = %s", [name, version]
        )
        return version, version_id

    async def document(self, name: str, version: int | None) -> dict[str, Any] | None:
        """The document that a start of a real definition would use; None when there is none."""
        document: dict[str, Any] | None = await self._value(
            "select v.document from workflow.definitions d join workflow.definition_versions v on v.name = d.name"
            " where d.name = %s and d.disabled_at is null"
            " and v.version = coalesce(%s::integer, d.pinned_version, d.latest_version)",
            [name, version],
        )
        return document

    async def start(self, name: str, input: Any, labels: Mapping[str, str] | None = None) -> UUID:
        """Start what was registered as `name`.

        Raises:
            psycopg.Error: WF503, as the engine is paused.
        """
        start = {"name": self.private_name(name), "input": input, "labels": dict(labels or {})}
        answer = await self._value("select workflow.start_many(%s)", [Jsonb([start])])
        return UUID(answer["started"][0]["id"])

    async def turn(self, completions: Sequence[Completion], *, types: Sequence[str], want: int) -> Turn:
        """A turn of the virtual worker, inside a savepoint: what Postgres refuses changes nothing.

        Raises:
            psycopg.Error: Postgres refuses the completions.
        """
        document = completions_document(completions)
        async with self._connection.transaction():
            parameters = [self._worker_id, document, [self._queue], list(types), want, _LEASE_SECONDS]
            return read_turn(await self._value(TURN, parameters))

    async def sweep(self, root: UUID) -> Swept:
        """Do for the trial what sweeps do for everybody."""
        return Swept(**await self._value("select workflow.sweep_trial(%s)", [root]))

    async def workflow(self, root: UUID) -> dict[str, Any]:
        """The status, output and error of a workflow, and when it ended."""
        [row] = await self._rows(
            "select status, output, error, created_at, finished_at, paused_at from workflow.workflow_list"
            " where id = %(root)s",
            {"root": root},
        )
        return row

    async def tasks(self, root: UUID) -> list[dict[str, Any]]:
        """The tasks of a workflow and of its children, in the order in which they were made."""
        return await self._rows(
            f"{_TREE} select {_PATH} as path, s.id as step, s.type, t.status, t.attempt, t.output, t.error, t.awaits,"
            " coalesce(t.first_started_at, t.started_at) as started_at, t.finished_at,"
            " array(select x.kind || ' ' || x.key from workflow.waits x where x.task_id = t.id order by 1) as held_by"
            f" from tree join workflow.tasks t on t.workflow_id = tree.id {_PLACE}"
            " where not coalesce(c.replaced, false) order by tree.prefix, t.id",
            {"root": root},
        )

    async def events(self, root: UUID) -> list[dict[str, Any]]:
        """What happened, in order."""
        return await self._rows(
            f"{_TREE} select e.at, e.type, e.attempt, e.data,"
            f" case when t.id is null then nullif(tree.prefix, '') else {_PATH} end as path"
            " from tree join workflow.events e on e.workflow_id = tree.id"
            f" left join (workflow.tasks t {_PLACE}) on t.id = e.task_id"
            " order by e.seq",
            {"root": root},
        )

    # The world outside ------------------------------------------------------------------------------------------------

    async def signal(self, root: UUID, name: str, payload: Any, *, to: str | None = None) -> bool:
        """Send a signal to a workflow and its children, or to one of them, as far as they are live; False: to none."""
        sent = await self._rows(
            f"{_TREE} select workflow.signal(w.id, %(name)s, %(payload)s, 'test')"
            " from tree join workflow.workflows w on w.id = tree.id"
            " where w.finished_at is null and (%(to)s::text is null or w.id::text = %(to)s)",
            {"root": root, "name": name, "payload": Jsonb(payload), "to": to},
        )
        return bool(sent)

    async def open_approvals(self, root: UUID) -> list[dict[str, Any]]:
        """The approvals that are asked for now: id, path, step and outcomes."""
        return await self._rows(
            f"{_TREE} select a.id, {_PATH} as path, s.id as step, a.outcomes"
            " from tree join workflow.approvals a on a.workflow_id = tree.id and a.status = 'open'"
            f" join workflow.tasks t on t.id = a.task_id {_PLACE} order by t.id",
            {"root": root},
        )

    async def answer(self, approval: UUID, *, outcome: str, data: Any, by: str | None) -> None:
        """Answer an approval; its outcome must be one of those it has."""
        await self._value("select workflow.answer_approval(%s, %s, %s, %s)", [approval, outcome, Jsonb(data), by])

    async def outbox(self, root: UUID, *, after: int = 0) -> list[dict[str, Any]]:
        """What was emitted after the letter `after`, in order."""
        return await self._rows(
            f"{_TREE} select o.seq, o.name, o.payload, o.kind, o.target, o.created_at as at, {_PATH} as path"
            " from tree join workflow.outbox o on o.workflow_id = tree.id"
            f" join workflow.tasks t on t.id = o.task_id {_PLACE} where o.seq > %(after)s order by o.seq",
            {"root": root, "after": after},
        )

    def _shown(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows as they would be without this trial's own names in their JSON data."""
        for row in rows:
            for name, value in row.items():
                if isinstance(value, dict | list):
                    row[name] = orjson.loads(orjson.dumps(value).replace(f"test:{self._key}:".encode(), b""))
        return rows

    async def _value(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        row = await (await self._connection.execute(query.encode(), parameters)).fetchone()
        return row[0] if row else None

    async def _rows(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), parameters)
            return self._shown(await cursor.fetchall())
