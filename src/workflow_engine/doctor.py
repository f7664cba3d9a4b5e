"""`workflow-engine doctor`: what an operator would look at first, each with what it means and what to do about it.

It speaks to Postgres, Redis and the neighbours itself, so it helps where no engine runs. It changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from workflow_engine.mirror.inspection import inspect_redis
from workflow_engine.observability.tracing import INSTALL
from workflow_engine.settings import Settings
from workflow_engine.store.migrate import not_applied
from workflow_engine.store.pool import NOT_GRANTED, connection_options, shared_connection_options
from workflow_engine.store.server_settings import NEWEST_MAJOR, OLDEST_MAJOR, SETTINGS, unsafe_settings

_NEIGHBOUR_SECONDS = 3.0
_OLD_TRANSACTION_SECONDS = 300
_MANY_CONNECTIONS = 0.8  # of those there may be
_OLD_XIDS = 1_000_000_000  # half of the way to where Postgres refuses writes
_KEPT_WAL_BYTES = 10 << 30
_CLOCK_SECONDS = 5.0
_INVARIANT_SECONDS = 10.0
_SHOWN = 10  # rows that break an invariant


_STATE = """
    select extract(epoch from clock_timestamp())::float as now,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as most,
           (select count(*) from pg_stat_activity where backend_type = 'client backend') as used,
           (select max(age(datfrozenxid)) from pg_database) as xids,
           (select coalesce(sum(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0)::bigint
            from pg_replication_slots where not active) as kept
"""


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # it works, but not well, or not for long
    FAIL = "fail"  # something does not work, or what was accepted may be lost


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    name: str
    text: str
    fix: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.level:<5} {self.name:<24} {self.text}"
        if self.fix:
            yield f"{'':<6}{'':<24} -> {self.fix}"


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, one thing after the other."""
    yield from _postgres(settings)
    for good, text, fix in inspect_redis(settings.redis_url):
        yield Finding(Level.OK if good else Level.WARN, "redis", text, fix)
    for name, url in (("agent mesh", settings.agent_mesh_url), ("agent brain", settings.agent_brain_url)):
        yield _neighbour(name, url)
    if settings.traces_exporter != "none":
        yield _traces(settings)


def _postgres(settings: Settings) -> Iterator[Finding]:
    options = connection_options("workflow-engine doctor")
    options["prepare_threshold"] = None  # there may be a pooler
    del options["target_session_attrs"]  # to say that it is a standby, rather than that nothing answers
    began = time.monotonic()
    try:
        with psycopg.connect(settings.session_database_url, row_factory=dict_row, **options) as connection:
            yield from _server(connection, time.monotonic() - began)
            yield from _pooler(connection, settings)
            missing = not_applied(connection)
            if missing:
                yield Finding(
                    Level.FAIL, "schema", f"not applied: {', '.join(missing)}", "run `workflow-engine migrate`"
                )
                return
            yield Finding(Level.OK, "schema", "up to date")
            yield from _engine(connection)
            yield from _invariants(connection)
    except psycopg.Error as error:
        denied = isinstance(error, psycopg.errors.InsufficientPrivilege)
        text = str(error).strip() or type(error).__name__
        yield Finding(Level.FAIL, "postgres", text, NOT_GRANTED if denied else "check DATABASE_URL")


def _server(connection: psycopg.Connection[dict[str, Any]], seconds: float) -> Iterator[Finding]:
    version = connection.info.server_version
    major = version // 10_000
    text = f"PostgreSQL {major}.{version % 10_000}, connected in {1000 * seconds:.0f} ms"
    if _row(connection, "select pg_is_in_recovery() as it")["it"]:
        yield Finding(Level.FAIL, "postgres", f"{text}, but it is a standby", "let DATABASE_URL lead to the primary")
        return
    if not OLDEST_MAJOR <= major <= NEWEST_MAJOR:
        known = f"the engine is tested with {OLDEST_MAJOR} to {NEWEST_MAJOR}"
        yield Finding(Level.FAIL if major < OLDEST_MAJOR else Level.WARN, "postgres", f"{text}; {known}")
    else:
        yield Finding(Level.OK, "postgres", text)
    row = _row(connection, _STATE)
    for unsafe in unsafe_settings({one["name"]: one["setting"] for one in connection.execute(SETTINGS)}):
        level = Level.FAIL if unsafe.breaks else Level.WARN
        yield Finding(level, unsafe.name, f"is {unsafe.value}: {unsafe.why}", unsafe.fix)
    if row["used"] > _MANY_CONNECTIONS * row["most"]:
        yield Finding(
            Level.WARN, "connections", f"{row['used']} of {row['most']} are in use",
            "raise max_connections: an engine takes up to 14, a worker up to 13",
        )  # fmt: skip
    if row["xids"] > _OLD_XIDS:
        yield Finding(
            Level.FAIL, "transaction ids", f"the oldest is {row['xids']:,} ago; at 2 billion Postgres refuses writes",
            "vacuum freeze; look for old transactions, prepared transactions and replication slots",
        )  # fmt: skip
    if row["kept"] > _KEPT_WAL_BYTES:
        yield Finding(
            Level.WARN, "replication slots", f"inactive ones keep {row['kept'] >> 30} GiB of WAL: the disk fills up",
            "drop those that nobody reads: pg_drop_replication_slot",
        )  # fmt: skip
    if abs(apart := time.time() - row["now"]) > _CLOCK_SECONDS:
        yield Finding(
            Level.WARN, "clock",
            f"this machine is {apart:+.0f} s from Postgres; the engine goes by Postgres, log lines do not",
            "let both follow NTP",
        )  # fmt: skip


def _pooler(connection: psycopg.Connection[dict[str, Any]], settings: Settings) -> Iterator[Finding]:
    """Poolers give their clients process ids of their own making."""
    if _row(connection, "select pg_backend_pid() as pid")["pid"] != connection.info.backend_pid:
        yield Finding(
            Level.WARN, "pooler",
            "a pooler is between here and Postgres: good in session mode; in transaction mode two engines may lead",
            "unless it is in session mode, set WORKFLOW_DIRECT_DATABASE_URL: docs/operations.md",
        )  # fmt: skip
    if not settings.direct_database_url:
        return
    try:
        began = time.monotonic()
        with psycopg.connect(settings.database_url, **shared_connection_options("workflow-engine doctor")) as shared:
            shared.execute("select 1")
    except psycopg.Error as error:
        text = str(error).strip() or type(error).__name__
        yield Finding(Level.FAIL, "pooler", text, "check DATABASE_URL, which leads through the pooler")
    else:
        yield Finding(Level.OK, "pooler", f"answered in {1000 * (time.monotonic() - began):.0f} ms")


def _engine(connection: psycopg.Connection[dict[str, Any]]) -> Iterator[Finding]:
    old = _row(connection, "select coalesce(workflow.oldest_transaction_seconds(), 0)::float as seconds")["seconds"]
    if old > _OLD_TRANSACTION_SECONDS:
        yield Finding(
            Level.WARN, "oldest transaction", f"has been open for {old:.0f} s: what has ended cannot be cleaned up",
            "find it in pg_stat_activity by xact_start, and end it",
        )  # fmt: skip
    state = _row(connection, "select workflow.gauges() as it")["it"]
    workers = state["workers"]
    active = workers.get("active", 0)
    text = ", ".join(f"{count} {status}" for status, count in workers.items() if count) or "none"
    waiting = sum(queue["pending"] for queue in state["queues"])
    if active or not waiting:
        yield Finding(Level.OK, "workers", f"{text}; {waiting} tasks are pending")
    else:
        yield Finding(
            Level.FAIL, "workers", f"{text}; {waiting} tasks are pending and nobody takes them",
            "start a worker: `workflow-engine worker`",
        )  # fmt: skip
    leads = _row(
        connection,
        "select count(*) as n from pg_stat_activity a join pg_locks l on l.pid = a.pid"
        " where l.locktype = 'advisory' and l.granted and a.application_name = 'workflow-engine leader'"
        " and a.datname = current_database()",
    )["n"]
    if leads:
        yield Finding(Level.OK, "leader", "an engine leads")
    else:
        yield Finding(
            Level.FAIL, "leader", "no engine leads: nothing lost is taken back, no schedule or deadline is kept",
            "start an engine: `workflow-engine serve`",
        )  # fmt: skip
    if state["paused"]:
        yield Finding(Level.WARN, "paused", "nothing new is accepted or started", "POST /api/v1/resume")
    orphans = _row(connection, "select count(distinct workflow_id) as n from workflow.orphaned")["n"]
    if orphans:
        yield Finding(
            Level.WARN, "orphaned workflows",
            f"{orphans} have nobody who moves them on; the leader takes them back by itself",
            "if they stay: GET /api/v1/workflows/orphaned",
        )  # fmt: skip
    if state["outbox_dead"]:
        yield Finding(
            Level.WARN, "outbox", f"{state['outbox_dead']} deliveries were given up", "GET /api/v1/outbox?status=dead"
        )


def _invariants(connection: psycopg.Connection[dict[str, Any]]) -> Iterator[Finding]:
    """Look at live and recent workflows, as the leader does all day, for some seconds."""
    broken: list[dict[str, Any]] = []
    seen, after, until = 0, None, time.monotonic() + _INVARIANT_SECONDS
    while len(broken) < _SHOWN and time.monotonic() < until:
        row = connection.execute("select workflow.sample_invariants(%s) as it", [after]).fetchone()
        assert row is not None
        broken += row["it"]["violations"]
        seen += row["it"]["workflows"]
        if (after := row["it"]["last"]) is None:
            break
    if not broken:
        yield Finding(Level.OK, "invariants", f"hold in the {seen} live and recent workflows that were looked at")
    for violation in broken[:_SHOWN]:
        text = ", ".join(f"{name}={value}" for name, value in violation.items() if value is not None)
        if violation["instant"]:
            fix = "this is a fault of the engine: please report it, with `logs ID` (docs/invariants.md)"
            yield Finding(Level.FAIL, "invariants", text, fix)
        else:
            fix = "somebody is to do this within a minute: look whether an engine leads (docs/invariants.md)"
            yield Finding(Level.WARN, "invariants", text, fix)


def _neighbour(name: str, url: str) -> Finding:
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=_NEIGHBOUR_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        reason = str(error).strip() or type(error).__name__
        return Finding(
            Level.WARN, name, f"{url} does not answer: {reason}", "only `agent` steps need it; they are tried again"
        )
    level = Level.OK if not answer.is_server_error else Level.WARN
    return Finding(level, name, f"{url} answers with {answer.status_code}")


def _traces(settings: Settings) -> Finding:
    try:
        from workflow_engine.observability.spans import takes_spans

        taken = takes_spans(settings)
    except ImportError as error:
        return Finding(Level.WARN, "traces", f"are asked for, but {error.name} is missing", INSTALL)
    except ValueError as error:
        return Finding(Level.WARN, "traces", f"are asked for, but {error}", "see docs/traces.md")
    if taken:
        return Finding(Level.OK, "traces", "the collector takes spans")
    where = settings.otlp_traces_endpoint or settings.otlp_endpoint or "the default endpoint"
    return Finding(
        Level.WARN, "traces", f"no collector takes spans at {where}; work does not depend on it",
        "check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS",
    )  # fmt: skip


def _row(connection: psycopg.Connection[dict[str, Any]], query: str) -> dict[str, Any]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row
