"""A database such as one has after a month: a million workflows, most of which have ended, 20,000 live ones that wait
in all the ways there are, 5,000 that failed, versions, labels, children, workflows of 2,000 tasks, and as many rows of
the audit log.

What has ended is inserted, set by set; what lives is started, and run by real workers until it waits.

    python -m benchmarks.million DIRECTORY    # makes it; then: workflow-engine dev --data-dir DIRECTORY
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from benchmarks.server import workers
from workflow_engine.bootstrap import migrate
from workflow_engine.definition.compile import compile_definition
from workflow_engine.definition.plan import CompiledDefinition
from workflow_engine.embedded.postgres import Postgres
from workflow_engine.store.pool import Pool
from workflow_engine.store.store import Store

DAYS = 30
LARGE = 2_000
"""Tasks of the large workflows."""

_BATCH = 50_000
_LIVE = 20_000
_DEAD_SECONDS = 5.0
_PARK_SECONDS = 300.0
_HOURS = {"max_attempts": 50, "initial_delay": "6h", "max_delay": "1d"}
_TEAMS = ("data", "payments", "growth", "platform", "search", "ops")


@dataclass(frozen=True, slots=True)
class Ended:
    """Workflows of one definition that have ended, each a chain of steps.

    Attributes:
        share: Of all that have ended.
        failed, cancelled: So many of them by share; None: as few as on the whole.
        steps: Names and types, with the seconds that each takes on average.
        versions: How many there are; later workflows have later ones.
        days: In which days back they were created: from, to.
    """

    name: str
    share: float
    steps: Sequence[tuple[str, str, float]]
    versions: int = 1
    failed: float | None = None
    cancelled: float | None = None
    days: tuple[float, float] = (DAYS, 0.0)

    def documents(self) -> Iterator[dict[str, Any]]:
        """Of all versions, the first one first."""
        for version in range(self.versions):
            steps: list[dict[str, Any]] = []
            for n, (id_, type_, _) in enumerate(self.steps):
                before = {"depends_on": [self.steps[n - 1][0]]} if n else {}
                steps.append({"id": id_, "type": type_, **before, **_FIELDS.get(type_, {})})
            yield {"name": self.name, "description": f"Revision {version + 1}", "steps": steps}


_FIELDS: dict[str, dict[str, Any]] = {
    "http": {"inputs": {"url": "https://service.internal/do", "method": "POST"}, "retries": 3},
    "database": {"inputs": {"data": {"done": True}}},
    "transform": {"inputs": {"value": "${ input }"}},
    "llm_inference": {"inputs": {"prompt": "Sum it up."}},
    "approval": {"prompt": "Pay ${ input.amount } EUR?", "assignees": ["finance"]},
}

ENDED = (
    Ended(
        "order-fulfilment", 0.38,
        [("reserve", "http", 0.4), ("charge", "http", 0.9), ("ship", "http", 1.5)], versions=6,
    ),
    Ended("thumbnailer", 0.30, [("resize", "transform", 0.2)]),
    Ended("nightly-import", 0.10, [("extract", "database", 9.0), ("load", "database", 25.0)], versions=3, failed=0.02),
    Ended("document-review", 0.08, [("read", "http", 1.0), ("summarise", "llm_inference", 38.0)], versions=4),
    Ended("expense-approval", 0.04, [("check", "transform", 0.1), ("approve", "approval", 1.0)], versions=2),
    Ended("newsletter", 0.06, [("render", "transform", 0.1), ("send", "http", 2.0)], cancelled=0.2, days=(3.0, 2.9)),
    Ended("legacy-sync", 0.002, [("sync", "http", 3.0)], failed=0.3, days=(DAYS, DAYS - 1.0)),
    Ended("yearly-audit", 0.00002, [("audit", "database", 60.0)], failed=0.5, days=(DAYS, DAYS - 0.5)),
    *(Ended(f"team-{n:02d}-job", 0.0006, [("work", "transform", 0.5)], versions=1 + n % 3) for n in range(60)),
)  # fmt: skip


def _live() -> Iterator[tuple[dict[str, Any], int]]:
    """Definitions of what lives, with how many thousandths of the live workflows are of each."""

    def begins(*then: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        """A first step that ends at once, and what comes after it."""
        return [{"id": "begin", "type": "noop", **more}, *({**step, "depends_on": ["begin"]} for step in then)]

    def signal_named(name: str) -> dict[str, Any]:
        return {"id": name, "type": "signal", "inputs": {"name": name}}

    yield {"name": "user-onboarding", "steps": begins(signal_named("confirmed"))}, 250
    yield {"name": "trial-expiry", "steps": begins({"id": "expire", "type": "wait", "duration": "30d"})}, 225
    form = {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]}
    ask = {"id": "ask", "type": "approval", "prompt": "Refund ${ input.amount } EUR?", "assignees": ["finance"]}
    yield {"name": "refund", "steps": begins({**ask, "form_schema": form})}, 125
    yield {"name": "partner-sync", "steps": begins({"id": "push", "type": "bench_away", "retries": _HOURS})}, 100
    yield {"name": "video-encode", "steps": [{"id": "encode", "type": "noop", "queue": "gpu"}]}, 200
    lock = {"key": "ledger", "scope": "workflow"}
    yield {"name": "ledger-close", "steps": begins(signal_named("release"), locks=[lock])}, 25
    child = {"id": "trial", "type": "workflow", "inputs": {"name": "trial-expiry"}}
    yield {"name": "subscription", "steps": begins(child)}, 25
    yield {"name": "transcode", "steps": [{"id": "run", "type": "bench_sleep", "inputs": {"seconds": 3600}}]}, 5


def _large() -> list[dict[str, Any]]:
    """Graphs and maps of `LARGE` tasks that stop half way, at what must wait."""
    width = 100
    steps: list[dict[str, Any]] = []
    for layer in range(LARGE // width):
        for n in range(width):
            step: dict[str, Any] = {"id": f"part-{layer:02d}-{n:02d}", "type": "noop"}
            if layer:
                step["depends_on"] = [f"part-{layer - 1:02d}-{(n + k) % width:02d}" for k in range(3)]
            if layer == LARGE // width // 2:
                step |= {"type": "wait", "duration": "30d"}
            steps.append(step)
    each = {"id": "each", "type": "noop", "for_each": {"items": LARGE}}
    fails = {"type": "bench_away", "retries": _HOURS}
    return [
        {"name": "large-graph", "steps": steps},
        {"name": "large-map", "steps": [{**each, **fails}]},
        {"name": "large-and-done", "steps": [each]},
    ]


_SEED = """
create temporary table seed on commit drop as
select x.at, (lpad(to_hex(floor(extract(epoch from x.at) * 1000)::bigint), 12, '0')
              || '7' || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid as id,
       nextval('workflow.task_base') as base, v.id as version_id, v.name, v.version,
       case when x.fate < d.failed then 'failed'
            when x.fate < d.failed + d.cancelled then 'cancelled' else 'succeeded' end as status,
       (%(teams)s::text[])[1 + (x.pick * 5.99)::integer] as team, x.pick
from (
    select d.*, least(d.versions, 1 + floor(d.versions * x.part))::integer as version,
           now() - d.days_back * interval '1 day' - interval '2 minutes'
           + (d.days_back - d.days_to) * interval '1 day' * x.part as at, x.fate, x.pick
    from (select %(from)s::float + (%(to)s::float - %(from)s::float) * g / %(count)s as part, random() as fate,
                 random() as pick, random() as which
          from generate_series(1, %(count)s) g) x
    cross join lateral (select d.* from shares d where d.lo <= x.which and x.which < d.hi) d) x
join shares d on d.name = x.name
join workflow.definition_versions v on v.name = x.name and v.version = x.version
"""

# Of each task: how often it was tried, when it was pending and ran, which the last one of a cancelled one never did.
_TASKS = """
create temporary table seed_tasks on commit drop as
select t.*, t.base + t.step_index as task_id,
       t.at + t.before * interval '1 second' as pending,
       t.at + (t.before + t.waited) * interval '1 second' as started,
       t.at + (t.before + t.waited + t.lasted) * interval '1 second' as ended,
       not t.last or t.fate <> 'cancelled' as ran, case when t.last then t.fate else 'succeeded' end as status,
       case when t.type = 'approval' then 'waiting' else 'retried' end as first_outcome,
       case when t.last and t.fate = 'failed' or t.tries > 1 and t.type <> 'approval'
            then jsonb_build_object('type', 'http.503', 'message', 'answered 503 Service Unavailable') end as error,
       %(workers)s + t.base / 65536 %% 8 as worker
from (
    select t.*, coalesce(sum(t.lasted + t.waited) over (
               partition by t.id order by t.step_index rows between unbounded preceding and 1 preceding), 0) as before
    from (
        select s.id, s.base, s.at, s.version_id, s.status as fate, d.step_index, d.id as step, d.type,
               d.successors = '{}' as last, 1 + (d.type = 'approval' or random() < 0.03)::integer as tries,
               0.005 - ln(1 - random()) * 0.4 as waited, 0.002 - ln(1 - random()) * m.seconds as lasted
        from seed s
        join workflow.definition_steps d on d.version_id = s.version_id
        join means m on m.name = s.name and m.step = d.id) t) t
"""

_WORKFLOWS = """
insert into workflow.workflows
    (id, version_id, name, version, status, open_tasks, input, labels, error, created_at, started_at, finished_at,
     created_by)
select s.id, s.version_id, s.name, s.version, s.status, 0,
       jsonb_build_object('order', 'A-' || (s.pick * 1e7)::integer, 'amount', (s.pick * 900)::integer),
       jsonb_build_object('team', s.team, 'region', (array['eu', 'us', 'ap'])[1 + (s.pick * 2.99)::integer]),
       case s.status
           when 'failed' then jsonb_build_object(
               'type', 'http.503', 'message', 'POST https://service.internal/do answered 503 Service Unavailable',
               'step', t.step, 'task_id', t.task_id::text, 'attempt', t.tries)
           when 'cancelled' then jsonb_build_object('type', 'cancelled', 'message', 'wrong audience') end,
       s.at, case when s.status <> 'cancelled' or t.step_index > 0 then s.at + interval '5 milliseconds' end, t.ended,
       'seed'
from seed s join seed_tasks t on t.id = s.id and t.last
"""

_ROWS = """
insert into workflow.tasks
    (id, workflow_id, version_id, step_index, status, priority, open_dependencies, succeeded_dependencies, attempt,
     tries, worker_id, job_id, pending_since, first_started_at, started_at, finished_at, output, error)
select t.task_id, t.id, t.version_id, t.step_index, t.status, 0, 0, (t.step_index > 0)::integer,
       case when t.ran then t.tries else 0 end, case when t.ran then t.tries else 0 end,
       case when t.ran then t.worker end, 0, t.pending, case when t.ran then t.started end,
       case when t.ran then t.started end, t.ended, case when t.status = 'succeeded' then '{"ok": true}'::jsonb end,
       case when t.status = 'failed' then t.error end
from seed_tasks t
"""

_ATTEMPTS = """
insert into workflow.attempt_history
    (task_id, attempt, workflow_id, outcome, worker_id, lease_token, pending_since, started_at, ended_at, error)
select t.task_id, a, t.id, case when a < t.tries then t.first_outcome else t.status end, t.worker, gen_random_uuid(),
       t.pending, t.started + (a - 1) * (t.ended - t.started) / t.tries,
       t.started + a * (t.ended - t.started) / t.tries, case when a < t.tries or t.status = 'failed' then t.error end
from seed_tasks t cross join generate_series(1, t.tries) a
where t.ran
"""

_EVENTS = """
insert into workflow.events (workflow_id, type, task_id, attempt, at)
select e.id, e.type, e.task_id, e.attempt, e.at from (
    select s.id, 'workflow.created', null::bigint, null::integer, s.at, 0, 0 from seed s
    union all
    select t.id, 'workflow.started', null, null, t.at, 1, 0 from seed_tasks t
    where t.last and (t.ran or t.step_index > 0)
    union all
    select t.id, case when n = 1 then 'task.started' when a < t.tries then 'task.' || t.first_outcome
                      else 'task.' || t.status end,
           t.task_id, a, t.started + (a - 2 + n) * (t.ended - t.started) / t.tries, 2 + t.step_index, 2 * a + n
    from seed_tasks t cross join generate_series(1, t.tries) a cross join generate_series(1, 2) n
    where t.ran
    union all
    select t.id, 'task.cancelled', t.task_id, null, t.ended, 90, 0 from seed_tasks t where not t.ran
    union all
    select t.id, 'workflow.' || t.fate, null, null, t.ended, 99, 0 from seed_tasks t where t.last
) e(id, type, task_id, attempt, at, place, within)
order by e.id, e.place, e.within
"""

_APPROVALS = """
insert into workflow.approvals
    (id, workflow_id, task_id, attempt, prompt, assignees, outcomes, status, created_at, outcome, data, answered_by,
     answered_at, closed_at)
select gen_random_uuid(), t.id, t.task_id, 1, 'Pay?', '{finance}', '{approved,rejected}', 'answered', t.started,
       'approved', '{}', 'ann', t.ended, t.ended
from seed_tasks t where t.type = 'approval' and t.status = 'succeeded'
"""

# Programs ask most and people little; what is asked seldom has a filter look through all that its principal asked.
_AUDIT = """
insert into workflow.audit (at, principal, key_id, address, request_id, method, path, operation, workflow_id, status)
select now() - %(days)s * interval '1 day' * (1 - a.n / %(count)s::float), a.principal, 'k-' || a.principal, '10.0.0.7',
       md5(a.n::text), 'POST', '/api/v1/workflows' || a.path, a.operation, gen_random_uuid(), a.status
from (select g as n, p.principal, o.operation, o.path,
             case when g %% 5000 = 7 then 403 when o.path = '' then 201 else 202 end as status
      from (select g, random() as who, random() as what from generate_series(1, %(count)s) g) g
      join (values ('shop', 0, 0.6), ('ci', 0.6, 0.9), ('ann', 0.9, 0.97), ('bob', 0.97, 0.9999), ('eve', 0.9999, 1))
          as p(principal, low, high) on p.low <= g.who and g.who < p.high
      join (values ('workflows_start', '', 0, 0.9), ('workflows_signal', '/1/signal/paid', 0.9, 0.98),
                   ('workflows_cancel', '/1/cancel', 0.98, 0.999), ('workflows_retry', '/1/retry', 0.999, 0.9999),
                   ('engine_pause', '/pause', 0.9999, 1))
          as o(operation, path, low, high) on o.low <= g.what and g.what < o.high) a
order by a.n
"""

_INSERTS = (_WORKFLOWS, _ROWS, _ATTEMPTS, _EVENTS, _APPROVALS)

_PARTITIONS = """
select workflow.make_partition(
    %(parent)s, workflow.id_at(d), least(workflow.id_at(d + interval '7 days'), p.lower))
from (select p.lower from workflow.history_partitions p where p.parent = %(parent)s and p.lower is not null
      order by p.lower limit 1) p
cross join generate_series(workflow.begin_of_span(now() - interval '35 days', interval '7 days'),
                           workflow.time_of(p.lower) - interval '1 second', interval '7 days') d
"""

_WORKERS = """
insert into workflow.workers
    (name, host, pid, version, queues, task_types, concurrency, status, heartbeat_seconds, started_at,
     last_heartbeat_at, stopped_at)
select 'worker-' || g, 'node-' || g % 3, 100 + g, '1', '{default}', '{http,database,transform}', 50, 'stopped', 10,
       now() - interval '30 days', now() - interval '2 minutes', now() - interval '2 minutes'
from generate_series(1, 8) g
returning id
"""

_SHARES = """
create temporary table shares (
    name text, versions integer, failed float, cancelled float, days_back float, days_to float, lo float, hi float);
create temporary table means (name text, step text, seconds float)
"""

_READY = """
select count(*) from workflow.jobs j
where j.scheduled_at is null and j.status = 'todo' and j.queue_name <> 'gpu'
"""

_PAUSE = """
select workflow.pause_workflow(w.id) from workflow.workflows w
where w.finished_at is null and w.name = 'user-onboarding' order by w.id limit %s
"""


_DAILY_ENDS = """
insert into workflow.daily_ends (day, name, version, status, position, workflows)
select (w.finished_at at time zone 'utc')::date, w.name, w.version, w.status,
       workflow.duration_position(extract(epoch from w.finished_at - w.created_at)::double precision), count(*)
from workflow.workflows w where w.finished_at is not null group by 1, 2, 3, 4, 5
"""


def fill(url: str, total: int = 1_000_000) -> None:
    """Fill an empty database of the engine's schema; takes some minutes for a million.

    Args:
        total: How many workflows there are to be; live ones are a fiftieth of them.
    """
    live = _LIVE * total // 1_000_000
    begin = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {what}", flush=True)

    asyncio.run(_register(url, [document for kind in ENDED for document in kind.documents()]))
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in ("set synchronous_commit = off", "set work_mem = '128MB'", "set jit = off"):
            connection.execute(statement.encode())
        _make_partitions(connection)
        worker = min(row[0] for row in connection.execute(_WORKERS).fetchall())
        _describe(connection)
        ended = total - live
        for start in range(0, ended, _BATCH):
            count = min(_BATCH, ended - start)
            with connection.transaction():
                parameters = {
                    "from": start / ended, "to": (start + count) / ended, "count": count, "workers": worker,
                    "teams": list(_TEAMS),
                }  # fmt: skip
                for text in (_SEED, _TASKS, "analyze seed", "analyze seed_tasks", *_INSERTS):
                    connection.execute(text.encode(), parameters if "%(" in text else None)
            say(f"{start + count:,} have ended")
        connection.execute(_DAILY_ENDS)
        connection.execute(_AUDIT, {"count": total, "days": DAYS})
        connection.execute("update workflow.counted_events set seq = pg_sequence_last_value('workflow.event_seq')")
        connection.execute("vacuum (analyze)")
        say("vacuumed")
    _make_live(url, live, say)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum (analyze)")
        connection.execute("checkpoint")
    say("done")


async def _register(url: str, documents: Sequence[dict[str, Any]]) -> None:
    pool = Pool(url, size=1)
    await pool.open()
    try:
        for document in documents:
            await Store(pool).definitions.register(_compiled(document))
    finally:
        await pool.close()


def _compiled(document: dict[str, Any]) -> CompiledDefinition:
    return compile_definition(document, task_types=["bench_sleep", "bench_away"])


def _make_partitions(connection: psycopg.Connection) -> None:
    """Of the days before now, as they would have been made then."""
    for parent in ("events", "attempt_history"):
        connection.execute(_PARTITIONS, {"parent": parent})


def _describe(connection: psycopg.Connection) -> None:
    connection.execute(_SHARES)
    whole, low = sum(kind.share for kind in ENDED), 0.0
    for kind in ENDED:
        high = low + kind.share / whole
        failed = 0.002 if kind.failed is None else kind.failed
        cancelled = 0.002 if kind.cancelled is None else kind.cancelled
        connection.execute(
            "insert into shares values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [kind.name, kind.versions, failed, cancelled, *kind.days, low, high],
        )
        low = high
        for step, _, seconds in kind.steps:
            connection.execute("insert into means values (%s, %s, %s)", [kind.name, step, seconds])


def _make_live(url: str, count: int, say: Any) -> None:
    kinds = list(_live())
    large = _large()
    asyncio.run(_register(url, [*(document for document, _ in kinds), *large]))
    with psycopg.connect(url, autocommit=True) as connection, workers(url, processes=2, concurrency=100) as pids:

        def start(name: str, many: int) -> None:
            for begun in range(0, many, 1000):
                starts = [
                    {
                        "name": name,
                        "input": {"amount": n},
                        "labels": {"team": _TEAMS[n % len(_TEAMS)], "customer": f"c-{n}"},
                    }
                    for n in range(begun, min(begun + 1000, many))
                ]
                connection.execute("select workflow.start_many(%s)", [Jsonb(starts)])

        for document, share in kinds:
            start(document["name"], max(count * share // 1000, 1))
        for document in large:
            start(document["name"], 2)
        start("thumbnailer", count // 20)  # and what has just ended
        say("what lives was started")
        _await_parked(connection)
        connection.execute(_PAUSE, [max(count // 100, 1)])
        os.kill(pids[0], signal.SIGKILL)  # so one has died, and held something
        say("what lives waits")


def _await_parked(connection: psycopg.Connection) -> None:
    """Wait until the workers find nothing more to do."""
    deadline = time.monotonic() + _PARK_SECONDS
    while time.monotonic() < deadline:
        row = connection.execute(_READY).fetchone()
        if row and row[0] == 0:
            return
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.million", description=__doc__)
    parser.add_argument("directory", type=Path, help="data directory for `workflow-engine dev --data-dir`")
    parser.add_argument("--workflows", type=int, default=1_000_000)
    options = parser.parse_args()
    settings = {"max_wal_size": "4GB", "maintenance_work_mem": "512MB", "fsync": "off"}
    with Postgres(options.directory / "postgres", settings=settings) as postgres:
        migrate(postgres.url)
        fill(postgres.url, options.workflows)


if __name__ == "__main__":
    main()
