"""The calls of the leader's duties, one method per SQL function."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from workflow_engine.records import EventCounts, Violation
from workflow_engine.store.pool import Pool


class Maintenance:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def concerns(self, events: int | None) -> tuple[frozenset[str], datetime]:
        """The names of duties that may have something to do, and the time by the clock of Postgres.

        Args:
            events: The last event that was told, if all were.
        """
        concerned, now = await self._pool.value(
            "select jsonb_build_array(workflow.concerns(%s), clock_timestamp())", [events], repeatable=True
        )
        return frozenset(concerned), datetime.fromisoformat(now)

    async def sweep_expired_leases(
        self, *, max_crashes: int, grace_seconds: float, heard_at: datetime | None, limit: int
    ) -> tuple[dict[str, int], datetime]:
        """Take expired leases back.

        Returns:
            How many tasks run again (`recovered`) and how many failed (`failed`); of both together, how many had a
            worker that is dead (`worker_dead`) and how many had one that lives (`lock_expired`). And the time by the
            clock of Postgres, for the next call.

        Args:
            max_crashes: Lost claims after which a task fails.
            grace_seconds: Time after a start of Postgres in which nothing is taken back: nobody could renew.
            heard_at: When Postgres was last heard, by its own clock; if that is longer ago than `grace_seconds`,
                nothing is taken back either.
            limit: At most so many.
        """
        taken: dict[str, Any] = await self._pool.value(
            "select to_jsonb(s) || jsonb_build_object('now', clock_timestamp())"
            " from workflow.sweep_expired_leases(%s, %s, %s, %s) s",
            [max_crashes, grace_seconds, limit, heard_at],
        )
        return taken, datetime.fromisoformat(taken.pop("now"))

    async def narrate(self, after: int | None, told: Collection[int]) -> dict[str, Any]:
        """The events after `after` that are of interest to people and not in `told`; see sql/functions/narrate.sql."""
        found: dict[str, Any] = await self._pool.value(
            "select workflow.narrate(%s, %s)", [after, list(told)], repeatable=True
        )
        return found

    async def ended_spans(self, after: int | None, told: Collection[int]) -> dict[str, Any]:
        """The spans that no worker writes, of the events after `after` not in `told`; see sql/functions/traces.sql."""
        found: dict[str, Any] = await self._pool.value(
            "select workflow.ended_spans(%s, %s)", [after, list(told)], repeatable=True
        )
        return found

    async def count_events(self, bounds: Sequence[float]) -> EventCounts:
        """What happened since the last call, which nobody else counts; not repeated when its answer is lost.

        Args:
            bounds: Upper bounds of durations, ascending.
        """
        found = await self._pool.value("select workflow.count_events(%s::double precision[])", [list(bounds)])
        return EventCounts(
            [(name, count) for name, count in found["started"]],
            [tuple(row) for row in found["ended"]],
            found["retries"],
            found["more"],
            found["behind"],
        )

    async def sweep_held(self, after: int | None, *, limit: int = 1000) -> tuple[dict[str, int], int | None]:
        """End a pause whose time is over, park and unpark what is due to it.

        Args:
            after: Go on after this job: the answer of the call before.
            limit: Look at so many parked jobs, and so many pending ones of each queue.

        Returns:
            What was done by kind, and the `after` to go on with; None when all parked jobs were seen.
        """
        answer = await self._pool.value("select workflow.sweep_held(%s, %s)", [after, limit], repeatable=True)
        after = answer.pop("last")
        return answer, after

    async def sweep_waiters(self, after: str | None, *, limit: int = 100) -> tuple[int, str | None]:
        """Wake those who wait for a lock or limit that is free.

        Args:
            after: Go on after this resource: the answer of the call before.
            limit: Look at the lines for so many resources.

        Returns:
            How many were woken, and the `after` to go on with; None when all lines were seen.
        """
        answer = await self._pool.value("select workflow.sweep_waiters(%s, %s)", [after, limit], repeatable=True)
        return answer["woken"], answer["last"]

    async def wake_rated(self) -> int:
        """Wake those who wait for units of a limit's rate that are there again; returns how many."""
        return int(await self._pool.value("select workflow.wake_rated()", repeatable=True))

    async def sweep_budgets(self) -> list[dict[str, Any]]:
        """Stop what is over its budget; the bounds that were reached since the last call."""
        reached: list[dict[str, Any]] = await self._pool.value("select workflow.sweep_budgets()")
        return reached

    async def sweep_retention(self, defaults: Mapping[str, float]) -> tuple[int, bool]:
        """Delete workflows that ended longer ago than they are kept, with everything of theirs, so many at a time.

        Args:
            defaults: Seconds by status, where a definition does not say; absent = for ever.

        Returns:
            How many, and whether there may be more to look at.
        """
        answer = await self._pool.value("select workflow.sweep_retention(%s)", [Jsonb(dict(defaults))])
        return answer["deleted"], answer["more"]

    async def drop_partition(self) -> str | None:
        """Drop a partition of events or attempts of which nothing is kept any more; returns its name.

        None: there is no such one, or others held its table's lock for too long.
        """
        answer = await self._pool.value("select workflow.drop_partition()")
        name: str | None = answer["dropped"]
        return name

    async def clean_partition(self, defaults: Mapping[str, float]) -> int | None:
        """Delete rows of deleted workflows in the next part of a partition that has to stay.

        Returns:
            How many rows; None when there is no such partition.
        """
        rows: int | None = await self._pool.value("select workflow.clean_partition(%s)", [Jsonb(dict(defaults))])
        return rows

    async def keep_partitions(self, defaults: Mapping[str, float]) -> dict[str, int]:
        """Make partitions of events and attempts ahead, and partitions of what is in the default ones.

        Args:
            defaults: As in `sweep_retention`; how long is kept says how long partitions are.

        Returns:
            See sql/functions/partitions.sql; call again while something was `made` or `drained`.
        """
        done: dict[str, int] = await self._pool.value(
            "select workflow.keep_partitions(%s)", [Jsonb(dict(defaults))], unlimited=True
        )
        return done

    async def sweep_places(self, after: str | None, *, limit: int = 100) -> tuple[int, str | None]:
        """Let workflows in that are next in line for a concurrency key, where that was missed.

        Args:
            after: Go on after this key: the answer of the call before.
            limit: Look at so many keys.

        Returns:
            How many were let in, and the `after` to go on with; None when all keys were seen.
        """
        answer = await self._pool.value("select workflow.sweep_places(%s, %s)", [after, limit], repeatable=True)
        return answer["entered"], answer["last"]

    async def sweep_timed_out(self, *, limit: int = 100) -> int:
        """Fail workflows whose deadline has passed; returns how many."""
        return int(await self._pool.value("select workflow.sweep_timed_out(%s)", [limit], repeatable=True))

    async def sweep_deadlines(self, *, limit: int = 500) -> dict[str, int]:
        """Fail tasks whose deadlines have passed; returns how many by kind of the deadline, which are all there."""
        failed: dict[str, int] = await self._pool.value("select workflow.sweep_deadlines(%s)", [limit], repeatable=True)
        return failed

    async def sweep_children(self, after: int | None, *, limit: int = 500) -> tuple[dict[str, int], int | None]:
        """Wake parents whose child has ended, and cancel children of parents that have.

        Args:
            after: Go on after this row: the answer of the call before.
            limit: At most so many of each.

        Returns:
            What was done by kind, and the `after` to go on with; None when all that wait were seen.
        """
        answer = await self._pool.value("select workflow.sweep_children(%s, %s)", [after, limit], repeatable=True)
        after = answer.pop("last")
        return answer, after

    async def sweep_leaked_jobs(self, *, limit: int = 500) -> int:
        """Remove claimed jobs that no running task stands behind; returns how many."""
        return int(await self._pool.value("select workflow.sweep_leaked_jobs(%s)", [limit], repeatable=True))

    async def sweep_lost_jobs(
        self, after: UUID | None, *, max_crashes: int, limit: int = 100
    ) -> tuple[int, UUID | None]:
        """Give tasks whose job is gone a new one, in the next `limit` live workflows by id.

        Returns:
            How many tasks were mended, and the `after` to go on with; None when all live workflows were seen.
        """
        answer = await self._pool.value(
            "select workflow.sweep_lost_jobs(%s, %s, %s)", [after, max_crashes, limit], repeatable=True
        )
        return answer["mended"], UUID(answer["last"]) if answer["last"] else None

    async def sweep_audit(self, keep_seconds: float) -> int:
        """Delete rows of the audit log that have been kept for so long, some thousand at most; returns how many."""
        count: int = await self._pool.value(
            "select workflow.sweep_audit(make_interval(secs => %s::double precision))", [keep_seconds], repeatable=True
        )
        return count

    async def take_sample(self) -> None:
        """Note where the engine stands, for the lines of the dashboard; what is older than a day is forgotten."""
        await self._pool.value("select workflow.take_sample()", repeatable=True)

    async def sample_invariants(
        self, after: UUID | None, also: Collection[UUID], *, limit: int = 50
    ) -> tuple[list[Violation], UUID | None]:
        """Look whether all that must hold does, in the next `limit` live workflows by id, a few recent ones and `also`.

        Returns:
            What is broken, and the `after` to go on with; None when all live ones were seen.
        """
        answer = await self._pool.value(
            "select workflow.sample_invariants(%s, %s, %s)", [after, limit, list(also)], repeatable=True
        )
        violations = [Violation(**violation) for violation in answer["violations"]]
        return violations, UUID(answer["last"]) if answer["last"] else None

    async def sweep_retired(self, *, limit: int = 500) -> int:
        """Forget old idempotency keys and long gone workers; returns how many rows."""
        return int(await self._pool.value("select workflow.sweep_retired(p_limit => %s)", [limit], repeatable=True))

    async def wake_due(self, *, limit: int = 1000) -> int:
        """Make scheduled tasks whose time has come pending, in all queues; returns how many."""
        return int(await self._pool.value("select workflow.wake_due(p_limit => %s)", [limit], repeatable=True))
