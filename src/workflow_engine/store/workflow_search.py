"""Workflows by filters, in pages: however many there are, one look reads no more than it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import orjson

from workflow_engine.records import WorkflowFilter, WorkflowSummary
from workflow_engine.states import WorkflowStatus
from workflow_engine.store.pool import Pool

SUMMARY = (
    "id, name, version, status, error, labels, priority, created_at, started_at, finished_at, paused_at, ending,"
    " parent_id, created_by, traceparent, idle, retried_at"
)
Order = Literal["newest", "oldest", "longest"]
AMONG = 100_000
"""So many workflows a program has looked through for one page; whoever looks at it himself waits for fewer."""

_LIVE = "w.finished_at is null"
_WITH_ERROR = "w.error is not null"  # of those that failed, and of those that were cancelled
_TOOK = "coalesce(w.finished_at, workflow.clock()) - w.started_at - coalesce(w.idle, '0')"
_SKEW = "interval '1 hour'"  # ids are times, but for the clocks


@dataclass(frozen=True, slots=True)
class Found:
    """Workflows of one page.

    Attributes:
        further: Where the next page begins (`before`); None: there is none.
        is_cut: There is one because no more were looked at, not because there were more to show.
    """

    workflows: Sequence[WorkflowSummary]
    further: UUID | None
    is_cut: bool


class WorkflowSearch:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(
        self,
        which: WorkflowFilter,
        *,
        before: UUID | None = None,
        among: int,
        limit: int,
        order: Order = "newest",
    ) -> Found:
        """One page of those among so many workflows; arguments are those of `list`."""
        found = await self.list(which, before=before, among=among, limit=limit + 1, order=order)
        if order != "longest" and len(found) > limit:
            return Found(found[:limit], found[limit - 1].id, is_cut=False)
        if _is_plain(which, order):
            return Found(found, None, is_cut=False)  # all there are
        further = await self.look_from(which, before=before, among=among, order=order)
        if further is not None and order != "oldest":
            found = [each for each in found if each.id >= further]  # what was started in between has moved the edge
        return Found(found[:limit], further, is_cut=further is not None)

    async def look_from(
        self, which: WorkflowFilter, *, before: UUID | None = None, among: int, order: Order = "newest"
    ) -> UUID | None:
        """Before which id the next `list` with `among` has to look; None: there is nothing that was not looked at."""
        edge: UUID | None = await self._pool.value(
            f"select ({_edge(which, before, order)})",
            _parameters(which, before=before, among=among),
            repeatable=True,
            walks=True,
        )
        return edge

    async def by_end(self, end: str, *, among: int) -> UUID | None:
        """The workflow whose id ends like this, if it has not ended, failed or is one of the newest: so many of each
        are looked at, and of each its id alone.

        Args:
            end: Whole bytes, in hexadecimal digits.
        """
        looked_at = " union all ".join(
            f"(select w.id from workflow.workflows w{_where(those)} order by w.id desc limit %(among)s)"
            for those in ([_LIVE], [_WITH_ERROR], [])
        )
        found: UUID | None = await self._pool.value(
            f"select w.id from ({looked_at}) w where substr(uuid_send(w.id), %(from)s) = %(end)s limit 1",
            {"from": 17 - len(end) // 2, "end": bytes.fromhex(end), "among": among},
            repeatable=True,
            walks=True,
        )
        return found

    async def counts(self, which: WorkflowFilter, *, among: int) -> dict[str, tuple[int, bool]]:
        """How many there are of each status, whatever `which` says of it, and whether there may be more: each is
        counted among so many at most of its kind."""
        found: dict[str, tuple[int, bool]] = {}
        for those, statuses in (
            (_LIVE, (WorkflowStatus.PENDING, WorkflowStatus.RUNNING)),
            (_WITH_ERROR, (WorkflowStatus.FAILED, WorkflowStatus.CANCELLED)),
            ("", (WorkflowStatus.SUCCEEDED,)),
        ):
            meets = " and ".join(_meets(which)) or "true"
            counted, cut = await self._pool.value(
                "select jsonb_build_array(coalesce(jsonb_object_agg(c.status, c.n) filter (where c.n > 0), '{}'),"
                "                         coalesce(sum(c.looked), 0) >= %(among)s)"
                f" from (select w.status, count(*) filter (where {meets}) as n, count(*) as looked"
                f"       from ({_looked_at(_walk(which, None, 'newest', those))}) w group by w.status) c",
                _parameters(which, among=among),
                repeatable=True,
                walks=True,
            )
            found |= {status.value: (counted.get(status.value, 0), cut) for status in statuses}
        return found

    # Last, since `list` in the annotations above means the built-in one.
    async def list(
        self,
        which: WorkflowFilter,
        *,
        before: UUID | None = None,
        among: int | None = None,
        limit: int = 100,
        order: Order = "newest",
    ) -> list[WorkflowSummary]:
        """Workflows of one page.

        Args:
            before: Only those that come after this id in the order by ids: the last one of the page before.
            among: Look no further than so many workflows, so that a filter which few meet costs no more; `look_from`
                says where that was. It must be given where the order is `longest`: that is one of those looked at.
            limit: At most so many.
            order: `newest`, `oldest`: by their creation; `longest`: by how long they ran.
        """
        plain = _is_plain(which, order)
        query, parameters = list_query(which, before=before, among=None if plain else among, limit=limit, order=order)
        return await self._pool.rows(WorkflowSummary, query, parameters, walks=not plain)


def _is_plain(which: WorkflowFilter, order: Order) -> bool:
    """Whether all are meant and shown in the order of their ids: then none has to be looked at that is not shown."""
    return which == WorkflowFilter() and order != "longest"


def list_query(
    which: WorkflowFilter, *, before: UUID | None = None, among: int | None, limit: int, order: Order = "newest"
) -> tuple[str, dict[str, Any]]:
    """The statement of `WorkflowSearch.list`, and its parameters."""
    conditions = [*_meets(which), *(["w.status = any(%(status)s)"] if which.status else [])]
    walk = _walk(which, before, order)
    if among is None:
        those = f"workflow.workflow_list w{_where([*walk, *conditions])}"
    else:
        those = f"({_looked_at(walk, order)}) w{_where(conditions)}"
    by = {"newest": "w.id desc", "oldest": "w.id", "longest": f"{_TOOK} desc nulls last, w.id desc"}[order]
    query = f"select {SUMMARY} from {those} order by {by} limit %(limit)s"
    return query, _parameters(which, before=before, among=among, limit=limit)


def _walk(which: WorkflowFilter, before: UUID | None, order: Order, those: str | None = None) -> list[str]:
    """What is read by an index on ids: what it has, and from where to where. Only what is asked for is named, so that a
    plan for any value of the parameters uses that index.

    Args:
        those: The predicate of an index that has all that are meant, and few others; None: as the statuses say.
    """
    those = _of_index(which.status) if those is None else those
    conditions = [those] if those else []
    if which.ids is not None:
        conditions.append("w.id = any(%(ids)s)")
    if which.parent is not None:
        conditions.append("w.parent_id = %(parent)s")
    if before is not None:
        conditions.append(f"w.id {'>' if order == 'oldest' else '<'} %(before)s")
    if which.since is not None:
        conditions.append(f"w.id >= workflow.id_at(%(since)s - {_SKEW})")
    if which.until is not None:
        conditions.append(f"w.id < workflow.id_at(%(until)s + {_SKEW})")
    return conditions


def _looked_at(walk: Sequence[str], order: Order = "newest") -> str:
    """So many of a walk. Not up to the last id of so many: how far away that is no plan knows, and would read all."""
    direction = "" if order == "oldest" else " desc"
    return f"select w.* from workflow.workflow_list w{_where(walk)} order by w.id{direction} limit %(among)s"


def _edge(which: WorkflowFilter, before: UUID | None, order: Order) -> str:
    """The last id to look at; nothing, where there are not as many as may be looked at."""
    direction = "" if order == "oldest" else " desc"
    return (
        f"select w.id from workflow.workflows w{_where(_walk(which, before, order))}"
        f" order by w.id{direction} offset %(among)s - 1 limit 1"
    )


def _meets(which: WorkflowFilter) -> list[str]:
    """What a workflow of those has to be, but for its status."""
    conditions = {
        "w.name = %(name)s": which.name is not None and not which.name.endswith("*"),
        "starts_with(w.name, %(name)s)": which.name is not None and which.name.endswith("*"),
        "w.version = %(version)s": which.version is not None,
        "w.labels @> %(labels)s::jsonb": bool(which.labels),
        "w.created_at >= %(since)s": which.since is not None,
        "w.created_at < %(until)s": which.until is not None,
        f"{_TOOK} >= make_interval(secs => %(min_seconds)s)": which.min_seconds is not None,
        f"{_TOOK} <= make_interval(secs => %(max_seconds)s)": which.max_seconds is not None,
    }
    return [condition for condition, asked in conditions.items() if asked]


def _where(conditions: Sequence[str]) -> str:
    return f" where {' and '.join(conditions)}" if conditions else ""


def _parameters(which: WorkflowFilter, **more: Any) -> dict[str, Any]:
    return {
        "status": list(which.status),
        "name": which.name and which.name.removesuffix("*"),
        "version": which.version,
        "labels": orjson.dumps(dict(which.labels)).decode(),
        "since": which.since,
        "until": which.until,
        "ids": None if which.ids is None else list(which.ids),
        "parent": which.parent,
        "min_seconds": which.min_seconds,
        "max_seconds": which.max_seconds,
        **more,
    }


def _of_index(status: Sequence[str]) -> str:
    """The predicate of an index that has all workflows of these states, and few others; empty: there is none."""
    if status and set(status) <= {WorkflowStatus.PENDING, WorkflowStatus.RUNNING}:
        return _LIVE
    return _WITH_ERROR if list(status) == [WorkflowStatus.FAILED] else ""
