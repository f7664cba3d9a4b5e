-- What is wrong with locks, limits, places and pauses (see invariants.sql).

create or replace view workflow.broken_holds as
select 'a parked task has a reason' as invariant, true as instant, t.workflow_id, t.id as task_id, '{}'::jsonb as found
from workflow.tasks t
join workflow.jobs j on j.id = t.job_id
join workflow.workflows w on w.id = t.workflow_id
where t.status = 'pending' and j.scheduled_at is not null and w.paused_at is null and w.queued_at is null
  -- A pause with an end is over before the sweep has unparked what it held back; it may have started by then.
  and not exists (
      select 1 from workflow.engine e
      where e.paused_at is not null and (w.status = 'pending' or e.paused_until is not null))
  and not exists (select 1 from workflow.waits x where x.task_id = t.id and x.woken_at is null)

union all
select 'no lock or unit is held without a running attempt or a live workflow', true, h.workflow_id, h.task_id,
       jsonb_build_object('kind', h.kind, 'key', h.key, 'scope', h.scope)
from workflow.holds h
left join workflow.tasks t on t.id = h.task_id
left join workflow.workflows w on w.id = h.workflow_id
where h.workflow_id is distinct from t.workflow_id
   or h.scope = 'task' and (t.status is distinct from 'running' or t.attempt <> h.attempt)
   or h.scope = 'workflow' and w.status is distinct from 'running'

union all
select 'a running attempt holds what its step names', true, t.workflow_id, t.id,
       jsonb_build_object('kind', r.kind, 'key', r.key)
from workflow.tasks t
join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
cross join lateral jsonb_to_recordset(s.resources) as r(kind text, key text)
where t.status = 'running' and not exists (
    select 1 from workflow.holds h where h.kind = r.kind and h.key = r.key
      and (h.task_id = t.id or h.scope = 'workflow' and h.workflow_id = t.workflow_id))

union all
select 'a lock has one holder', true, h.workflow_id, h.task_id, jsonb_build_object('key', h.key)
from workflow.holds h
where h.kind = 'lock' and exists (
    select 1 from workflow.holds x where x.kind = 'lock' and x.key = h.key and x.task_id <> h.task_id)

union all
-- Versions may see it differently: it is what one of those who have some says.
select 'no more of a limit is taken than there is', true, null, null,
       jsonb_build_object('key', h.key, 'taken', sum(h.units), 'capacity', max(r.capacity))
from workflow.holds h
join workflow.tasks t on t.id = h.task_id
join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
cross join lateral (
    select max(r.capacity) as capacity from jsonb_to_recordset(s.resources) as r(kind text, key text, capacity integer)
    where r.kind = 'limit' and r.key = h.key) r
where h.kind = 'limit'
group by h.key
having sum(h.units) > max(r.capacity)

union all
select 'who waits is pending', true, x.workflow_id, x.task_id, jsonb_build_object('status', t.status)
from workflow.waits x left join workflow.tasks t on t.id = x.task_id
where t.status is distinct from 'pending' or t.workflow_id <> x.workflow_id

union all
select 'nobody waits for a lock that its own workflow holds as a whole', true, x.workflow_id, x.task_id,
       jsonb_build_object('key', x.key)
from workflow.waits x
join workflow.holds h on h.kind = 'lock' and h.key = x.key and h.scope = 'workflow'
where x.kind = 'lock' and x.woken_at is null and h.workflow_id = x.workflow_id

union all
select 'a live workflow is in line for some key or for none', true, w.id, null,
       jsonb_build_object('queued_at', w.queued_at)
from workflow.workflows w where w.finished_at is null and (w.queued_at is not null) <> exists (
    select 1 from workflow.places p where p.workflow_id = w.id and p.entered_at is null)

union all
select 'a workflow enters all of its keys together', true, p.workflow_id, null, '{}'
from workflow.places p
group by p.workflow_id
having count(p.entered_at) not in (0, count(*))

union all
select 'only live workflows have places', true, p.workflow_id, null, jsonb_build_object('key', p.key)
from workflow.places p left join workflow.workflows w on w.id = p.workflow_id
where w.id is null or w.finished_at is not null

union all
select 'who waits while a place is free is paused, or lacks one elsewhere', true, null, null,
       jsonb_build_object('key', p.key)
from workflow.places p
where p.entered_at is null
group by p.key
having bool_and(
    p.capacity > (select count(*) from workflow.places x where x.key = p.key and x.entered_at is not null)
    and (select count(*) from workflow.places x where x.workflow_id = p.workflow_id) = 1
    and (select w.paused_at is null from workflow.workflows w where w.id = p.workflow_id))

union all
select 'nothing of a workflow in line runs', true, w.id, t.id, '{}'
from workflow.workflows w join workflow.tasks t on t.workflow_id = w.id
where w.queued_at is not null and w.finished_at is null and w.started_at is null and t.status = 'running';
comment on view workflow.broken_holds is 'Internal: what is wrong with locks, limits, places and pauses';
