"""docs/sql.md: each query runs as the role it names, finds what it is to find, and reads no more for a long history."""

import re
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from .engine import Engine
from .roles import Onlooker, connection_as, role_with
from .scenes import set_scene
from .test_access import create
from .test_outbox import webhook
from .visits import rows_visited

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
EXAMPLE = "0198c2f4-5a3e-7c41-9d3b-0f6b1f0e2a77"
QUERIES = [
    (query, bool(may_be_empty))
    for query, may_be_empty in re.findall(r"```sql\n(.*?)```(?:\n\n(No rows))?", PAGE, re.DOTALL)
]
FOR_AUDITORS = ("workflow.audit_list", "workflow.api_key_list")
OLD = 20_000

_OLD_WORKFLOWS = """
with old as materialized (
    select workflow.id_at(n.at) as id, n.at, nextval('workflow.task_base') as task_id, v.id as version_id, v.version
    from generate_series(now() - interval '3 days', now() - interval '2 days', interval '1 day' / %s) n(at)
    join workflow.definition_versions v on v.name = 'bad'
), flow as (
    insert into workflow.workflows
        (id, version_id, name, version, status, open_tasks, created_at, started_at, finished_at)
    select o.id, o.version_id, 'bad', o.version, 'succeeded', 0, o.at, o.at, o.at from old o
), task as (
    insert into workflow.tasks
        (id, workflow_id, version_id, step_index, status, priority, open_dependencies, attempt, started_at, finished_at)
    select o.task_id, o.id, o.version_id, 0, 'succeeded', 0, 0, 1, o.at, o.at from old o
), event as (
    insert into workflow.events (workflow_id, type, task_id, attempt, at)
    select o.id, e.type, o.task_id, 1, o.at from old o cross join (values ('task.started'), ('task.succeeded')) e(type)
)
insert into workflow.attempt_history
    (task_id, attempt, workflow_id, outcome, lease_token, pending_since, started_at, ended_at)
select o.task_id, 1, o.id, 'succeeded', gen_random_uuid(), o.at, o.at, o.at from old o
"""


@pytest.fixture
def database(database_url: str) -> str:
    """A fresh one: what other tests leave behind is not looked through."""
    return database_url


@pytest.fixture
def workflow(engine: Engine) -> str:
    """There is something of all that is asked for; the id of the workflow with most of it."""
    scene = set_scene(engine)
    engine.define({"bad": []}, name="bad", plan={"schedule": [{"cron": "@daily"}]})
    engine.start("bad", labels={"tenant": "acme"})
    budget = {"steps": {"soft": 1, "hard": 1}, "on_exceeded": "pause"}
    engine.define({"paid": [], "more": ["paid"]}, name="thrifty", plan={"budget": budget})
    engine.start("thrifty")
    for claim in engine.claim():
        engine.finish(claim.failed() if claim.step == "bad" else claim.succeeded(effects={"emit": webhook()}))
    engine.signal(scene.most, "unasked")
    engine.run("update workflow.outbox set status = 'dead', tries = 20, error = 'http.500'")
    engine.pause("1 hour", "ann")
    create(engine)
    engine.value("select workflow.update_task_type('llm_inference', '{\"timeout\": 300}', null, 'ann')")
    engine.run("select workflow.count_events('{1}', p_patience => '0')")
    engine.register()
    engine.run(
        "update workflow.workers set last_heartbeat_at = now() - interval '1 day' where id = %s", engine.worker_id
    )
    engine.run(_OLD_WORKFLOWS, OLD)
    engine.run("analyze")
    return str(scene.most)


def test_every_query_finds_what_it_is_to_find_and_reads_no_more_for_a_long_history(
    engine: Engine, database: str, workflow: str
) -> None:
    assert len(QUERIES) > 40
    silent = []
    with ExitStack() as stack:
        reader, auditor = (
            stack.enter_context(connection_as(database, stack.enter_context(role_with(engine, access))))
            for access in ("reader", "auditor")
        )
        for query, may_be_empty in QUERIES:
            secret = any(name in query for name in FOR_AUDITORS)
            asking = Onlooker(auditor if secret else reader)
            try:
                with rows_visited(asking, OLD // 10):
                    found = asking.rows(query.replace(EXAMPLE, workflow).replace("%", "%%"))
            except Exception as error:
                error.add_note(query)
                raise
            if not found and not may_be_empty:
                silent.append(query)
            if secret:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(query.encode())
    assert silent == []
