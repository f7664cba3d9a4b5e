-- What a retry has to do with how the workflow ended: steps that were undone are to be done again, and the tasks of its ending
-- are made anew when it ends again.

-- The tasks that a retry of some tasks of a workflow reopens: those of them that are steps, the steps that have been undone or
-- that terminated the workflow, and what is behind these. A step inside a scope is done again with the task of the workflow's own
-- steps that it belongs to. The caller holds the workflow row, and reopens them; tells of those that had ended well.
create or replace function workflow.to_redo(p_workflow_id uuid, p_tasks bigint[], p_now timestamptz) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_tasks bigint[];
    v_wave  bigint[];
begin
    v_tasks := array(
        select t.id
        from unnest(p_tasks) x
        cross join lateral (select t.id, t.version_id, t.step_index from workflow.tasks t where t.id = x offset 0) t
        cross join lateral (
            select s.kind from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where s.kind = 'step');
    v_wave := workflow.undone_tasks(p_workflow_id);
    loop
        v_wave := array(select x from unnest(v_wave) x where not x = any(v_tasks));
        exit when v_wave = '{}';
        v_tasks := v_tasks || v_wave;
        v_wave := array(
            select distinct n.id
            from unnest(v_wave) x
            cross join lateral (select t.id, t.version_id, t.step_index from workflow.tasks t where t.id = x offset 0) t
            cross join lateral (
                select s.successors from workflow.definition_steps s
                where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
            cross join lateral unnest(s.successors) y(successor)
            cross join lateral (
                select n.id from workflow.tasks n where n.id = t.id - t.step_index + y.successor offset 0) n);
    end loop;
    insert into workflow.events (workflow_id, type, task_id, at)
    select p_workflow_id, 'task.reopened', t.id, p_now from workflow.tasks t
    where t.id = any(v_tasks) and t.status in ('succeeded', 'skipped');
    return v_tasks;
end
$$;
comment on function workflow.to_redo is 'Internal: the tasks that a retry reopens, those that were undone too';

-- The tasks of a workflow's own steps that succeeded and whose success does not count any more: what they or a step inside them
-- did was undone since, or ended the workflow. One that is done again already is not among them.
create or replace function workflow.undone_tasks(p_workflow_id uuid) returns bigint[]
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
    return array(
        select distinct coalesce(o.parent_task_id, t.id)
        from workflow.tasks t
        cross join lateral (
            select s.scope, s.type, s.kind, s.compensation from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        left join lateral (
            select c.finished_at from workflow.tasks c
            where c.id = t.id - t.step_index + s.compensation and c.status = 'succeeded' offset 0) c on true
        left join lateral (
            select o.parent_task_id, o.replaced, p.finished_at
            from workflow.scopes i
            join workflow.scopes o on o.base = i.bases[2]
            join workflow.tasks p on p.id = o.parent_task_id
            where s.scope > 0 and i.base = t.id - t.step_index offset 0) o on true
        where t.workflow_id = p_workflow_id and t.status = 'succeeded' and s.kind = 'step'
          and (c.finished_at >= t.finished_at or s.type = 'terminate')
          and (s.scope = 0 or not o.replaced and o.finished_at is not null));
end
$$;
comment on function workflow.undone_tasks is 'Internal: tasks that succeeded and were undone since';

-- Ends a live workflow at once of which nothing is open, as after a retry that kept all of its steps: only its ending had failed.
-- The caller holds its row.
create or replace function workflow.end_if_done(p_workflow_id uuid, p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_workflow workflow.workflows;
begin
    select * into v_workflow from workflow.workflows w where w.id = p_workflow_id;
    if v_workflow.ending is not null or v_workflow.open_tasks > 0 then
        return;
    elsif v_workflow.finished_at is not null then
        null;
    elsif v_workflow.has_ending then
        perform workflow.begin_ending(array[p_workflow_id], null, p_now);
    else
        perform workflow.finish_workflows(
            array[p_workflow_id], case when v_workflow.error is null then 'succeeded' else 'failed' end, p_now);
    end if;
    perform workflow.free_resources(array[p_workflow_id], '{}', p_now);
end
$$;
comment on function workflow.end_if_done is 'Internal: end a workflow of which nothing is open';

-- Runs a compensation again that failed or was cancelled, without running the workflow: that has ended, and stays what it is.
-- The caller holds the rows of both.
create or replace function workflow.retry_compensation(p_task_id bigint, p_timeout double precision, p_now timestamptz)
    returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_task workflow.tasks;
begin
    select * into v_task from workflow.tasks t where t.id = p_task_id;
    insert into workflow.events (workflow_id, type, task_id, at, data)
    values (v_task.workflow_id, 'workflow.retried', p_task_id, p_now, jsonb_build_object('tasks', 1, 'timeout', p_timeout));
    update workflow.workflows w set
        status = 'running', ending = w.status, finished_at = null,
        idle = workflow.idle_with(w.idle, w.started_at, w.finished_at, p_now), retried_at = p_now
    where w.id = v_task.workflow_id;
    -- The only one it owes, and the last that it does.
    insert into workflow.endings (workflow_id, base, phase, position) values (v_task.workflow_id, 0, 2, 0);
    insert into workflow.compensations (workflow_id, position, task_id, step_index)
    values (v_task.workflow_id, 1, p_task_id, v_task.step_index);
    perform workflow.continue_ending(array[v_task.workflow_id], p_now);
    update workflow.endings e set phase = 4, position = 0 where e.workflow_id = v_task.workflow_id;
    update workflow.tasks t set timeout_override = p_timeout where t.id = p_task_id;
    return 1;
end
$$;
comment on function workflow.retry_compensation is 'Internal: run a compensation again that failed';
