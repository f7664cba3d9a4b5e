-- Makes tasks of a workflow's own steps that have ended run again, once what they wait for has ended: the one way in which a
-- retry starts work. The retry policy starts afresh; attempt numbers go on.
--
-- The caller holds the workflow row. What is behind these tasks and blocked counts again what it waits for. A failure that
-- stays is the workflow's error again, and so does what can still not run end at once as it did. A task that had opened
-- scopes goes on inside them (see workflow.reopen_scopes); p_path says which of those that failed, if not all.
--
-- p_task_id, p_timeout: one of the tasks and the seconds that its attempts may take from now on.
create or replace function workflow.reopen(
    p_workflow_id uuid, p_tasks bigint[], p_now timestamptz, p_task_id bigint default null,
    p_timeout double precision default null, p_path bigint[] default null) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    perform workflow.reopen_tasks(p_tasks, p_path, p_now);
    update workflow.tasks t set timeout_override = p_timeout where t.id = p_task_id;
    if p_tasks = '{}' then  -- only its ending had failed
        perform workflow.reopen_workflow(p_workflow_id, p_now);
    end if;
    perform workflow.ensure_jobs(p_workflow_id);
    perform workflow.take_places_again(p_workflow_id, p_now);
end
$$;
comment on function workflow.reopen is 'Internal: make tasks that have ended run again';

-- The same for tasks of any scopes of one workflow, all of them open again then. The caller holds the workflow row.
create or replace function workflow.reopen_tasks(p_tasks bigint[], p_path bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_workflow  uuid;
    v_waiting   bigint[];
    v_ended     workflow.ended_task[];
    v_parents   bigint[];
    v_ready     workflow.ready_task[];
    v_cancelled bigint[];
begin
    -- All of them are open first, so that counting what is open needs no list of them.
    update workflow.tasks t set
        status = 'blocked', tries = 0, crashes = 0, first_started_at = null, finished_at = null, error = null, output = null,
        output_from = null, scheduled_at = null, job_id = null, pending_since = null, timeout_override = null, awaits = null
    where t.id = any(p_tasks);
    -- Those of before are not theirs any more: they have others when they are pending again.
    delete from workflow.deadlines d where d.task_id = any(p_tasks);

    v_waiting := array(
        select unnest(p_tasks)
        union  -- once, though many are both
        select n.id
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
    select t.workflow_id into v_workflow
    from unnest(p_tasks) x
    cross join lateral (
        select t.workflow_id, t.version_id, t.step_index from workflow.tasks t where t.id = x offset 0) t
    cross join lateral (
        select s.scope from workflow.definition_steps s
        where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
    where s.scope = 0
    limit 1;
    if found then
        perform workflow.reopen_workflow(v_workflow, p_now);
    end if;
    update workflow.scopes c set
        status = 'running', finished_at = null, open_tasks = d.open, error = d.error
    from (select b.base, f.open, f.error
          from (select distinct t.id - t.step_index as base from workflow.tasks t where t.id = any(p_tasks)) b
          cross join lateral workflow.scope_counters(b.base) f) d
    where c.base = any(array(select t.id - t.step_index from workflow.tasks t where t.id = any(p_tasks)))
      and c.base = d.base;
    v_ended := workflow.recount(v_waiting, p_now);

    -- What can go on at once does so inside; whatever else had scopes starts over.
    v_parents := array(
        select t.id
        from unnest(p_tasks) x
        cross join lateral (
            select t.id, t.version_id from workflow.tasks t where t.id = x and t.status = 'pending' offset 0) t
        cross join lateral (
            select g.round, g.awaits from workflow.groups g where g.task_id = t.id and g.awaits is not null offset 0) g
        cross join lateral (
            select d.kind from workflow.definition_scopes d
            where d.version_id = t.version_id and d.scope = (g.awaits ->> 'scope')::integer offset 0) d
        where exists (
            -- A loop whose last iteration succeeded begins anew: it failed because it was the last.
            select 1 from workflow.scopes c
            where c.parent_task_id = t.id and c.round = g.round and not c.replaced
              and (c.status <> 'succeeded' or d.kind <> 'iteration') offset 0));
    v_parents := array(select x from unnest(v_parents) x where not workflow.was_undone(x));
    perform workflow.replace_scopes(array(select x from unnest(p_tasks) x where not x = any(v_parents)));
    if v_parents <> '{}' then
        perform workflow.reopen_scopes(v_parents, p_path, p_now);
    end if;

    v_ready := array(
        select row(t.id, s.queue, s.type, t.priority, null)::workflow.ready_task
        from unnest(v_waiting) x
        cross join lateral (
            select t.id, t.version_id, t.step_index, t.priority from workflow.tasks t
            where t.id = x and t.status = 'pending' and t.job_id is null offset 0) t
        cross join lateral (
            select s.queue, s.type from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        order by t.id);
    if v_ready <> '{}' then
        update workflow.tasks t set job_id = r.job_id
        from unnest(v_ready, workflow.enqueue(v_ready)) as r(task_id, queue, type, priority, scheduled_at, job_id)
        where t.id = any(v_waiting) and t.id = r.task_id;
    end if;
    perform workflow.set_deadlines(v_waiting, p_now, true);
    if v_ended <> '{}' then
        v_cancelled := workflow.advance(v_ended, p_now);
        perform workflow.free_resources(array(select distinct e.workflow_id from unnest(v_ended) e), v_cancelled, p_now);
    end if;
end
$$;
comment on function workflow.reopen_tasks is 'Internal: make tasks of any scopes run again';

-- Has a workflow go on whose tasks run again.
create or replace function workflow.reopen_workflow(p_workflow_id uuid, p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    update workflow.workflows w set
        status = case when w.started_at is null then 'pending' else 'running' end,
        open_tasks = workflow.count_open_tasks(p_workflow_id), error = workflow.first_failure(p_workflow_id),
        finished_at = null, paused_at = case when w.finished_at is null then w.paused_at end, output = null,
        idle = workflow.idle_with(w.idle, w.started_at, w.finished_at, p_now),
        retried_at = case when w.finished_at is null then w.retried_at else p_now end,
        deadline = (
            select p_now + make_interval(secs => (v.plan ->> 'timeout')::double precision)
            from workflow.definition_versions v where v.id = w.version_id)
    where w.id = p_workflow_id;
end
$$;
comment on function workflow.reopen_workflow is 'Internal: have a workflow go on whose tasks run again';

-- How long a workflow lay ended in all, when it goes on at p_now. What never began does not lie idle: it waits.
create or replace function workflow.idle_with(
    p_idle interval, p_started_at timestamptz, p_finished_at timestamptz, p_now timestamptz) returns interval
language sql immutable parallel safe
as $$
    select case when p_started_at is null or p_finished_at is null then p_idle
                else coalesce(p_idle, '0') + greatest(p_now - p_finished_at, '0') end
$$;
comment on function workflow.idle_with is 'Internal: how long a workflow lay ended, with the time until now';

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
