-- What is wrong with workflows and what their tasks count (see invariants.sql).

create or replace view workflow.broken_workflows as
select 'no open task in a workflow that ended' as invariant, true as instant, w.id as workflow_id, t.id as task_id,
       jsonb_build_object('status', t.status) as found
from workflow.workflows w join workflow.tasks t on t.workflow_id = w.id
where w.finished_at is not null and t.finished_at is null

union all
select 'a live workflow has an open task', true, w.id, null, '{}'
from workflow.workflows w
where w.finished_at is null and not exists (
    select 1 from workflow.tasks t where t.workflow_id = w.id and t.finished_at is null)

union all
select 'a live workflow counts the open tasks that nothing open waits for', true, w.id, null,
       jsonb_build_object('open_tasks', w.open_tasks, 'found', f.open)
from workflow.workflows w
cross join lateral (
    select count(*) as open
    from workflow.tasks t
    join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
    where t.workflow_id = w.id and (s.scope = 0 or s.kind <> 'step') and t.finished_at is null and not exists (
        select 1 from unnest(coalesce(s.followers, s.successors)) x
        join workflow.tasks n on n.id = t.id - t.step_index + x
        where n.finished_at is null)) f
where w.finished_at is null and w.open_tasks <> f.open

union all
select 'a blocked task counts the dependencies that have not ended', true, t.workflow_id, t.id,
       jsonb_build_object('open_dependencies', t.open_dependencies)
from workflow.tasks t
join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
where t.status = 'blocked' and t.open_dependencies <> (
    select count(*) from unnest(s.dependencies) d join workflow.tasks p on p.id = t.id - t.step_index + d
    where p.finished_at is null)

union all
select 'a blocked task counts each dependency that has ended as one thing', true, t.workflow_id, t.id,
       jsonb_build_object('succeeded', t.succeeded_dependencies, 'failed', t.failed_dependencies,
                          'skipped', t.skipped_dependencies, 'unmet', t.unmet_dependencies)
from workflow.tasks t
join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
where t.status = 'blocked'
  and t.succeeded_dependencies + t.failed_dependencies + t.skipped_dependencies + t.unmet_dependencies <> (
    select count(*) from unnest(s.dependencies) d join workflow.tasks p on p.id = t.id - t.step_index + d
    where p.finished_at is not null and not d = any(s.ordering))

union all
select 'no task is blocked by nothing', true, t.workflow_id, t.id, '{}'
from workflow.tasks t where t.status = 'blocked' and t.open_dependencies = 0

union all
-- Those whose rule lets them run early may be before what is before them.
select 'a task that waits for all of its dependencies runs after them', true, t.workflow_id, t.id,
       jsonb_build_object('status', t.status)
from workflow.tasks t
join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
where t.status in ('pending', 'scheduled', 'running', 'waiting') and s.rule is null and exists (
    select 1 from unnest(s.dependencies) d join workflow.tasks p on p.id = t.id - t.step_index + d
    where p.finished_at is null)

union all
select 'no counter is negative', true, t.workflow_id, t.id, '{}'
from workflow.tasks t
where least(t.open_dependencies, t.succeeded_dependencies, t.failed_dependencies, t.skipped_dependencies,
            t.unmet_dependencies, t.attempt, t.tries, t.crashes) < 0

union all
select 'a task that was replaced is gone', true, r.workflow_id, r.id, '{}'
from workflow.replaced_tasks r join workflow.tasks t on t.id = r.id

union all
select 'a task that waits for others has no deadline', true, t.workflow_id, t.id, jsonb_build_object('kind', d.kind)
from workflow.tasks t join workflow.deadlines d on d.task_id = t.id
where t.status = 'blocked'

union all
select 'what is over its time is ended', false, w.id, null, jsonb_build_object('deadline', w.deadline)
from workflow.workflows w
where w.deadline < workflow.clock() - interval '1 minute' and w.finished_at is null and w.ending is null

union all
select 'what is over its time is ended', false, t.workflow_id, t.id,
       jsonb_build_object('kind', d.kind, 'deadline', d.at)
from workflow.tasks t join workflow.deadlines d on d.task_id = t.id
where d.at < workflow.clock() - interval '1 minute';
comment on view workflow.broken_workflows is 'Internal: what is wrong with workflows and what their tasks count';
