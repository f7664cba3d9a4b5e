-- Lets a task succeed with an output that an operator gives, so that the workflow goes on without it.
--
-- The task waits for something (steps before it, a worker, a lock, a backoff, a time, a signal, ...), and is given up waiting;
-- or it failed, and then what could not run because of it, or was cancelled with the workflow, runs again as after
-- workflow.retry_task. A workflow that had failed runs again.
--
-- Returns how many other tasks were reopened; repeating it changes nothing.
-- Errors: WF404; WF409 when it runs, has succeeded otherwise, was skipped or cancelled, or its workflow has ended and did not
-- fail.
create or replace function workflow.skip_task(
    p_task_id bigint, p_output jsonb default null, p_reason text default null) returns integer
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
    v_scope     text;           -- status of the scope it stands in; null in the workflow's own
    v_kind      text;
    v_fault     text;
    v_hint      text;
    v_behind    bigint[] := '{}';
    v_cancelled bigint[];
begin
    v_task := workflow.locked_task(p_task_id);
    select * into v_workflow from workflow.workflows w where w.id = v_task.workflow_id;
    if v_task.status = 'succeeded' and v_task.output_from = 'operator' and v_task.output = coalesce(p_output, 'null') then
        return 0;
    end if;
    select s.kind, c.status into v_kind, v_scope
    from workflow.definition_steps s
    left join workflow.scopes c on s.scope > 0 and c.base = v_task.id - v_task.step_index
    where s.version_id = v_task.version_id and s.step_index = v_task.step_index;

    select f.fault, f.hint into v_fault, v_hint
    from (values
        (v_task.status = 'running',
         'The task is running.', 'Wait until it ends, or cancel its workflow.'),
        (v_task.status = 'succeeded',
         'The task has already succeeded.', 'Its output is kept; rerun the workflow from a step behind it to change what follows.'),
        (v_task.status = 'skipped',
         'The task was skipped.', 'Rerun the workflow from the step to run it.'),
        (v_workflow.status = 'succeeded',
         'The workflow has already succeeded.', 'Rerun it from a step.'),
        (v_workflow.status = 'cancelled',
         'The workflow was cancelled.', 'Retry it with ?force=true first, or rerun it.'),
        (v_task.status = 'cancelled',
         'The task was cancelled.', (select format('Skip or retry what failed: task %s, step %s.', e ->> 'task_id', e ->> 'step')
          from workflow.first_failure(v_workflow.id) e)),
        (v_kind <> 'step' or v_workflow.ending is not null and v_workflow.finished_at is null,
         'The workflow is ending.', 'Let it end, or cancel it.'),
        (v_scope <> 'running' or v_scope is not null and v_task.status = 'failed',
         'What the task stands in has failed or ended.', 'Skip or retry the step around it.'),
        (v_workflow.finished_at is not null and v_workflow.pinned_version <> v_workflow.version,
         format('The workflow is pinned to version %s, with which it is to go on.', v_workflow.pinned_version),
         'Remove the pin first.')
        ) as f(holds, fault, hint)
    where f.holds
    limit 1;
    if found then
        raise exception '%', v_fault using errcode = 'WF409', detail = 'invalid-transition', hint = v_hint;
    end if;

    insert into workflow.events (workflow_id, type, task_id, at, data)
    values (v_workflow.id, 'task.overridden', p_task_id, v_now,
            jsonb_strip_nulls(jsonb_build_object('was', v_task.status, 'reason', p_reason)));
    if v_task.status = 'failed' then
        v_behind := workflow.retried_with(p_task_id || array(
            select t.id from workflow.tasks t
            cross join lateral (
                select s.scope, s.kind from workflow.definition_steps s
                where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
            where t.workflow_id = v_workflow.id and s.scope = 0 and s.kind = 'step' and t.status = 'cancelled'));
        v_behind := array_remove(workflow.to_redo(v_workflow.id, array_remove(v_behind, p_task_id), v_now), p_task_id);
        -- What is behind it waits for it once more, as for any task that is about to end.
        update workflow.tasks t set status = 'waiting', finished_at = null, error = null where t.id = p_task_id;
        perform workflow.recount(array(
            select n.id
            from workflow.definition_steps s
            cross join lateral unnest(s.successors) y(successor)
            cross join lateral (
                select n.id from workflow.tasks n
                where n.id = p_task_id - v_task.step_index + y.successor and n.status = 'blocked' offset 0) n
            where s.version_id = v_task.version_id and s.step_index = v_task.step_index), v_now);
        perform workflow.reopen(v_workflow.id, v_behind, v_now);
    end if;

    v_cancelled := workflow.stop_awaiting(array[p_task_id], v_now);
    -- Whoever has locked its place in a line leaves it to the next sweep, and so is who is behind it woken.
    delete from workflow.waits x where x.ctid = any(array(
        select x.ctid from workflow.waits x where x.task_id = p_task_id for update skip locked));
    v_cancelled := v_cancelled || workflow.end_overridden(p_task_id, coalesce(p_output, 'null'), v_now);
    perform workflow.free_resources(array[v_workflow.id], p_task_id || v_cancelled, v_now);
    return cardinality(v_behind);
end
$$;
comment on function workflow.skip_task is 'Let a task succeed with a given output; returns how many others were reopened';

-- Ends an open task that does not run as succeeded, with what follows. Unlike a task that ran, it may have open dependencies: they are
-- then what the end of the workflow, or of the scope, waits for.
--
-- Returns the tasks that were cancelled with it.
create or replace function workflow.end_overridden(p_task_id bigint, p_output jsonb, p_now timestamptz) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_task  workflow.tasks;
    v_job   bigint;
    v_scope integer;
    v_open  integer;
begin
    select t.job_id into v_job from workflow.tasks t where t.id = p_task_id;
    update workflow.tasks t set
        status = 'succeeded', output = p_output, output_from = 'operator', error = null, job_id = null,
        scheduled_at = null, timeout_override = null, finished_at = greatest(p_now, t.started_at)
    where t.id = p_task_id
    returning * into v_task;
    delete from workflow.jobs j where j.id = v_job;

    select s.scope into v_scope from workflow.definition_steps s
    where s.version_id = v_task.version_id and s.step_index = v_task.step_index;
    -- As if it were open and nothing open behind it: workflow.advance counts it down.
    select count(*) into v_open
    from (select s.step_index, coalesce(s.followers, s.successors) as followers from workflow.definition_steps s
          where s.version_id = v_task.version_id and s.scope = v_scope) s
    cross join lateral (
        select t.id, t.finished_at from workflow.tasks t
        where t.id = p_task_id - v_task.step_index + s.step_index offset 0) t
    where (t.finished_at is null or t.id = p_task_id) and not exists (
        select 1 from unnest(s.followers) x
        cross join lateral (
            select n.finished_at from workflow.tasks n
            where n.id = p_task_id - v_task.step_index + x offset 0) n
        where n.finished_at is null);
    if v_scope = 0 then
        update workflow.workflows w set open_tasks = v_open where w.id = v_task.workflow_id;
    else
        update workflow.scopes c set open_tasks = v_open where c.base = p_task_id - v_task.step_index;
    end if;
    return workflow.advance(array[row(
        v_task.id, v_task.workflow_id, v_task.version_id, v_task.step_index, 'succeeded', null)::workflow.ended_task], p_now);
end
$$;
comment on function workflow.end_overridden is 'Internal: end an open task as succeeded, with what follows';
