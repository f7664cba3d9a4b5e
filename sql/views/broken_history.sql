-- What is wrong with the history of attempts and events (see invariants.sql).

create or replace view workflow.broken_history as
select 'attempts are claims' as invariant, true as instant, t.workflow_id, t.id as task_id,
       jsonb_build_object('attempt', t.attempt, 'ended', h.ended, 'started', e.started) as found
from workflow.tasks t
cross join lateral (
    select count(*) as ended from workflow.attempt_history h
    where h.workflow_id = t.workflow_id and h.task_id = t.id) h
cross join lateral (
    select count(*) as started from workflow.events e
    where e.workflow_id = t.workflow_id and e.task_id = t.id and e.type = 'task.started') e
where t.attempt <> h.ended + (t.status = 'running')::integer or t.attempt <> e.started

union all
select 'a success is recorded once, or the task was reopened', true, t.workflow_id, t.id,
       jsonb_build_object('successes', h.successes)
from workflow.tasks t
cross join lateral (
    select count(*) as successes from workflow.attempt_history h
    where h.workflow_id = t.workflow_id and h.task_id = t.id and h.outcome = 'succeeded') h
where h.successes > 1 and h.successes > 1 + (
    select count(*) from workflow.events e
    where e.workflow_id = t.workflow_id and e.task_id = t.id and e.type = 'task.reopened')

union all
select 'a task that succeeded by itself did so in its last attempt', true, t.workflow_id, t.id,
       jsonb_build_object('attempt', t.attempt)
from workflow.tasks t
where t.status = 'succeeded' and t.output_from is null and not exists (
    select 1 from workflow.attempt_history h
    where h.workflow_id = t.workflow_id and h.task_id = t.id and h.attempt = t.attempt and h.outcome = 'succeeded')

union all
select 'a task of which an attempt succeeded has succeeded, or was reopened', true, t.workflow_id, t.id,
       jsonb_build_object('status', t.status)
from workflow.tasks t
where (t.status <> 'succeeded' or t.output_from is not null)
  and exists (
    select 1 from workflow.attempt_history h
    where h.workflow_id = t.workflow_id and h.task_id = t.id and h.outcome = 'succeeded')
  and not exists (
    select 1 from workflow.events e
    where e.workflow_id = t.workflow_id and e.task_id = t.id and e.type = 'task.reopened')

union all
-- By the order of events, as a clock may go back where Postgres moves to another machine.
select 'an attempt begins when the one before has ended', true, x.workflow_id, x.task_id,
       jsonb_build_object('attempt', x.attempt, 'seq', x.seq)
from (
    select e.workflow_id, e.task_id, e.attempt, e.seq, e.type,
           lag(e.type) over (partition by e.workflow_id, e.task_id order by e.seq) as before
    from workflow.events e
    where e.type in ('task.started', 'task.retried', 'task.released', 'task.lost', 'task.waiting', 'task.succeeded',
                     'task.failed', 'task.skipped', 'task.cancelled')) x
where x.type = 'task.started' and x.before = 'task.started'

union all
select 'a task that ran or ended is what its last event says', true, t.workflow_id, t.id,
       jsonb_build_object('status', t.status, 'event', e.type)
from workflow.tasks t
cross join lateral (
    select e.type from workflow.events e
    where e.workflow_id = t.workflow_id and e.task_id = t.id
      and e.type in ('task.started', 'task.retried', 'task.released', 'task.lost', 'task.waiting', 'task.reopened',
                     'task.succeeded', 'task.overridden', 'task.failed', 'task.skipped', 'task.cancelled')
    order by e.seq desc limit 1) e
where t.status in ('running', 'succeeded', 'failed', 'skipped', 'cancelled')
  and not e.type = any(case t.status
      when 'running' then array['task.started']
      when 'succeeded' then array['task.succeeded', 'task.overridden']
      when 'failed' then array['task.failed', 'task.lost']  -- for the last time that it may be lost
      else array['task.' || t.status] end)

union all
select 'events belong to tasks', true, e.workflow_id, e.task_id, jsonb_build_object('event', e.type)
from workflow.events e
join workflow.workflows w on w.id = e.workflow_id  -- of deleted ones they wait for the drop of their partition
where e.task_id is not null
  and not exists (select 1 from workflow.tasks t where t.id = e.task_id)
  and not exists (select 1 from workflow.replaced_tasks r where r.id = e.task_id)

union all
select 'attempts belong to tasks', true, h.workflow_id, h.task_id, jsonb_build_object('attempt', h.attempt)
from workflow.attempt_history h
join workflow.workflows w on w.id = h.workflow_id
where not exists (select 1 from workflow.tasks t where t.id = h.task_id)
  and not exists (select 1 from workflow.replaced_tasks r where r.id = h.task_id)

union all
select 'what was logged belongs to an attempt that ended', true, t.workflow_id, l.task_id,
       jsonb_build_object('attempt', l.attempt)
from workflow.task_logs l
left join workflow.tasks t on t.id = l.task_id
where not exists (
    select 1 from workflow.attempt_history h where h.task_id = l.task_id and h.attempt = l.attempt)

union all
select 'a step is undone once for each time that it was done', true, t.workflow_id, t.id,
       jsonb_build_object('undone', u.times, 'done', d.times)
from workflow.tasks t
join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
cross join lateral (
    select count(*) as times from workflow.attempt_history h
    where h.workflow_id = t.workflow_id and h.task_id = t.id and h.outcome = 'succeeded') u
cross join lateral (
    select count(*) as times from workflow.definition_steps d
    cross join lateral (
        select h.task_id from workflow.attempt_history h
        where h.workflow_id = t.workflow_id and h.task_id = t.id - t.step_index + d.step_index
          and h.outcome = 'succeeded'
        union all
        select e.task_id from workflow.events e
        where e.workflow_id = t.workflow_id and e.task_id = t.id - t.step_index + d.step_index
          and e.type = 'task.overridden') h
    where d.version_id = t.version_id and d.compensation = t.step_index) d
where s.kind = 'compensation' and u.times > d.times;
comment on view workflow.broken_history is 'Internal: what is wrong with the history of attempts and events';
