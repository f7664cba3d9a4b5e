-- Ends live workflows: tasks that have not ended are cancelled, their jobs removed, their leases void (the late result of a
-- running one is stale, and its worker is told to stop it). A workflow whose version has handlers, or something to undo, has its
-- ending first (see ending.sql), unless it is in its ending already: then it is over at once.
--
-- The caller holds the workflow rows, and at its own end calls workflow.free_resources.
create or replace function workflow.end_workflows(
    p_workflows uuid[], p_status text, p_now timestamptz, p_error jsonb default null) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_ending uuid[];
begin
    v_ending := array(
        select w.id from workflow.workflows w
        where w.id = any(p_workflows) and w.has_ending and w.ending is null and w.started_at is not null
          and w.finished_at is null);
    perform workflow.cancel_open_tasks(p_workflows, p_now);
    perform workflow.cancel_children(p_workflows, p_now);
    if v_ending <> '{}' then
        perform workflow.begin_ending(v_ending, p_status, p_now, p_error);
    end if;
    perform workflow.finish_workflows(
        array(select x from unnest(p_workflows) x where not x = any(v_ending)), p_status, p_now, p_error);
end
$$;
comment on function workflow.end_workflows is 'Internal: end live workflows, cancelling what has not ended';

-- Cancels all that is open of some workflows, whose rows the caller holds.
create or replace function workflow.cancel_open_tasks(p_workflows uuid[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    update workflow.scopes s set status = 'cancelled', finished_at = p_now
    where s.workflow_id = any(p_workflows) and s.finished_at is null;
    -- From here on no claim or heartbeat is under way, and what is read stays true.
    perform workflow.cancel_tasks(array(
        select t.id from workflow.tasks t where t.workflow_id = any(p_workflows) and t.finished_at is null
        for no key update), p_now);
end
$$;
comment on function workflow.cancel_open_tasks is 'Internal: cancel all that is open of some workflows';

-- Cancels tasks that have not ended, and whose rows the caller has locked under their workflows'. What they waited for is
-- let go; scopes below them are for the caller to end.
create or replace function workflow.cancel_tasks(p_tasks bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_jobs      bigint[];
    v_workers   bigint[];
    v_waiting   bigint[];
    v_worker    bigint;
begin
    insert into workflow.attempt_history
        (task_id, attempt, workflow_id, outcome, worker_id, lease_token, pending_since, started_at, ended_at)
    select t.id, t.attempt, t.workflow_id, 'cancelled', t.worker_id, t.lease_token, t.pending_since, t.started_at,
           greatest(p_now, t.started_at)
    from workflow.tasks t
    where t.id = any(p_tasks) and t.status = 'running';

    select array_agg(distinct t.worker_id) filter (where t.status = 'running'),
           array_agg(t.id) filter (where t.awaits is not null)
    into v_workers, v_waiting
    from workflow.tasks t where t.id = any(p_tasks);
    if v_waiting is not null then
        perform workflow.stop_awaiting(v_waiting, p_now);
    end if;

    with ended as (
        update workflow.tasks t set
            status = 'cancelled', finished_at = greatest(p_now, t.started_at), lease_token = null, lease_until = null,
            scheduled_at = case when t.status <> 'waiting' then t.scheduled_at end
        where t.id = any(p_tasks) and t.finished_at is null
        returning t.id, t.workflow_id, t.attempt, t.job_id
    ), event as (
        insert into workflow.events (workflow_id, type, task_id, attempt, at)
        select e.workflow_id, 'task.cancelled', e.id, nullif(e.attempt, 0), p_now from ended e
    )
    select array_agg(e.job_id) into v_jobs from ended e where e.job_id is not null;
    delete from workflow.jobs j where j.id = any(v_jobs);

    foreach v_worker in array coalesce(v_workers, '{}') loop
        perform pg_notify('workflow_worker', v_worker::text);  -- a hint: its next heartbeat tells it anyway
    end loop;
end
$$;
comment on function workflow.cancel_tasks is 'Internal: cancel tasks that have not ended';
