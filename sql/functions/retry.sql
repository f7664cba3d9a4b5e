-- Runs again what failed: succeeded and skipped tasks are kept, failed and cancelled ones wait for their dependencies
-- again. The retry policy starts afresh; attempt numbers go on.
--
-- A pending workflow is not changed: tasks whose job was lost get a new one and workers are woken.
--
-- Returns how many tasks were reopened or woken.
-- Errors: WF404; WF409 when it runs, has succeeded, or was cancelled and p_force is false.
create or replace function workflow.retry(p_workflow_id uuid, p_force boolean default false) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_workflow  workflow.workflows;
    v_open      bigint[];
    v_final     integer;
begin
    select * into v_workflow from workflow.workflows w where w.id = p_workflow_id for no key update;
    if not found then
        raise exception 'There is no workflow %.', p_workflow_id using errcode = 'WF404', detail = 'workflow-not-found';
    elsif v_workflow.status = 'running' then
        raise exception 'The workflow is running.' using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Wait until it ends, or cancel it first.';
    elsif v_workflow.status = 'succeeded' then
        raise exception 'The workflow has already succeeded.' using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Start it anew to run it again.';
    elsif v_workflow.status = 'cancelled' and not p_force then
        raise exception 'The workflow was cancelled.' using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Add ?force=true to run it all the same.';
    elsif v_workflow.status = 'pending' then
        return workflow.ensure_jobs(p_workflow_id);
    end if;

    -- A failure never skips what is behind it, so skipped tasks go back to a false `when` and stay as they are.
    v_open := array(
        select t.id from workflow.tasks t
        where t.workflow_id = p_workflow_id and t.status in ('failed', 'cancelled'));

    with counted as (
        select t.id,
               not exists (select 1 from unnest(s.successors) x where t.id - t.step_index + x = any(v_open)) as final,
               count(d) filter (where d.id = any(v_open))::integer as open,
               count(d) filter (where not d.id = any(v_open) and d.counts
                   and (d.status = 'succeeded' or d.status = 'failed' and d.tolerated))::integer as succeeded
        from workflow.tasks t
        join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
        left join lateral (
            select p.id, p.status, q.tolerated, not (x = any(s.ordering)) as counts
            from unnest(s.dependencies) x
            join workflow.tasks p on p.workflow_id = p_workflow_id and p.id = t.id - t.step_index + x
            join workflow.definition_steps q on q.version_id = p.version_id and q.step_index = p.step_index
        ) d on true
        where t.id = any(v_open)
        group by t.id, s.successors
    ), reopened as (
        update workflow.tasks t set
            status = case when c.open = 0 then 'pending' else 'blocked' end,
            open_dependencies = c.open, succeeded_dependencies = c.succeeded, failed_dependencies = 0,
            tries = 0, crashes = 0, first_started_at = null, finished_at = null, error = null, output = null,
            scheduled_at = null, job_id = null,
            pending_since = case when c.open = 0 then v_now end
        from counted c
        where t.id = any(v_open) and t.id = c.id
        returning t.id, c.final
    )
    select count(*) filter (where r.final) into v_final from reopened r;

    update workflow.workflows w set
        status = case when w.started_at is null then 'pending' else 'running' end,
        open_tasks = v_final, error = null, finished_at = null
    where w.id = p_workflow_id;
    insert into workflow.events (workflow_id, type, at, data)
    values (p_workflow_id, 'workflow.retried', v_now, jsonb_build_object('tasks', cardinality(v_open)));
    perform workflow.ensure_jobs(p_workflow_id);
    return cardinality(v_open);
end
$$;
comment on function workflow.retry is 'Run again what failed; returns how many tasks were reopened or woken';

-- Gives every pending task of a workflow a job if it has none, and wakes workers. The caller holds the workflow row.
create or replace function workflow.ensure_jobs(p_workflow_id uuid) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_ready workflow.ready_task[];
    v_queue text;
begin
    v_ready := array(
        select row(t.id, s.queue, s.type, t.priority, null)::workflow.ready_task
        from workflow.tasks t
        join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
        where t.workflow_id = p_workflow_id and t.status = 'pending'
          and (select count(*) from procrastinate_jobs j where j.id = t.job_id and j.status = 'todo') = 0
        order by t.id
        for no key update of t);
    if v_ready <> '{}' then
        update workflow.tasks t set job_id = r.job_id
        from unnest(v_ready, workflow.enqueue(v_ready)) as r(task_id, queue, type, priority, scheduled_at, job_id)
        where t.workflow_id = p_workflow_id and t.id = r.task_id;
    end if;
    for v_queue in
        select distinct s.queue from workflow.tasks t
        join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
        where t.workflow_id = p_workflow_id and t.status = 'pending'
    loop
        perform workflow.wake_queue(v_queue);
    end loop;
    return cardinality(v_ready);
end
$$;
comment on function workflow.ensure_jobs is 'Internal: a job for each pending task of a workflow that lost its own';

-- Wakes the workers of a queue, on procrastinate's own channel and in its own form. A hint: they poll anyway.
create or replace function workflow.wake_queue(p_queue text) returns void
language sql volatile
as $$
    select pg_notify('procrastinate_queue_v1#' || p_queue, '{"type": "job_inserted", "job_id": 0}')
$$;
comment on function workflow.wake_queue is 'Wake the workers of a queue';
