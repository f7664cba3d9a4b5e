"""What the hot statements read in a database ten times as large: the same, but for the depth of the indexes."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest
from psycopg.types.json import Jsonb

from .connections import open_connection
from .engine import TYPES, Engine

BATCH = 20
ROWS = int(os.environ.get("WORKFLOW_TEST_GROWTH_ROWS", "100000"))
ROUNDS = 8  # Postgres keeps a generic plan from the sixth call on
TABLES = ("workflow.workflows", "workflow.tasks", "workflow.attempt_history", "workflow.jobs")

# Of each kind some: workflows of one task that has ended, or waits behind everything else, for its time, or for a lock.
_SEED = """
create temporary table seed as
select workflow.new_id() as workflow_id, nextval('workflow.task_base') as task_id,
       nextval('procrastinate_jobs_id_seq') as job_id,
       %(status)s as status, workflow.clock() as at, v.id as version_id, v.name, v.version
from generate_series(1, %(count)s), workflow.definition_versions v where v.name = 'past';
insert into workflow.workflows (id, version_id, name, version, status, open_tasks, created_at, started_at, finished_at)
select s.workflow_id, s.version_id, s.name, s.version,
       case when s.status = 'succeeded' then s.status else 'running' end,
       (s.status <> 'succeeded')::integer, s.at, s.at, case when s.status = 'succeeded' then s.at end from seed s;
insert into workflow.tasks
    (id, workflow_id, version_id, step_index, status, priority, open_dependencies, attempt, tries, job_id, worker_id,
     pending_since, started_at, finished_at, scheduled_at)
select s.task_id, s.workflow_id, s.version_id, 0, s.status, -1, 0, 1, 1, s.job_id, 0, s.at, s.at,
       case when s.status = 'succeeded' then s.at end, case when s.status = 'scheduled' then s.at + interval '1 day' end
from seed s;
insert into workflow.attempt_history
    (task_id, attempt, workflow_id, outcome, worker_id, lease_token, pending_since, started_at, ended_at)
select s.task_id, 1, s.workflow_id, 'succeeded', 0, gen_random_uuid(), s.at, s.at, s.at
from seed s where s.status = 'succeeded';
insert into workflow.jobs (id, queue_name, task_name, priority, args, scheduled_at)
select s.job_id, 'default', 'workflow:noop', -1, jsonb_build_object('task_id', s.task_id),
       case when %(parked)s then workflow.never() when s.status = 'scheduled' then s.at + interval '1 day' end
from seed s where s.status <> 'succeeded';
drop table seed
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database of its own, which is not looked through in the end: that would take longer than the test."""
    with closing(open_connection(database_url)) as connection:
        engine = Engine(connection)
        engine.define({"a": []}, name="past")
        engine.define({"a": [], "b": ["a"]})
        for table in TABLES:
            if engine.value("select relkind from pg_class where oid = %s::regclass", table) == "r":
                engine.run(f"alter table {table} set (autovacuum_enabled = off)")
        yield engine


def grow(engine: Engine, finished: int) -> None:
    """So many more that have ended, and a tenth as many pending, scheduled and parked."""
    for status, count, parked in (
        ("succeeded", finished, False),
        ("pending", finished // 10, False),
        ("scheduled", finished // 10, False),
        ("pending", finished // 10, True),
    ):
        for statement in _SEED.split(";"):
            engine.connection.execute(statement.encode(), {"status": status, "count": count, "parked": parked})
    for table in TABLES:
        engine.run(f"vacuum analyze {table}")


def buffers_read(engine: Engine) -> dict[str, int]:
    """Pages of tables and indexes that each hot statement touches, once its plans are settled."""
    found: dict[str, int] = {}

    def measure(name: str, call: str, *parameters: object) -> None:
        rows = engine.rows(f"explain (analyze, buffers, format json) select {call}", *parameters)
        (plan,) = rows[0]["QUERY PLAN"]
        found[name] = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]

    def turn(name: str, completions: list[dict[str, object]], want: int) -> None:
        measure(
            name, "workflow.turn(%s, %s, '{default}', %s, %s, 30)",
            engine.worker_id, Jsonb(completions), list(TYPES), want,
        )  # fmt: skip

    for _ in range(ROUNDS):
        measure("start", "workflow.start_many(%s, null, '', '')", Jsonb([{"name": "flow"}] * 2 * BATCH))
        claims = engine.claim(BATCH)
        turn("turn", [c.succeeded() for c in claims], BATCH)
        measure("sweep of leases", "workflow.sweep_expired_leases()")
        measure("sweep of leaked jobs", "workflow.sweep_leaked_jobs()")
        measure("due", "workflow.next_due('{default}')")
        measure("wake", "workflow.wake_due()")
        turn("claim", [], BATCH)
        engine.release_forgotten()
        while claims := engine.claim(2 * BATCH):
            claims = [c for c in claims if c.raw["workflow_name"] == "flow"]
            if not claims:
                break
            engine.finish(*(c.succeeded() for c in claims))
        engine.release_forgotten()
    return found


@pytest.mark.timeout(60 + ROWS // 1000)
def test_hot_statements_read_as_much_in_a_database_ten_times_as_large(engine: Engine) -> None:
    grow(engine, ROWS // 10)
    few = buffers_read(engine)
    grow(engine, ROWS - ROWS // 10)
    many = buffers_read(engine)
    assert {name: (few[name], read) for name, read in many.items() if read > 1.3 * few[name] + 30} == {}
    assert max(many.values()) < 110 * BATCH
