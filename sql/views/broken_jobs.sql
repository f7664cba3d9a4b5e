-- What is wrong with jobs, claims and leases (see invariants.sql).

create or replace view workflow.broken_jobs as
select 'a task that waits for a worker or has one has exactly its job' as invariant, true as instant, t.workflow_id,
       t.id as task_id, jsonb_build_object('status', t.status, 'job', j.status, 'scheduled_at', j.scheduled_at) as found
from workflow.tasks t
left join workflow.jobs j on j.id = t.job_id and (j.args ->> 'task_id')::bigint = t.id
where t.finished_at is null
  and (t.status in ('pending', 'scheduled') and j.status is distinct from 'todo'
       or t.status = 'running' and j.status is distinct from 'doing'
       or t.status = 'waiting' and (t.scheduled_at is not null or t.job_id is not null)
          and j.scheduled_at is distinct from t.scheduled_at
       or t.status = 'scheduled' and (j.scheduled_at is null or j.scheduled_at = workflow.never())
       or t.status = 'pending' and j.scheduled_at <> workflow.never()
       or t.status = 'running' and j.scheduled_at is not null)

union all
select 'no job without its task', true, null, (j.args ->> 'task_id')::bigint, jsonb_build_object('job', j.id)
from workflow.jobs j where not exists (
    select 1 from workflow.tasks t
    where t.id = (j.args ->> 'task_id')::bigint and t.job_id = j.id
      and (t.status in ('pending', 'scheduled', 'running') or t.status = 'waiting' and t.scheduled_at is not null))

union all
select 'jobs are in our table, and cause nothing in procrastinate''s', true, null, null, jsonb_build_object('job', x.id)
from (
    select j.id from only procrastinate_jobs j where starts_with(j.task_name, 'workflow:')
    union all
    select e.job_id from procrastinate_events e join workflow.jobs j on j.id = e.job_id) x

union all
-- While Postgres was away nobody could renew: then it is longer.
select 'a lease that has run out is taken back', false, t.workflow_id, t.id,
       jsonb_build_object('lease_until', t.lease_until, 'worker', t.worker_id)
from workflow.tasks t
where t.status = 'running' and t.lease_until < workflow.clock() - interval '1 minute'
  and pg_postmaster_start_time() < clock_timestamp() - interval '2 minutes'

union all
select 'what is due is woken', false, t.workflow_id, t.id, jsonb_build_object('status', t.status, 'due', t.scheduled_at)
from workflow.tasks t
where t.status in ('scheduled', 'waiting') and t.scheduled_at < workflow.clock() - interval '1 minute';
comment on view workflow.broken_jobs is 'Internal: what is wrong with jobs, claims and leases';
