"""Alerts: measure, keep and read them; and the engines that tell what they alone know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from workflow_engine.records import Alert, EngineProcess, Holding, Measures, Watched
from workflow_engine.store.pool import Pool

_ALERT = "name, subject, severity, state, value, threshold, since, fires_at, ended_at"
_MOST = 500


class Alerts:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def measures(self, *, grace_seconds: float) -> Measures:
        """The numbers that conditions are about.

        Args:
            grace_seconds: See `orphans.list`.
        """
        found: Measures = await self._pool.value("select workflow.alert_measures(%s)", [grace_seconds], repeatable=True)
        return found

    async def keep(self, holding: Sequence[Holding], measures: Measures) -> tuple[list[dict[str, Any]], ...]:
        """Note which conditions hold; all others have ended.

        Returns:
            The alerts that fire from now on, and those that are over: what is told once.
        """
        rows = [asdict(one) for one in holding]
        told = await self._pool.value(
            "select workflow.keep_alerts(%s, %s)", [Jsonb(rows), Jsonb(dict(measures))], repeatable=True
        )
        return told["fired"], told["cleared"]

    async def watched(self) -> Watched:
        """Which conditions hold, by when somebody looked last."""
        found = await self._pool.value(
            "select jsonb_build_object("
            " 'now', workflow.clock(), 'at', (select w.at from workflow.watched w),"
            " 'measures', coalesce((select w.measures from workflow.watched w), '{}'),"
            " 'alerts', (select coalesce(jsonb_agg(to_jsonb(a)), '[]') from ("
            f"  select {_ALERT} from workflow.alert_list where ended_at is null order by since, name, subject"
            "   limit %s) a))",
            [_MOST],
            repeatable=True,
        )
        return Watched(
            at=found["at"] and datetime.fromisoformat(found["at"]),
            now=datetime.fromisoformat(found["now"]),
            measures=found["measures"],
            alerts=[_alert(row) for row in found["alerts"]],
        )

    async def ended(self, *, name: str | None = None, limit: int = 50) -> list[Alert]:
        """Alerts that fired and are over, the latest first; those of a week are kept."""
        return await self._pool.rows(
            Alert,
            f"select {_ALERT} from workflow.alert_list where ended_at is not null"
            " and (%(name)s::text is null or name = %(name)s) order by ended_at desc limit %(limit)s",
            {"name": name, "limit": limit},
        )

    async def note_engine(
        self,
        id: int | None,
        *,
        host: str,
        pid: int,
        version: str,
        facts: Mapping[str, Any],
        incidents: Mapping[str, int],
    ) -> int:
        """An engine's sign of life, with what it alone knows; returns its id, None of which is given the first time."""
        noted: int = await self._pool.value(
            "select workflow.note_engine(%s, %s, %s, %s, %s, %s)",
            [id, host, pid, version, Jsonb(dict(facts)), Jsonb(dict(incidents))],
        )
        return noted

    async def forget_engine(self, id: int) -> None:
        """An engine's goodbye."""
        await self._pool.value("select workflow.forget_engine(%s)", [id])

    async def engines(self) -> list[EngineProcess]:
        """The engines there are, the leader first."""
        return await self._pool.rows(
            EngineProcess,
            "select id, host, pid, version, started_at, heard_at, status, leads, lag_seconds from workflow.engine_list"
            " order by status, leads desc, started_at, id limit %s",
            [_MOST],
        )


def _alert(row: Mapping[str, Any]) -> Alert:
    times = {name: row[name] and datetime.fromisoformat(row[name]) for name in ("since", "fires_at", "ended_at")}
    return Alert(**{**row, **times})
