-- What is wrong with what tasks wait for: children, signals, approvals and times (see invariants.sql).

create or replace view workflow.broken_waits as
select 'a task that waits says for what, and one that ended for nothing' as invariant, true as instant, t.workflow_id,
       t.id as task_id, jsonb_build_object('status', t.status, 'awaits', t.awaits) as found
from workflow.tasks t
where t.status = 'waiting' and t.awaits is null or t.finished_at is not null and t.awaits is not null

union all
select 'a task that waits for a time has one', true, t.workflow_id, t.id, '{}'
from workflow.tasks t
where t.status = 'waiting' and t.awaits ->> 'kind' = 'timer' and t.scheduled_at is null

union all
select 'a task that waits for a child has one', true, t.workflow_id, t.id, jsonb_build_object('awaits', t.awaits)
from workflow.tasks t
where t.status = 'waiting' and t.awaits ->> 'kind' = 'child'
  and not exists (
    select 1 from workflow.workflows w
    where w.id = (t.awaits ->> 'workflow_id')::uuid and w.parent_task_id = t.id and w.parent_id = t.workflow_id)
  -- One that the definition recognised as started before is nobody's child.
  and not exists (select 1 from workflow.parents_to_wake p where p.task_id = t.id)

union all
select 'a child that has ended is not waited for, unless the leader is to say so', true, t.workflow_id, t.id,
       jsonb_build_object('child', w.id)
from workflow.tasks t
join workflow.workflows w on w.id = (t.awaits ->> 'workflow_id')::uuid
where t.status = 'waiting' and t.awaits ->> 'kind' = 'child' and w.finished_at is not null
  and not exists (select 1 from workflow.parents_to_wake p where p.task_id = t.id)

union all
select 'a child knows its parent, and those above it', true, c.id, c.parent_task_id, jsonb_build_object('parent', c.parent_id)
from workflow.workflows c left join workflow.workflows p on p.id = c.parent_id
where c.parent_task_id is not null and (
    p.id is null or c.depth <> p.depth + 1 or c.root_id is distinct from coalesce(p.root_id, p.id))

union all
select 'a child does not outlive its parent, unless it is abandoned or the leader is to cancel it', true, c.id,
       c.parent_task_id, jsonb_build_object('parent', c.parent_id)
from workflow.workflows c join workflow.workflows p on p.id = c.parent_id
where c.finished_at is null and c.ending is null and p.finished_at is not null and p.status <> 'succeeded'
  and c.on_parent_cancel = 'cancel'
  and not exists (select 1 from workflow.children_to_cancel x where x.workflow_id = c.id)
  and not exists (select 1 from workflow.events e where e.workflow_id = c.id and e.type = 'workflow.retried')

union all
select 'a task that waits for a signal has its place', true, t.workflow_id, t.id, '{}'
from workflow.tasks t
where t.status = 'waiting' and t.awaits ->> 'kind' = 'signal' and not exists (
    select 1 from workflow.signal_waits x
    where x.task_id = t.id and x.workflow_id = t.workflow_id and not x.woken)

union all
select 'only who waits for a signal, or was just resumed, has a place', true, x.workflow_id, x.task_id, '{}'
from workflow.signal_waits x left join workflow.tasks t on t.id = x.task_id
where t.id is null or t.finished_at is not null or t.awaits ->> 'kind' is distinct from 'signal'

union all
select 'a signal is kept for a task that waits for it, or taken by one that ended with it', true, s.workflow_id,
       s.taken_by, jsonb_build_object('signal', s.seq)
from workflow.signals s left join workflow.tasks t on t.id = s.taken_by
where s.taken_by is not null and s.taken_at is null
  and (t.id is null or t.finished_at is not null or t.awaits ->> 'kind' is distinct from 'signal')

union all
select 'a free signal is not waited for', true, x.workflow_id, x.task_id, jsonb_build_object('signal', s.seq)
from workflow.signal_waits x
join workflow.tasks t on t.id = x.task_id
join workflow.signals s on s.workflow_id = x.workflow_id and s.name = x.name and s.taken_by is null
where t.status = 'waiting' and (not x.matches or s.seq > x.after)

union all
select 'a task that waits for an approval has asked', true, t.workflow_id, t.id, '{}'
from workflow.tasks t
where t.status = 'waiting' and t.awaits ->> 'kind' = 'approval' and not exists (
    select 1 from workflow.approvals a where a.task_id = t.id and a.status = 'open')

union all
select 'only who waits for an approval, or was just resumed, has one open', true, a.workflow_id, a.task_id,
       jsonb_build_object('approval', a.id)
from workflow.approvals a left join workflow.tasks t on t.id = a.task_id
where a.status = 'open' and (
    t.id is null or t.finished_at is not null or t.awaits ->> 'kind' is distinct from 'approval');
comment on view workflow.broken_waits is 'Internal: what is wrong with what tasks wait for';
