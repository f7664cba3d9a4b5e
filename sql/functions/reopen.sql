-- Makes tasks that have ended run again, once what they wait for has ended: the one way in which a retry starts work.
-- The retry policy starts afresh; attempt numbers go on.
--
-- The caller holds the workflow row. What is behind these tasks and blocked counts again what it waits for. A failure that
-- stays is the workflow's error again, and so does what can still not run end at once as it did.
--
-- p_task_id, p_timeout: one of the tasks and the seconds that its attempts may take from now on.
create or replace function workflow.reopen(
    p_workflow_id uuid, p_tasks bigint[], p_now timestamptz, p_task_id bigint default null,
    p_timeout double precision default null) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_waiting   bigint[];
    v_ended     workflow.ended_task[];
begin
    -- All of them are open first, so that counting what is open needs no list of them.
    update workflow.tasks t set
        status = 'blocked', tries = 0, crashes = 0, first_started_at = null, finished_at = null, error = null, output = null,
        scheduled_at = null, job_id = null, pending_since = null,
        timeout_override = case when t.id = p_task_id then p_timeout end
    where t.id = any(p_tasks);

    v_waiting := p_tasks || array(
        select distinct n.id
        from unnest(p_tasks) x(id)
        cross join lateral (
            select t.id, t.version_id, t.step_index from workflow.tasks t where t.id = x.id offset 0) t
        cross join lateral (
            select s.successors from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        cross join lateral unnest(s.successors) y(successor)
        cross join lateral (
            select n.id from workflow.tasks n
            where n.id = t.id - t.step_index + y.successor and n.status = 'blocked' offset 0) n);
    update workflow.workflows w set
        status = case when w.started_at is null then 'pending' else 'running' end,
        open_tasks = workflow.count_open_tasks(p_workflow_id), error = workflow.first_failure(p_workflow_id),
        finished_at = null, paused_at = case when w.finished_at is null then w.paused_at end, output = null,
        deadline = (
            select p_now + make_interval(secs => (v.plan ->> 'timeout')::double precision)
            from workflow.definition_versions v where v.id = w.version_id)
    where w.id = p_workflow_id;
    v_ended := workflow.recount(v_waiting, p_now);
    if v_ended <> '{}' then
        perform workflow.advance(v_ended, p_now);
    end if;
    perform workflow.ensure_jobs(p_workflow_id);
    perform workflow.set_deadlines(v_waiting, p_now, true);
    perform workflow.take_places_again(p_workflow_id, p_now);
end
$$;
comment on function workflow.reopen is 'Internal: make tasks that have ended run again';

-- The open tasks of a workflow's own steps that no open one must wait for: when they have ended, so has the workflow.
create or replace function workflow.count_open_tasks(p_workflow_id uuid) returns integer
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return (
        select count(*) from workflow.tasks t
        cross join lateral (
            select s.scope, coalesce(s.followers, s.successors) as followers from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where t.workflow_id = p_workflow_id and s.scope = 0 and t.finished_at is null and not exists (
            select 1 from unnest(s.followers) x
            cross join lateral (
                select n.finished_at from workflow.tasks n where n.id = t.id - t.step_index + x offset 0) n
            where n.finished_at is null));
end
$$;
comment on function workflow.count_open_tasks is 'Internal: open tasks that nothing open waits for';

-- The error of a workflow: that of the first task of its own steps that failed it, with its step; null when none did.
create or replace function workflow.first_failure(p_workflow_id uuid) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return (
        select coalesce(t.error, '{}') || jsonb_build_object('step', s.id, 'task_id', t.id::text)
        from workflow.tasks t
        cross join lateral (
            select s.id, s.tolerated, s.scope, s.kind from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where t.workflow_id = p_workflow_id and t.status = 'failed'
          and not s.tolerated and s.scope = 0 and s.kind = 'step'
        order by t.error ->> 'type' = 'upstream_failed', t.finished_at, t.id
        limit 1);
end
$$;
comment on function workflow.first_failure is 'Internal: the error of the first task that failed a workflow';
