"""Definitions and their versions."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from workflow_engine.definition.faults import SUGGEST_AMONG, nearest
from workflow_engine.definition.plan import CompiledDefinition, Plan, PlanStep
from workflow_engine.definition.step_plan import as_json
from workflow_engine.errors import DefinitionNotFound
from workflow_engine.records import (
    Definition,
    DefinitionSummary,
    DefinitionVersion,
    GraphNode,
    LiveVersion,
    PinnableWorkflow,
    PinnedDefinition,
    RecentEnds,
    RegisteredVersion,
    Version,
)
from workflow_engine.store.pool import Pool

MOST_LIVE = 100_000
"""So many workflows that have not ended are looked at for what is said of versions; the oldest."""

DEFINITIONS_CHANNEL = "workflow_definitions"
"""Where processes hear that they are to read definitions anew."""

_SUMMARY = "d.name, d.latest_version, d.pinned_version, d.disabled_at, d.created_at, d.updated_at"
_VERSION = "name, latest_version, pinned_version, version, hash, created_at, active_runs, pinned_runs, is_default"

# What a graph says of a step `s` in a scope `d`.
GRAPH_STEP = (
    "s.step_index as position, s.id as step, s.type, s.dependencies, s.scope, s.kind, s.body, s.compensation,"
    " d.kind as scope_kind, d.parent_step"
)


class Definitions:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def register(self, definition: CompiledDefinition) -> int:
        """Store a version of a definition unless its content is already one; returns the version's number."""
        version: int = await self._pool.value(
            "select workflow.register_definition(%s, %s, %s, %s, %s)",
            [
                definition.name,
                Jsonb(definition.document),
                definition.hash,
                Jsonb(definition.plan.to_json()),
                Jsonb(graph_of(definition.plan)),
            ],
            repeatable=True,
        )
        return version

    async def plan(self, version_id: int) -> Plan:
        """The plan of a version; immutable, so it may be kept for ever.

        Raises:
            DefinitionNotFound: There is no such version.
        """
        plan = await self._pool.value(
            "select plan from workflow.definition_versions where id = %s", [version_id], repeatable=True
        )
        if plan is None:
            raise DefinitionNotFound(f"Workflow definition not found: version id {version_id}")
        return Plan.from_json(plan)

    async def resolve(self, name: str, version: int | None = None) -> DefinitionVersion:
        """Which version a start of `name` at `version` would use.

        Raises:
            DefinitionNotFound: The name or the version is unknown.
        """
        found = await self._pool.rows(
            DefinitionVersion,
            "select v.id, v.name, v.version, v.hash"
            " from workflow.definitions d join workflow.definition_versions v on v.name = d.name"
            " where d.name = %s and v.version = coalesce(%s, d.pinned_version, d.latest_version)",
            [name, version],
        )
        if not found:
            raise await self._not_found(name, version)
        return found[0]

    async def document(self, version_id: int) -> dict[str, Any]:
        """The document of a version, as submitted.

        Raises:
            DefinitionNotFound: There is no such version.
        """
        document: dict[str, Any] | None = await self._pool.value(
            "select document from workflow.definition_versions where id = %s", [version_id], repeatable=True
        )
        if document is None:
            raise DefinitionNotFound(f"Workflow definition not found: version id {version_id}")
        return document

    async def input_schema(self, name: str, version: int | None) -> dict[str, Any] | None:
        """The schema of the inputs of a version, by default of the one that a start by name uses; None = anything."""
        schema: dict[str, Any] | None = await self._pool.value(
            "select v.document -> 'input_schema' from workflow.definitions d"
            " join workflow.definition_versions v on v.name = d.name"
            " and v.version = coalesce(%s::integer, d.pinned_version, d.latest_version)"
            " where d.name = %s",
            [version, name],
            repeatable=True,
        )
        return schema

    async def known(self, name: str, hash: str) -> tuple[bool, bool]:
        """Whether there is a definition of that name, and whether a version of it has that content."""
        found = await self._pool.value(
            "select jsonb_build_array(exists (select 1 from workflow.definitions where name = %s),"
            " exists (select 1 from workflow.definition_versions where name = %s and hash = %s))",
            [name, name, hash],
            repeatable=True,
        )
        return found[0], found[1]

    async def labels(self, most: int) -> builtins.list[str]:
        """The names that have a label of their own in the metrics, at most so many: those used most come first."""
        names: builtins.list[str] = await self._pool.value(
            "select workflow.definition_labels(%s)", [most], repeatable=True
        )
        return names

    async def list(
        self, *, after: str = "", part: str = "", deleted: bool | None = None, limit: int = 100
    ) -> list[DefinitionSummary]:
        """Definitions by name, from after the name `after`.

        Args:
            part: Only those that have this in their name.
            deleted: Only those that were deleted, or that were not; None = both.
        """
        return await self._pool.rows(
            DefinitionSummary,
            f"select {_SUMMARY} from workflow.definitions d where d.latest_version > 0 and d.name > %(after)s"
            " and strpos(d.name, %(part)s) > 0"
            " and (%(deleted)s::boolean is null or (d.disabled_at is not null) = %(deleted)s)"
            " order by d.name limit %(limit)s",
            {"after": after, "part": part, "deleted": deleted, "limit": limit},
        )

    async def get(self, name: str, version: int | None = None) -> Definition:
        """One version of a definition, by default its latest, also of one that was deleted.

        Raises:
            DefinitionNotFound: The name or the version is unknown.
        """
        found = await self._pool.rows(
            Definition,
            f"select {_SUMMARY}, v.version, v.hash, v.created_at as registered_at, v.document"
            " from workflow.definitions d join workflow.definition_versions v on v.name = d.name"
            " where d.name = %s and v.version = coalesce(%s, d.latest_version)",
            [name, version],
        )
        if not found:
            raise await self._not_found(name, version)
        return found[0]

    async def disable(self, name: str) -> bool:
        """Delete a definition: it starts nothing new. Returns whether it did until now.

        Raises:
            DefinitionNotFound: The name is unknown.
        """
        try:
            was_enabled: bool = await self._pool.value(
                "select workflow.disable_definition(%s)", [name], repeatable=True
            )
        except DefinitionNotFound as error:
            raise await self._not_found(name) from error
        return was_enabled

    async def version_of(self, name: str, hash: str) -> int | None:
        """The number of the version that has a content, if there is one."""
        version: int | None = await self._pool.value(
            "select version from workflow.definition_versions where name = %s and hash = %s",
            [name, hash],
            repeatable=True,
        )
        return version

    async def announce(self) -> None:
        """Tell the workers to read definitions anew. A hint: versions never change."""
        await self._pool.value("select pg_notify(%s, '')", [DEFINITIONS_CHANNEL], repeatable=True)

    async def graph(self, name: str, version: int | None = None) -> tuple[int, builtins.list[GraphNode]]:
        """The steps of a version in its order, by default of the one that a start of `name` would use; and its number.

        Raises:
            DefinitionNotFound: The name or the version is unknown.
        """
        version = (await self.resolve(name, version)).version
        nodes = await self._pool.rows(
            GraphNode,
            f"select {GRAPH_STEP}"
            " from workflow.definition_versions v join workflow.definition_steps s on s.version_id = v.id"
            " left join workflow.definition_scopes d on d.version_id = v.id and d.scope = s.scope"
            " where v.name = %s and v.version = %s order by s.step_index",
            [name, version],
        )
        return version, nodes

    async def pin(self, name: str, version: int | None) -> PinnedDefinition:
        """Let new workflows start on a version when they name none; None: on the latest again.

        Raises:
            DefinitionNotFound: The name or the version is unknown.
        """
        try:
            answer = await self._pool.value("select workflow.pin_definition(%s, %s)", [name, version], repeatable=True)
        except DefinitionNotFound as error:
            raise await self._not_found(name, version) from error
        return PinnedDefinition(name, answer["latest_version"], answer["pinned_version"])

    async def versions(self) -> builtins.list[Version]:
        """All versions of all definitions, by name and number."""
        return await self._pool.rows(Version, f"select {_VERSION} from workflow.version_list order by name, version")

    async def versions_of(self, name: str, *, before: int = 2**31 - 1, limit: int = 100) -> builtins.list[Version]:
        """The versions of one definition, newest first, from before the number `before`.

        Raises:
            DefinitionNotFound: The name is unknown.
        """
        found = await self._pool.rows(
            Version,
            f"select {_VERSION} from workflow.version_list where name = %s and version < %s"
            " order by version desc limit %s",
            [name, before, limit],
        )
        if not found:
            await self.resolve(name)
        return found

    async def registered(
        self, name: str, *, before: int = 2**31 - 1, limit: int = 100
    ) -> builtins.list[RegisteredVersion]:
        """The versions of one definition alone, newest first, from before the number `before`."""
        return await self._pool.rows(
            RegisteredVersion,
            "select version, hash, created_at from workflow.definition_versions where name = %s and version < %s"
            " order by version desc limit %s",
            [name, before, limit],
        )

    async def live(self) -> builtins.list[LiveVersion]:
        """On which versions of which definitions workflows are that have not ended, among the oldest `MOST_LIVE`."""
        return await self._pool.rows(
            LiveVersion,
            "select w.name, w.version, count(*) as live, count(*) filter (where w.pinned_version is not null) as pinned"
            " from (select w.name, w.version, w.pinned_version from workflow.workflows w"
            "       where w.finished_at is null order by w.id limit %s) w"
            " group by 1, 2 order by 1, 2 desc",
            [MOST_LIVE],
        )

    async def live_elsewhere(self, name: str, version: int, *, limit: int = 20) -> builtins.list[PinnableWorkflow]:
        """Workflows of a definition that have not ended and are on another version than this one, or pinned; oldest
        first, among the oldest `MOST_LIVE`."""
        return await self._pool.rows(
            PinnableWorkflow,
            "select w.id, w.version, w.pinned_version, w.status, w.paused_at, w.created_at"
            " from (select w.* from workflow.workflows w where w.finished_at is null order by w.id limit %s) w"
            " where w.name = %s and (w.version <> %s or w.pinned_version is not null) order by w.id limit %s",
            [MOST_LIVE, name, version, limit],
        )

    async def ends_counted_since(self, *, days: int = 7) -> datetime | None:
        """Since when ends are counted, if `recent_ends` of so many days lacks some; None: it has all."""
        since: datetime | None = await self._pool.value(
            "select workflow.ends_counted_since(%s)", [days], repeatable=True
        )
        return since

    async def recent_ends(self, names: Sequence[str], *, days: int = 7) -> builtins.list[RecentEnds]:
        """How the workflows of these definitions ended in the last days, by version and altogether."""
        return await self._pool.rows(RecentEnds, "select * from workflow.recent_ends(%s, %s)", [list(names), days])

    async def _not_found(self, name: str, version: int | None = None) -> DefinitionNotFound:
        """The error, with the versions that exist, or the nearest names."""
        latest, names = await self._pool.value(
            "select jsonb_build_array((select latest_version from workflow.definitions where name = %s),"
            " (select coalesce(jsonb_agg(n.name), '[]') from ("
            "   select name from workflow.definitions order by updated_at desc limit %s) n))",
            [name, SUGGEST_AMONG],
            repeatable=True,
        )
        if latest:
            hint = "Version 1 exists." if latest == 1 else f"Versions 1 to {latest} exist."
        elif near := nearest(name, names, most=3):
            hint = f"Did you mean {' or '.join(near)}?"
        else:
            hint = "Submit it with its steps first."
        label = name if version is None else f"{name}@{version}"
        return DefinitionNotFound(f"Workflow definition not found: {label}", hint=hint)


def graph_of(plan: Plan) -> list[dict[str, Any]]:
    """The columns of `workflow.definition_steps`, one object per step."""
    return [_node(step) for step in plan.steps]


def _node(step: PlanStep) -> dict[str, Any]:
    timeouts = {
        name: seconds
        for name in ("schedule_to_start", "schedule_to_close")
        if step.timeouts is not None and (seconds := getattr(step.timeouts, name)) is not None
    }
    return {
        "id": step.id,
        "type": step.type,
        "queue": step.queue,
        "priority": step.priority,
        "dependencies": list(step.dependencies),
        "ordering": list(step.ordering),
        "successors": list(step.successors),
        "refs": list(step.references),
        "uses_input": step.uses_input,
        "tolerated": step.on_error == "continue",
        "resources": [resource.to_json() for resource in step.resources],
        "scope": step.scope,
        "depth": step.depth,
        "kind": step.kind,
        "body": step.body,
        "rule": as_json(step.rule),
        "conditions": as_json(step.conditions) or None,
        "asked": step.asked,
        "catches": bool(step.catch),
        "compensation": step.compensation,
        "timeouts": timeouts or None,
    }
