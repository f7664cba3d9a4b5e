-- Runs one task again, whose attempts may from now on take p_timeout seconds: until the task ends, that beats what its step,
-- its type and the engine say. Null changes nothing about the time.
--
-- A task that failed or was cancelled is reopened, and with it the tasks that were cancelled with the workflow and those
-- behind one of them that could not run (see workflow.retried_with). Other tasks that failed stay failed, and so does in the end what
-- depends on them. The workflow runs again if it had ended. What succeeded is kept. An item of a map, or whatever else is in a
-- scope, is retried alone: the tasks that it is part of wait again (see workflow.retry_inside).
--
-- A pending task gets a new job if its own was lost, and workers are woken; one that waits for the end of a backoff runs
-- now. What a pause, a lock or a limit holds back stays held back.
--
-- Returns how many tasks were reopened or woken; called again it finds the task pending or running, and reopens nothing.
-- Errors: WF404; WF409 when it runs, waits, has succeeded or was skipped, or is one whose workflow was cancelled and
-- p_force is false; WF422 for a time that is none.
create or replace function workflow.retry_task(
    p_task_id bigint, p_timeout double precision default null, p_force boolean default false) returns integer
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
    v_task      workflow.tasks;
    v_tasks     bigint[];
    v_fault     text;
    v_hint      text;
    v_kind      text;
    v_count     integer;
