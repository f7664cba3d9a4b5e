"""Fills a database with workflows of one step, as many as it takes, without running them."""

from __future__ import annotations

import psycopg

_NEW = """
create temporary table seed on commit drop as
select workflow.new_id() as workflow_id, nextval('workflow.task_base') as task_id, workflow.clock() as at
from generate_series(1, %s)
"""

_WORKFLOWS = """
insert into workflow.workflows
    (id, version_id, name, version, status, open_tasks, created_at, started_at, finished_at)
select s.workflow_id, v.id, v.name, v.version, %(status)s,
       case when %(status)s = 'succeeded' then 0 else v.final_steps end, s.at,
       case when %(status)s <> 'pending' then s.at end, case when %(status)s = 'succeeded' then s.at end
from seed s cross join workflow.definition_versions v
where v.name = %(name)s
"""

# A day ahead: never due while the benchmark runs.
_WAITING_TASKS = """
with job as (
    insert into workflow.jobs (queue_name, task_name, args, scheduled_at)
    select d.queue, 'workflow:' || d.type, jsonb_build_object('task_id', s.task_id),
           case when %(status)s = 'scheduled' then s.at + interval '1 day' end
    from seed s
    cross join workflow.definition_versions v join workflow.definition_steps d on d.version_id = v.id
    where v.name = %(name)s
    returning id, (args ->> 'task_id')::bigint as task_id, scheduled_at
)
insert into workflow.tasks
    (id, workflow_id, version_id, step_index, status, priority, open_dependencies, job_id, pending_since, scheduled_at)
select s.task_id, s.workflow_id, v.id, 0, %(status)s, 0, 0, j.id, s.at, j.scheduled_at
from seed s join job j using (task_id) cross join workflow.definition_versions v
where v.name = %(name)s
"""

_FINISHED_TASKS = """
insert into workflow.tasks
    (id, workflow_id, version_id, step_index, status, priority, open_dependencies, attempt, tries, job_id, worker_id,
     pending_since, first_started_at, started_at, finished_at, output)
select s.task_id, s.workflow_id, v.id, 0, 'succeeded', 0, 0, 1, 1, 0, 0, s.at, s.at, s.at, s.at, 'null'
from seed s cross join workflow.definition_versions v
where v.name = %(name)s
"""

_ATTEMPTS = """
insert into workflow.attempt_history
    (task_id, attempt, workflow_id, outcome, worker_id, lease_token, pending_since, started_at, ended_at)
select s.task_id, 1, s.workflow_id, 'succeeded', 0, gen_random_uuid(), s.at, s.at, s.at from seed s
"""

_EVENTS = """
insert into workflow.events (workflow_id, type, task_id, attempt, at)
select s.workflow_id, e.type, case when e.of_task then s.task_id end, case when e.of_task then 1 end, s.at
from seed s
cross join (values (1, 'workflow.created', false), (2, 'workflow.started', false), (3, 'task.started', true),
                   (4, 'task.succeeded', true), (5, 'workflow.succeeded', false)) e(ord, type, of_task)
where e.ord <= %s
order by s.workflow_id, e.ord
"""

_BATCH = 100_000
HISTORY_ROWS = 6
"""Of a finished workflow: an attempt and five events."""


def seed_pending(connection: psycopg.Connection, definition: str, count: int) -> None:
    """`count` workflows whose only task waits for a worker."""
    _seed_waiting(connection, definition, count, workflow_status="pending", task_status="pending")


def seed_scheduled(connection: psycopg.Connection, definition: str, count: int) -> None:
    """`count` workflows whose only task is to be tried again tomorrow."""
    _seed_waiting(connection, definition, count, workflow_status="running", task_status="scheduled")


def seed_finished(connection: psycopg.Connection, definition: str, count: int) -> None:
    """`count` workflows that succeeded, with their whole history."""
    for begin in range(0, count, _BATCH):
        with connection.transaction():
            connection.execute(_NEW, [min(_BATCH, count - begin)])
            connection.execute(_WORKFLOWS, {"name": definition, "status": "succeeded"})
            connection.execute(_FINISHED_TASKS, {"name": definition})
            connection.execute(_ATTEMPTS)
            connection.execute(_EVENTS, [5])


def _seed_waiting(
    connection: psycopg.Connection, definition: str, count: int, *, workflow_status: str, task_status: str
) -> None:
    with connection.transaction():
        connection.execute(_NEW, [count])
        connection.execute(_WORKFLOWS, {"name": definition, "status": workflow_status})
        connection.execute(_WAITING_TASKS, {"name": definition, "status": task_status})
        connection.execute(_EVENTS, [1 if workflow_status == "pending" else 2])
