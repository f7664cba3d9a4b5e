-- Runs again what failed: succeeded and skipped tasks are kept, failed and cancelled ones wait for their dependencies
-- again, and so do those behind them that were skipped by a rule or condition. A failed map redoes the items that failed, a
-- block goes on inside (see workflow.reopen_scopes). A step that was undone is done again, and so is what is behind it (see
-- redo.sql). The retry policy starts afresh; attempt numbers go on. A workflow that is pinned to another version goes on with
-- that one (see workflow.switch_version).
--
-- A pending workflow is not changed: tasks whose job was lost get a new one and workers are woken. What a pause, a lock or a
-- limit holds back stays held back. One that ended paused is no longer.
--
-- Returns how many tasks were reopened or woken.
-- Errors: WF404; WF409 when it runs, has succeeded, or was cancelled and p_force is false.
create or replace function workflow.retry(p_workflow_id uuid, p_force boolean default false) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_workflow  workflow.workflows;
    v_tasks     bigint[];
begin
    select * into v_workflow from workflow.workflows w where w.id = p_workflow_id for no key update;
    if not found then
        raise exception 'There is no workflow %.', p_workflow_id using errcode = 'WF404', detail = 'workflow-not-found';
    elsif v_workflow.status = 'running' then
        raise exception 'The workflow is running.' using
            errcode = 'WF409', detail = 'invalid-transition',
            hint = 'Wait until it ends, cancel it first, or retry one of its tasks.';
    elsif v_workflow.status = 'succeeded' then
        raise exception 'The workflow has already succeeded.' using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Start it anew to run it again.';
    elsif v_workflow.status = 'cancelled' and not p_force then
        raise exception 'The workflow was cancelled.' using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Add ?force=true to run it all the same.';
    elsif v_workflow.status = 'pending' then
        return workflow.ensure_jobs(p_workflow_id);
    end if;

    if v_workflow.pinned_version <> v_workflow.version then
        insert into workflow.events (workflow_id, type, at) values (p_workflow_id, 'workflow.retried', v_now);
        return workflow.switch_version(
            p_workflow_id, workflow.version_id(v_workflow.name, v_workflow.pinned_version));
    end if;

    v_tasks := workflow.retried_with(array(
        select t.id from workflow.tasks t
        cross join lateral (
            select s.scope, s.kind from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where t.workflow_id = p_workflow_id and s.scope = 0 and s.kind = 'step' and t.status in ('failed', 'cancelled')));
    v_tasks := workflow.to_redo(p_workflow_id, v_tasks, v_now);
    insert into workflow.events (workflow_id, type, at, data)
    values (p_workflow_id, 'workflow.retried', v_now, jsonb_build_object('tasks', cardinality(v_tasks)));
    perform workflow.reopen(p_workflow_id, v_tasks, v_now);
    perform workflow.end_if_done(p_workflow_id, v_now);
    return cardinality(v_tasks);
end
$$;
comment on function workflow.retry is 'Run again what failed; returns how many tasks were reopened or woken';

-- Gives every task of a workflow that is pending, scheduled or waits until some time a job if it has none, and wakes workers.
-- The caller holds the workflow row.
create or replace function workflow.ensure_jobs(p_workflow_id uuid) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_ready workflow.ready_task[];
begin
    v_ready := array(
        select row(t.id, s.queue, s.type, t.priority, t.scheduled_at)::workflow.ready_task
        from workflow.tasks t
        cross join lateral (
            select s.queue, s.type from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where t.workflow_id = p_workflow_id
          and (t.status in ('pending', 'scheduled') or t.status = 'waiting' and t.scheduled_at is not null) and not exists (
            select 1 from workflow.jobs j where j.id = t.job_id and j.status = 'todo' offset 0)
        order by t.id + 0  -- as it stands, it would invite a walk through the index of all tasks
        for no key update of t);
    if v_ready <> '{}' then
        -- Where a start overtook the migration that moved the jobs, they are in procrastinate's own table.
        delete from only procrastinate_jobs j where j.id = any(array(
            select t.job_id from workflow.tasks t where t.id = any(array(select x.task_id from unnest(v_ready) x))));
        update workflow.tasks t set job_id = r.job_id
        from unnest(v_ready, workflow.enqueue(v_ready)) as r(task_id, queue, type, priority, scheduled_at, job_id)
        where t.id = any(array(select x.task_id from unnest(v_ready) x)) and t.id = r.task_id;
    end if;
    perform workflow.wake_queues_of(p_workflow_id);
    return cardinality(v_ready);
end
$$;
comment on function workflow.ensure_jobs is 'Internal: a job for each pending or scheduled task of a workflow that lost its own';

-- Wakes the workers of all queues in which a workflow has pending tasks.
create or replace function workflow.wake_queues_of(p_workflow_id uuid) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_queue text;
begin
    for v_queue in
        select distinct s.queue from workflow.tasks t
        cross join lateral (
            select s.queue from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where t.workflow_id = p_workflow_id and t.status = 'pending'
    loop
        perform workflow.wake_queue(v_queue);
    end loop;
end
$$;
comment on function workflow.wake_queues_of is 'Internal: wake the workers that can run what is pending of a workflow';

-- Wakes the workers of a queue, and who looks at all queues, on procrastinate's own channels and in its own form; once per
-- transaction, as Postgres folds notifications that are the same. A hint: they poll anyway.
create or replace function workflow.wake_queue(p_queue text) returns void
language plpgsql volatile  -- not sql: its plan would be made anew in every turn
set search_path = public, pg_temp
as $$
begin
    perform pg_notify('procrastinate_queue_v1#' || p_queue, '{"type": "job_inserted", "job_id": 0}'),
            pg_notify('procrastinate_any_queue_v1', '{"type": "job_inserted", "job_id": 0}');
end
$$;
comment on function workflow.wake_queue is 'Wake the workers of a queue';
