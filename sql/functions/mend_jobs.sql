-- Sees to jobs that were met but could not be taken; the caller has locked them. One that no task waits for is a wake-up
-- for nothing: it is removed, or it would be met for ever. One whose task is running was put back by procrastinate's own
-- tools (their rescue of stalled jobs knows nothing of leases): it is marked as claimed again, so that the sweep of
-- expired leases finds it.
create or replace function workflow.mend_jobs(p_jobs bigint[]) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    delete from workflow.jobs j
    where j.id = any(p_jobs) and j.status = 'todo' and (
        select count(*) from workflow.tasks t where t.id = (j.args ->> 'task_id')::bigint and t.job_id = j.id) = 0;
    update workflow.jobs j set status = 'doing', scheduled_at = null
    where j.id = any(p_jobs) and j.status = 'todo' and (
        select count(*) from workflow.tasks t
        where t.id = (j.args ->> 'task_id')::bigint and t.job_id = j.id and t.status = 'running') = 1;
end
$$;
comment on function workflow.mend_jobs is 'Internal: see to jobs that were met but could not be taken';
