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
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_workflow  workflow.workflows;
    v_open      workflow.successor[];
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
        select row(t.id, t.workflow_id, t.version_id, t.step_index, d.open, d.succeeded, 0,
                   case when d.open = 0 then 'pending' else 'blocked' end, null, null, null)::workflow.successor
        from workflow.tasks t
        cross join lateral (
            select s.dependencies, s.ordering from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        cross join lateral (
            select coalesce(count(*) filter (where p.again), 0)::integer as open,
                   coalesce(count(*) filter (where not p.again and p.succeeded and not x = any(s.ordering)), 0)::integer
                       as succeeded
            from unnest(s.dependencies) x
            cross join lateral (
                select p.status in ('failed', 'cancelled') as again, p.status = 'succeeded' as succeeded
                from workflow.tasks p where p.id = t.id - t.step_index + x offset 0) p) d
        where t.workflow_id = p_workflow_id and t.status in ('failed', 'cancelled'));
    -- Those that nothing reopened waits for: when they have ended, so has the workflow.
    v_final := (
        select count(*) from unnest(v_open) o
        cross join lateral (
            select s.successors from workflow.definition_steps s
            where s.version_id = o.version_id and s.step_index = o.step_index offset 0) s
        where not exists (
            select 1 from unnest(s.successors) x
            cross join lateral (
                select n.status from workflow.tasks n where n.id = o.task_id - o.step_index + x offset 0) n
            where n.status in ('failed', 'cancelled')));

    update workflow.tasks t set
        status = o.status, open_dependencies = o.open, succeeded_dependencies = o.succeeded, failed_dependencies = 0,
        tries = 0, crashes = 0, first_started_at = null, finished_at = null, error = null, output = null,
        scheduled_at = null, job_id = null, pending_since = case when o.status = 'pending' then v_now end
    from unnest(v_open) o
    where t.id = any(array(select x.task_id from unnest(v_open) x)) and t.id = o.task_id;

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

-- Gives every pending or scheduled task of a workflow a job if it has none, and wakes workers. The caller holds the
-- workflow row.
create or replace function workflow.ensure_jobs(p_workflow_id uuid) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_ready workflow.ready_task[];
    v_queue text;
begin
    v_ready := array(
        select row(t.id, s.queue, s.type, t.priority, t.scheduled_at)::workflow.ready_task
        from workflow.tasks t
        cross join lateral (
            select s.queue, s.type from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where t.workflow_id = p_workflow_id and t.status in ('pending', 'scheduled') and not exists (
            select 1 from procrastinate_jobs j where j.id = t.job_id and j.status = 'todo' offset 0)
        order by t.id + 0  -- as it stands, it would invite a walk through the index of all tasks
        for no key update of t);
    if v_ready <> '{}' then
        update workflow.tasks t set job_id = r.job_id
        from unnest(v_ready, workflow.enqueue(v_ready)) as r(task_id, queue, type, priority, scheduled_at, job_id)
        where t.id = any(array(select x.task_id from unnest(v_ready) x)) and t.id = r.task_id;
    end if;
    for v_queue in
        select distinct s.queue from workflow.tasks t
        cross join lateral (
            select s.queue from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where t.workflow_id = p_workflow_id and t.status = 'pending'
    loop
        perform workflow.wake_queue(v_queue);
    end loop;
    return cardinality(v_ready);
end
$$;
comment on function workflow.ensure_jobs is 'Internal: a job for each pending or scheduled task of a workflow that lost its own';

-- Wakes the workers of a queue, on procrastinate's own channel and in its own form. A hint: they poll anyway.
create or replace function workflow.wake_queue(p_queue text) returns void
language sql volatile
as $$
    select pg_notify('procrastinate_queue_v1#' || p_queue, '{"type": "job_inserted", "job_id": 0}')
$$;
comment on function workflow.wake_queue is 'Wake the workers of a queue';
