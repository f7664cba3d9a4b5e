-- Ends live workflows at once: tasks that have not ended are cancelled, their jobs removed, their leases void (the late
-- result of a running one is stale, and its worker is told to stop it). The caller holds the workflow rows.
create or replace function workflow.end_workflows(
    p_workflows uuid[], p_status text, p_now timestamptz, p_error jsonb default null) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_workers bigint[];
    v_worker bigint;
begin
    with open as (
        -- The lease of a running task is needed for its history, and RETURNING shows only what is new.
        select t.id, t.lease_token, t.status, t.error from workflow.tasks t
        where t.workflow_id = any(p_workflows) and t.finished_at is null
        for no key update
    ), ended as (
        update workflow.tasks t set
            status = 'cancelled', finished_at = greatest(p_now, t.started_at), lease_token = null, lease_until = null
        from open o
        where t.id = any(array(select x.id from open x)) and t.id = o.id
        returning t.id, t.workflow_id, t.attempt, t.job_id, t.worker_id, t.pending_since, t.started_at,
                  o.lease_token, o.status = 'running' as was_running
    ), history as (
        insert into workflow.attempt_history
            (task_id, attempt, workflow_id, outcome, worker_id, lease_token, pending_since, started_at, ended_at)
        select e.id, e.attempt, e.workflow_id, 'cancelled', e.worker_id, e.lease_token, e.pending_since, e.started_at,
               greatest(p_now, e.started_at)
        from ended e where e.was_running
    ), event as (
        insert into workflow.events (workflow_id, type, task_id, attempt, at)
        select e.workflow_id, 'task.cancelled', e.id, nullif(e.attempt, 0), p_now from ended e
    ), job as (
        delete from procrastinate_jobs j where j.id = any(array(select e.job_id from ended e))
    )
    select array_agg(distinct e.worker_id) filter (where e.was_running) into v_workers from ended e;

    with done as (
        update workflow.workflows w set
            status = p_status, finished_at = p_now, open_tasks = 0, error = coalesce(w.error, p_error)
        where w.id = any(p_workflows) and w.finished_at is null
        returning w.id, w.error
    )
    insert into workflow.events (workflow_id, type, at, data)
    select d.id, 'workflow.' || p_status, p_now,
           case when d.error is not null then jsonb_build_object('error', d.error) end
    from done d;

    foreach v_worker in array coalesce(v_workers, '{}') loop
        perform pg_notify('workflow_worker', v_worker::text);  -- a hint: its next heartbeat tells it anyway
    end loop;
end
$$;
comment on function workflow.end_workflows is 'Internal: end live workflows at once, cancelling what has not ended';