begin
    if not (p_timeout > 0 and p_timeout < 'infinity') then
        raise exception 'A timeout is a number of seconds above zero.' using
            errcode = 'WF422', detail = 'invalid-parameter';
    end if;
    v_task := workflow.locked_task(p_task_id);
    select * into v_workflow from workflow.workflows w where w.id = v_task.workflow_id;

    select s.kind into v_kind from workflow.definition_steps s
    where s.version_id = v_task.version_id and s.step_index = v_task.step_index;

    select f.fault, f.hint into v_fault, v_hint
    from (values
        (v_task.status = 'running',
         'The task is running.', 'Wait until it ends, or cancel its workflow first.'),
        (v_task.status = 'blocked',
         'The task waits for the steps before it.', 'It runs by itself when they have ended.'),
        (v_task.status = 'waiting',
         'The task waits already.', format('GET /api/v1/workflows/%s/why says for what.', v_task.workflow_id)),
        (v_workflow.ending is not null and v_task.finished_at is not null,
         'The workflow is ending.', 'Wait until it has ended, then retry it.'),
        (v_kind not in ('step', 'compensation') and v_task.finished_at is not null,
         'The task belongs to the end of its workflow.', 'Retry the workflow: it ends again.'),
        (v_kind = 'compensation' and v_task.finished_at is not null and v_workflow.finished_at is null,
         'The workflow runs again.', 'Wait until it has ended; if it does not succeed, it is undone then.'),
        (v_task.status = 'skipped',
         'The task was skipped.', 'Its condition was not met; start the workflow anew to run it again.'),
        (v_task.status = 'succeeded',
         'The task has already succeeded.', 'Its output is kept; start the workflow anew to run it again.'),
        (v_workflow.status = 'succeeded',
         'The workflow has already succeeded.', 'Start it anew to run it again.'),
        (v_workflow.status = 'cancelled' and not p_force,
         'The workflow was cancelled.', 'Add ?force=true to run it all the same.'),
        (v_workflow.finished_at is not null and v_workflow.pinned_version <> v_workflow.version,
         format('The workflow is pinned to version %s, with which it is to go on.', v_workflow.pinned_version),
         'Retry the workflow, or remove the pin first.'),
        (workflow.is_upstream_failed(v_task.status, v_task.error),
         'The task did not run, because a step before it failed.',
         (select format('Retry what failed first: task %s, step %s.', e ->> 'task_id', e ->> 'step')
          from workflow.first_failure(v_workflow.id) e))
        ) as f(holds, fault, hint)
    where f.holds
    limit 1;
    if found then
        raise exception '%', v_fault using errcode = 'WF409', detail = 'invalid-transition', hint = v_hint;
    end if;

    if v_task.finished_at is null then  -- pending, or scheduled
        update workflow.tasks t set
            timeout_override = coalesce(p_timeout, t.timeout_override),
            status = 'pending', scheduled_at = null,
            pending_since = case when t.status = 'scheduled' then v_now else t.pending_since end
        where t.id = p_task_id;
        if v_task.status = 'scheduled' then
            update workflow.jobs j set scheduled_at = null, woken_at = workflow.clock() where j.id = v_task.job_id and j.status = 'todo';
        end if;
        if v_task.status = 'scheduled' or p_timeout <> coalesce(v_task.timeout_override, 0) then
            insert into workflow.events (workflow_id, type, task_id, at, data)
            values (v_task.workflow_id, 'task.woken', p_task_id, v_now, jsonb_build_object('timeout', p_timeout));
        end if;
        return greatest(workflow.ensure_jobs(v_task.workflow_id), (v_task.status = 'scheduled')::integer);
    end if;

    if v_kind = 'compensation' then
        return workflow.retry_compensation(p_task_id, p_timeout, v_now);
    end if;
    if exists (
        select 1 from workflow.definition_steps s
        where s.version_id = v_task.version_id and s.step_index = v_task.step_index and s.scope > 0)
    then
        v_count := workflow.retry_inside(p_task_id, v_now);
        update workflow.tasks t set timeout_override = p_timeout where t.id = p_task_id;
        insert into workflow.events (workflow_id, type, task_id, at, data)
        values (v_task.workflow_id, 'workflow.retried', p_task_id, v_now,
                jsonb_build_object('tasks', v_count, 'timeout', p_timeout));
        return v_count;
    end if;
    v_tasks := workflow.retried_with(p_task_id || array(
        select t.id from workflow.tasks t
        cross join lateral (
            select s.scope, s.kind from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where t.workflow_id = v_task.workflow_id and s.scope = 0 and s.kind = 'step' and t.status = 'cancelled'
          and t.id <> p_task_id));
    v_tasks := workflow.to_redo(v_task.workflow_id, v_tasks, v_now);
    insert into workflow.events (workflow_id, type, task_id, at, data)
    values (v_task.workflow_id, 'workflow.retried', p_task_id, v_now,
            jsonb_build_object('tasks', cardinality(v_tasks), 'timeout', p_timeout));
    perform workflow.reopen(v_task.workflow_id, v_tasks, v_now, p_task_id, p_timeout);
    return cardinality(v_tasks);
end
$$;
comment on function workflow.retry_task is 'Run one task again, with another timeout; returns how many tasks were reopened or woken';

-- Tasks that are to be reopened, and those that are reopened with them: what was decided about without an attempt -failed
-- because of what was before it, or skipped by its rule or condition- behind one of them. The caller holds the workflow row.
--
-- Errors: WF409 when a step behind one of them goes on already, as it may where a failure is tolerated or asked for, or a
-- dependency only orders: what has not waited cannot wait again. Steps whose rule lets them go on do not count.
create or replace function workflow.retried_with(p_tasks bigint[]) returns bigint[]
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan  -- as in workflow.advance
as $$
declare
    v_tasks bigint[] := p_tasks;
    v_wave  bigint[] := p_tasks;
    v_ahead text;
begin
    loop
        with behind as materialized (
            select n.id, n.status, n.error, n.finished_at, n.tries, bool_or(y.successor = any(s.followers)) as follows
            from unnest(v_wave) x(id)
            cross join lateral (
                select t.id, t.version_id, t.step_index from workflow.tasks t where t.id = x.id offset 0) t
            cross join lateral (
                select s.successors, coalesce(s.followers, s.successors) as followers from workflow.definition_steps s
                where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
            cross join lateral unnest(s.successors) y(successor)
            cross join lateral (
                select n.id, n.status, n.error, n.finished_at, n.tries from workflow.tasks n
                where n.id = t.id - t.step_index + y.successor offset 0) n
            group by 1, 2, 3, 4, 5
        )
        select array_agg(b.id) filter (
                   where (workflow.is_upstream_failed(b.status, b.error) or b.status = 'skipped' and b.tries = 0)
                     and not b.id = any(v_tasks)),
               min(b.id) filter (where b.finished_at is null and b.status <> 'blocked' and b.follows)::text
        into v_wave, v_ahead
        from behind b;
        if v_ahead is not null then
            raise exception 'The task % behind it goes on already.', v_ahead using
                errcode = 'WF409', detail = 'invalid-transition', hint = 'Retry when that one has ended.';
        end if;
        exit when v_wave is null;
        v_tasks := v_tasks || v_wave;
    end loop;
    return v_tasks;
end
$$;
comment on function workflow.retried_with is 'Internal: the tasks that are reopened together with some';

-- Whether a task failed without running, because one before it failed.
create or replace function workflow.is_upstream_failed(p_status text, p_error jsonb) returns boolean
language sql immutable parallel safe
as $$
    select p_status = 'failed' and p_error ->> 'type' is not distinct from 'upstream_failed'
$$;
comment on function workflow.is_upstream_failed is 'Internal: whether a task failed without running';
