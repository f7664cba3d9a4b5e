"""What must hold whenever nobody is in the middle of a transaction. Each query must return no row."""

from __future__ import annotations

from typing import Any, Protocol


class Database(Protocol):
    """Whatever runs a query."""

    def rows(self, query: str, /) -> list[dict[str, Any]]: ...


_OPEN = "('blocked', 'pending', 'running', 'scheduled', 'waiting')"

INVARIANTS = {
    "no open task in a workflow that ended": f"""
        select t.id from workflow.workflows w join workflow.tasks t on t.workflow_id = w.id
        where w.finished_at is not null and t.status in {_OPEN}""",
    "a live workflow has an open task": f"""
        select w.id from workflow.workflows w
        where w.finished_at is null and not exists (
            select 1 from workflow.tasks t where t.workflow_id = w.id and t.status in {_OPEN})""",
    "a task that waits for a worker or has one has exactly its job": """
        select t.id, t.status, j.status from workflow.tasks t
        left join workflow.jobs j on j.id = t.job_id and (j.args ->> 'task_id')::bigint = t.id
        where t.status in ('pending', 'scheduled') and j.status is distinct from 'todo'
           or t.status = 'running' and j.status is distinct from 'doing'
           or t.status = 'waiting' and (t.scheduled_at is not null or t.job_id is not null)
              and j.scheduled_at is distinct from t.scheduled_at
           or t.status = 'scheduled' and j.scheduled_at is null
           or t.status = 'scheduled' and j.scheduled_at = workflow.never()
           or t.status = 'pending' and j.scheduled_at <> workflow.never()
           or t.status = 'running' and j.scheduled_at is not null""",
    "a parked task has a reason": """
        select t.id from workflow.tasks t
        join workflow.jobs j on j.id = t.job_id
        join workflow.workflows w on w.id = t.workflow_id
        where t.status = 'pending' and j.scheduled_at is not null and w.paused_at is null and w.queued_at is null
          -- A pause with an end is over before the sweep has unparked what it held back; it may have started by then.
          and not exists (
              select 1 from workflow.engine e
              where e.paused_at is not null and (w.status = 'pending' or e.paused_until is not null))
          and not exists (select 1 from workflow.waits x where x.task_id = t.id and x.woken_at is null)""",
    "no lock or unit is held without a running attempt or a live workflow": """
        select h.* from workflow.holds h
        left join workflow.tasks t on t.id = h.task_id
        left join workflow.workflows w on w.id = h.workflow_id
        where h.workflow_id is distinct from t.workflow_id
           or h.scope = 'task' and (t.status is distinct from 'running' or t.attempt <> h.attempt)
           or h.scope = 'workflow' and w.status is distinct from 'running'""",
    "a running attempt holds what its step names": """
        select t.id, r.* from workflow.tasks t
        join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
        cross join lateral jsonb_to_recordset(s.resources) as r(kind text, key text)
        where t.status = 'running' and not exists (
            select 1 from workflow.holds h where h.kind = r.kind and h.key = r.key
              and (h.task_id = t.id or h.scope = 'workflow' and h.workflow_id = t.workflow_id))""",
    "a lock has one holder": """
        select h.key from workflow.holds h where h.kind = 'lock' group by 1 having count(*) > 1""",
    "who waits is pending": """
        select x.task_id from workflow.waits x left join workflow.tasks t on t.id = x.task_id
        where t.status is distinct from 'pending' or t.workflow_id <> x.workflow_id""",
    "nobody waits for a lock that its own workflow holds as a whole": """
        select x.task_id from workflow.waits x
        join workflow.holds h on h.kind = 'lock' and h.key = x.key and h.scope = 'workflow'
        where x.kind = 'lock' and x.woken_at is null and h.workflow_id = x.workflow_id""",
    "a live workflow is in line for some key or for none": """
        select w.id from workflow.workflows w where w.finished_at is null and (w.queued_at is not null) <> exists (
            select 1 from workflow.places p where p.workflow_id = w.id and p.entered_at is null)""",
    "a workflow enters all of its keys together": """
        select p.workflow_id from workflow.places p group by 1
        having count(p.entered_at) not in (0, count(*))""",
    "only live workflows have places": """
        select p.workflow_id from workflow.places p left join workflow.workflows w on w.id = p.workflow_id
        where w.id is null or w.finished_at is not null""",
    "who waits while a place is free is paused, or lacks one elsewhere": """
        select p.key from workflow.places p
        where p.entered_at is null
        group by 1
        having bool_and(
            p.capacity > (select count(*) from workflow.places x where x.key = p.key and x.entered_at is not null)
            and (select count(*) from workflow.places x where x.workflow_id = p.workflow_id) = 1
            and (select w.paused_at is null from workflow.workflows w where w.id = p.workflow_id))""",
    "nothing of a workflow in line runs": """
        select t.id from workflow.workflows w join workflow.tasks t on t.workflow_id = w.id
        where w.queued_at is not null and w.finished_at is null and w.started_at is null and t.status = 'running'""",
    "a task that was replaced is gone": """
        select r.id from workflow.replaced_tasks r join workflow.tasks t on t.id = r.id""",
    "events and logs belong to tasks": """
        select x.task_id from (
            -- Of deleted workflows they wait for the drop of their partition.
            select e.task_id from workflow.events e join workflow.workflows w on w.id = e.workflow_id
            where e.task_id is not null
            union select h.task_id from workflow.attempt_history h join workflow.workflows w on w.id = h.workflow_id
            union select l.task_id from workflow.task_logs l) x
        where not exists (select 1 from workflow.tasks t where t.id = x.task_id)
          and not exists (select 1 from workflow.replaced_tasks r where r.id = x.task_id)""",
    "what was logged belongs to an attempt that ended": """
        select l.* from workflow.task_logs l where not exists (
            select 1 from workflow.attempt_history h where h.task_id = l.task_id and h.attempt = l.attempt)""",
    "no job without its task": """
        select j.id from workflow.jobs j where not exists (
            select 1 from workflow.tasks t
            where t.job_id = j.id and (
                t.status in ('pending', 'scheduled', 'running')
                or t.status = 'waiting' and t.scheduled_at is not null))""",
    "jobs are in our table, and cause nothing in procrastinate's": """
        select j.id from only procrastinate_jobs j where starts_with(j.task_name, 'workflow:')
        union all select e.job_id from procrastinate_events e join workflow.jobs j on j.id = e.job_id""",
    "attempts are claims": """
        select t.id, t.attempt from workflow.tasks t
        where t.attempt <> (select count(*) from workflow.attempts a where a.task_id = t.id)
           or t.attempt <> (
               select count(*) from workflow.events e where e.task_id = t.id and e.type = 'task.started')""",
    "a success is recorded once, or the task was reopened": """
        select h.task_id from workflow.attempt_history h where h.outcome = 'succeeded' group by 1
        having count(*) > 1 + (
            select count(*) from workflow.events e where e.task_id = h.task_id and e.type = 'task.reopened')""",
    "a task that succeeded has one attempt that did": """
        select t.id from workflow.tasks t where (t.status = 'succeeded' and t.output_from is null) <> exists (
            select 1 from workflow.attempt_history h where h.task_id = t.id and h.outcome = 'succeeded')
          and (t.status = 'succeeded' or not exists (
            select 1 from workflow.events e where e.task_id = t.id and e.type = 'task.reopened'))""",
    "a blocked task counts the dependencies that have not ended": f"""
        select t.id from workflow.tasks t
        join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
        where t.status = 'blocked' and t.open_dependencies <> (
            select count(*) from unnest(s.dependencies) d join workflow.tasks p on p.id = t.id - t.step_index + d
            where p.status in {_OPEN})""",
    "a blocked task counts each dependency that has ended as one thing": """
        select t.id from workflow.tasks t
        join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
        where t.status = 'blocked'
          and t.succeeded_dependencies + t.failed_dependencies + t.skipped_dependencies + t.unmet_dependencies <> (
            select count(*) from unnest(s.dependencies) d join workflow.tasks p on p.id = t.id - t.step_index + d
            where p.finished_at is not null and not d = any(s.ordering))""",
    "no task is blocked by nothing": """
        select id from workflow.tasks where status = 'blocked' and open_dependencies = 0""",
    "a live workflow counts the open tasks that nothing open waits for": f"""
        select w.id, w.open_tasks from workflow.workflows w where w.finished_at is null and w.open_tasks <> (
            select count(*) from workflow.tasks t
            join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
            where t.workflow_id = w.id and (s.scope = 0 or s.kind <> 'step') and t.status in {_OPEN} and not exists (
                select 1 from unnest(coalesce(s.followers, s.successors)) x
                join workflow.tasks n on n.id = t.id - t.step_index + x
                where n.status in {_OPEN}))""",
    "a running scope counts the open tasks in it that nothing open waits for": f"""
        select c.base, c.open_tasks from workflow.scopes c where c.status = 'running' and c.open_tasks <> (
            select count(*) from workflow.definition_steps s
            join workflow.tasks t on t.id = c.base + s.step_index
            where s.version_id = c.version_id and s.scope = c.scope and s.kind = 'step' and t.status in {_OPEN}
              and not exists (
                select 1 from unnest(coalesce(s.followers, s.successors)) x join workflow.tasks n on n.id = c.base + x
                where n.status in {_OPEN}))""",
    "a task that waits for others has no deadline": """
        select d.task_id, d.kind from workflow.deadlines d join workflow.tasks t on t.id = d.task_id
        where t.status = 'blocked'""",
    "a task that waits for scopes counts those that are open": """
        select g.task_id from workflow.groups g join workflow.tasks t on t.id = g.task_id
        where t.status = 'waiting' and t.awaits ->> 'kind' = 'scope' and (
            g.open <> (select count(*) from workflow.scopes c
                       where c.parent_task_id = g.task_id and c.round = g.round and c.status = 'running')
            or g.open = 0)""",
    "only an open task that has waited has scopes open": """
        select c.base from workflow.scopes c join workflow.tasks t on t.id = c.parent_task_id
        where c.finished_at is null and (t.finished_at is not null or t.awaits is null)""",
    "an ending runs one handler, and a handler runs in an ending": f"""
        select w.id, w.ending from workflow.workflows w
        left join workflow.endings e on e.workflow_id = w.id
        where (w.ending is null) <> (e.workflow_id is null) or (w.ending is not null)::integer <> (
            select count(*) from workflow.tasks t
            join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
            where t.workflow_id = w.id and s.kind <> 'step' and t.status in {_OPEN})""",
    "a task that waits for a child has one": """
        select t.id, t.awaits from workflow.tasks t
        where t.status = 'waiting' and t.awaits ->> 'kind' = 'child' and not exists (
            select 1 from workflow.workflows w
            where w.id = (t.awaits ->> 'workflow_id')::uuid and w.parent_task_id = t.id
              and w.parent_id = t.workflow_id)
          -- One that the definition recognised as started before is nobody's child.
          and not exists (select 1 from workflow.parents_to_wake p where p.task_id = t.id)""",
    "a child that has ended is not waited for, unless the leader is to say so": """
        select t.id from workflow.tasks t
        join workflow.workflows w on w.id = (t.awaits ->> 'workflow_id')::uuid
        where t.status = 'waiting' and t.awaits ->> 'kind' = 'child' and w.finished_at is not null
          and not exists (select 1 from workflow.parents_to_wake p where p.task_id = t.id)""",
    "a task that waits for a signal has its place": """
        select t.id from workflow.tasks t
        where t.status = 'waiting' and t.awaits ->> 'kind' = 'signal' and not exists (
            select 1 from workflow.signal_waits x
            where x.task_id = t.id and x.workflow_id = t.workflow_id and not x.woken)""",
    "only who waits for a signal, or was just resumed, has a place": """
        select x.task_id from workflow.signal_waits x left join workflow.tasks t on t.id = x.task_id
        where t.id is null or t.finished_at is not null or t.awaits ->> 'kind' is distinct from 'signal'""",
    "a signal is kept for a task that waits for it, or taken by one that ended with it": """
        select s.seq, s.taken_by from workflow.signals s left join workflow.tasks t on t.id = s.taken_by
        where s.taken_by is not null and s.taken_at is null
          and (t.id is null or t.finished_at is not null or t.awaits ->> 'kind' is distinct from 'signal')""",
    "a free signal is not waited for": """
        select x.task_id, s.seq from workflow.signal_waits x
        join workflow.tasks t on t.id = x.task_id
        join workflow.signals s on s.workflow_id = x.workflow_id and s.name = x.name and s.taken_by is null
        where t.status = 'waiting' and (not x.matches or s.seq > x.after)""",
    "a task that waits for an approval has asked": """
        select t.id from workflow.tasks t
        where t.status = 'waiting' and t.awaits ->> 'kind' = 'approval' and not exists (
            select 1 from workflow.approvals a where a.task_id = t.id and a.status = 'open')""",
    "only who waits for an approval, or was just resumed, has one open": """
        select a.id from workflow.approvals a left join workflow.tasks t on t.id = a.task_id
        where a.status = 'open' and (
            t.id is null or t.finished_at is not null or t.awaits ->> 'kind' is distinct from 'approval')""",
    "a task that waits for a time has one": """
        select t.id from workflow.tasks t
        where t.status = 'waiting' and t.awaits ->> 'kind' = 'timer' and t.scheduled_at is null""",
    "a task that waits says for what, and one that ended for nothing": """
        select t.id, t.status, t.awaits from workflow.tasks t
        where t.status = 'waiting' and t.awaits is null
           or t.finished_at is not null and t.awaits is not null""",
    "a group starts as many scopes as it may": """
        select g.task_id from workflow.groups g join workflow.tasks t on t.id = g.task_id
        where t.status = 'waiting' and t.awaits ->> 'kind' = 'scope' and g.open < g.width and exists (
            select 1 from workflow.scopes c
            where c.parent_task_id = g.task_id and c.round = g.round and c.status = 'blocked')""",
    "a scope that has ended says how, and no other does": """
        select c.base, c.status from workflow.scopes c
        where (c.finished_at is not null) <> (c.status in ('succeeded', 'failed', 'cancelled'))""",
    "a running scope has an open task": f"""
        select c.base from workflow.scopes c where c.status = 'running' and not exists (
            select 1 from workflow.definition_steps s join workflow.tasks t on t.id = c.base + s.step_index
            where s.version_id = c.version_id and s.scope = c.scope and t.status in {_OPEN})""",
    "an open task inside stands in a running scope": f"""
        select t.id from workflow.tasks t
        join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
        left join workflow.scopes c on c.base = t.id - t.step_index
        where s.scope > 0 and s.kind = 'step' and t.status in {_OPEN} and c.status is distinct from 'running'""",
    "a child knows its parent, and those above it": """
        select c.id from workflow.workflows c left join workflow.workflows p on p.id = c.parent_id
        where c.parent_task_id is not null and (
            p.id is null or c.depth <> p.depth + 1 or c.root_id is distinct from coalesce(p.root_id, p.id))""",
    "a child does not outlive its parent, unless it is abandoned or the leader is to cancel it": """
        select c.id from workflow.workflows c join workflow.workflows p on p.id = c.parent_id
        where c.finished_at is null and c.ending is null and p.finished_at is not null and p.status <> 'succeeded'
          and c.on_parent_cancel = 'cancel'
          and not exists (select 1 from workflow.children_to_cancel x where x.workflow_id = c.id)
          and not exists (
              select 1 from workflow.events e where e.workflow_id = c.id and e.type = 'workflow.retried')""",
    "a step is undone once for each time that it was done": """
        select t.id from workflow.tasks t
        join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
        where s.kind = 'compensation' and (
            select count(*) from workflow.attempt_history h where h.task_id = t.id and h.outcome = 'succeeded') > (
            select count(*) from workflow.definition_steps d
            cross join lateral (
                select h.task_id from workflow.attempt_history h
                where h.task_id = t.id - t.step_index + d.step_index and h.outcome = 'succeeded'
                union all
                select e.task_id from workflow.events e
                where e.task_id = t.id - t.step_index + d.step_index and e.type = 'task.overridden') h
            where d.version_id = t.version_id and d.compensation = t.step_index)""",
    "no counter is negative": """
        select id from workflow.tasks where least(open_dependencies, succeeded_dependencies, failed_dependencies,
                                                  skipped_dependencies, unmet_dependencies,
                                                  attempt, tries, crashes) < 0
        union all select 0 from workflow.workflows where open_tasks < 0""",
}

_NAMES = list(INVARIANTS)
_ALL = " union all ".join(  # one round trip, and a statement that is the same each time
    f"(select {number} as number, to_jsonb(x) as found from ({query}) x limit 3)"
    for number, query in enumerate(INVARIANTS.values())
)


def assert_sound(database: Database) -> None:
    """Fail with the names and first rows of the invariants that are broken."""
    broken = [(_NAMES[row["number"]], row["found"]) for row in database.rows(_ALL)]
    assert not broken, broken
