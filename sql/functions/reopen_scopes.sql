-- Retries inside tasks that had opened scopes: a map redoes the items that failed and keeps the others, a block goes on where
-- it failed, a loop in the iteration that failed.

-- Has tasks wait again for scopes of theirs that failed, were cancelled or never started: all of them, or with p_path of those
-- that failed only the ones in which these tasks are, which start at once. The others start in their order, as many at a time as
-- the task says. A task of which no scope runs again stays pending and looks at them anew. The caller holds the workflow row.
create or replace function workflow.reopen_scopes(p_parents bigint[], p_path bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_on_path   bigint[];
    v_again     bigint[];
    v_first     bigint[];
    v_started   bigint[];
    v_waiting   workflow.waiting_task[];
begin
    v_on_path := array(
        select t.id - t.step_index from workflow.tasks t where t.id = any(p_path));
    -- Where the workflow was ended in the commit in which the last task of a scope succeeded, there is nothing to do again.
    update workflow.scopes c set status = 'succeeded', open_tasks = 0
    where c.base = any(array(
        select c.base
        from unnest(p_parents) p
        cross join lateral (select g.round from workflow.groups g where g.task_id = p offset 0) g
        cross join lateral (
            select c.base from workflow.scopes c
            where c.parent_task_id = p and c.round = g.round and not c.replaced
              and c.status = 'cancelled' and c.started_at is not null offset 0) c
        where not exists (
            select 1 from workflow.scope_tasks(c.base) t where t.status in ('cancelled', 'failed'))));
    v_again := array(
        select c.base
        from unnest(p_parents) p
        cross join lateral (select g.round from workflow.groups g where g.task_id = p offset 0) g
        cross join lateral (
            select c.base, c.status from workflow.scopes c
            where c.parent_task_id = p and c.round = g.round and not c.replaced offset 0) c
        where c.status = 'cancelled' or c.status = 'failed' and (p_path is null or c.base = any(v_on_path)));
    update workflow.scopes c set status = 'blocked', finished_at = null, error = null where c.base = any(v_again);
    update workflow.groups g set open = d.open, started = g.total - d.blocked, failed = d.failed, error = d.error
    from (select p as task_id, count(*) filter (where c.status = 'running')::integer as open,
                 count(*) filter (where c.status = 'blocked')::integer as blocked,
                 count(*) filter (where c.status = 'failed')::integer as failed,
                 (array_agg(c.error order by c.position) filter (where c.status = 'failed'))[1] as error
          from unnest(p_parents) p
          cross join lateral (select g.round from workflow.groups g where g.task_id = p offset 0) g
          cross join lateral (
              select c.status, c.position, c.error from workflow.scopes c
              where c.parent_task_id = p and c.round = g.round offset 0) c
          group by 1) d
    where g.task_id = any(p_parents) and g.task_id = d.task_id;

    select coalesce(array_agg(f.base order by f.task_id, f.position), '{}'),
           coalesce(array_agg(f.base order by f.task_id, f.position) filter (where f.again), '{}')
    into v_first, v_started
    from (select g.task_id, g.width - g.open as room, c.base, c.position, c.again, c.base = any(v_on_path) as on_path,
                 row_number() over (partition by g.task_id order by c.base = any(v_on_path) desc, c.position) as ord
          from unnest(p_parents) p
          cross join lateral (
              select g.task_id, g.round, g.width, g.open from workflow.groups g where g.task_id = p offset 0) g
          cross join lateral (
              select c.base, c.position, c.started_at is not null as again from workflow.scopes c
              where c.parent_task_id = g.task_id and c.round = g.round and c.status = 'blocked' offset 0) c) f
    where f.ord <= f.room or f.on_path;
    update workflow.groups g set open = g.open + d.first, started = g.started + d.first
    from (select c.parent_task_id, count(*)::integer as first
          from unnest(v_first) b
          cross join lateral (select c.parent_task_id from workflow.scopes c where c.base = b offset 0) c
          group by 1) d
    where g.task_id = any(p_parents) and g.task_id = d.parent_task_id;

    with again as (
        update workflow.tasks t set
            status = case when g.open > 0 then 'waiting' else t.status end,
            pending_since = case when g.open = 0 then t.pending_since end,
            awaits = g.awaits
        from workflow.groups g
        where t.id = any(p_parents) and g.task_id = any(p_parents) and g.task_id = t.id and t.status <> 'waiting'
        returning t.*
    )
    select array_agg(row(t.id, t.workflow_id, t.version_id, t.step_index, t.attempt, s.queue, s.type, t.priority, t.awaits)
                     ::workflow.waiting_task)
    into v_waiting
    from again t
    cross join lateral (
        select s.queue, s.type from workflow.definition_steps s
        where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
    where t.status = 'waiting';
    if v_waiting is not null then
        perform workflow.park_waiting(v_waiting, p_now);
    end if;
    perform workflow.start_scopes(array(select b from unnest(v_first) b where not b = any(v_started)), p_now);
    if v_started <> '{}' then
        perform workflow.restart_scopes(v_started, p_path, p_now);
    end if;
end
$$;
comment on function workflow.reopen_scopes is 'Internal: have tasks wait again for scopes of theirs';

-- Goes on inside scopes that failed or were cancelled: their tasks that did not succeed run again, where p_path leads through a
-- scope of those that failed only the ones on it.
create or replace function workflow.restart_scopes(p_bases bigint[], p_path bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_on_path bigint[] := array(select t.id - t.step_index from workflow.tasks t where t.id = any(p_path));
begin
    perform workflow.reopen_tasks(workflow.retried_with(array(
        select t.id
        from unnest(p_bases) b
        cross join lateral workflow.scope_tasks(b) t
        where t.status = 'cancelled' or t.status = 'failed' and (not b = any(v_on_path) or t.id = any(p_path)))),
        p_path, p_now);
end
$$;
comment on function workflow.restart_scopes is 'Internal: go on inside scopes that did not succeed';

-- The tasks of the steps of a scope.
create or replace function workflow.scope_tasks(p_base bigint) returns setof workflow.tasks
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return query
        select t.*
        from workflow.scopes c
        cross join lateral (
            select s.step_index from workflow.definition_steps s
            where s.version_id = c.version_id and s.scope = c.scope and s.kind = 'step' offset 0) s
        cross join lateral (select t.* from workflow.tasks t where t.id = c.base + s.step_index offset 0) t
        where c.base = p_base;
end
$$;
comment on function workflow.scope_tasks is 'Internal: the tasks of the steps of a scope';

-- What a scope counts (see workflow.count_open_tasks), and its error: that of the first of its tasks that failed it.
create or replace function workflow.scope_counters(p_base bigint, out open integer, out error jsonb)
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    select count(*) filter (where t.finished_at is null and not exists (
               select 1 from unnest(coalesce(s.followers, s.successors)) x
               cross join lateral (select n.finished_at from workflow.tasks n where n.id = p_base + x offset 0) n
               where n.finished_at is null)),
           (array_agg(coalesce(t.error, '{}') || jsonb_build_object('step', s.id, 'task_id', t.id::text)
                      order by t.error ->> 'type' = 'upstream_failed', t.finished_at, t.id)
               filter (where t.status = 'failed' and not s.tolerated))[1]
    into open, error
    from workflow.scope_tasks(p_base) t
    cross join lateral (
        select s.id, s.tolerated, s.successors, s.followers from workflow.definition_steps s
        where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s;
end
$$;
comment on function workflow.scope_counters is 'Internal: what a scope counts';

-- Runs one task inside scopes again: the tasks that it is part of and that have ended wait again, and nothing runs again but
-- this and what was cancelled. The caller holds the rows of its workflow and of the task.
--
-- Returns how many tasks are open then that were not.
-- Errors: WF409 when a task that it is part of has succeeded, is about to go on without it, or has been tried again.
create or replace function workflow.retry_inside(p_task_id bigint, p_now timestamptz) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_path      bigint[] := array[p_task_id];
    v_task      workflow.tasks;
    v_scope     workflow.scopes;
    v_parent    workflow.tasks;
    v_workflow  uuid;
    v_before    integer;
begin
    select * into v_task from workflow.tasks t where t.id = p_task_id;
    v_workflow := v_task.workflow_id;
    select count(*) into v_before from workflow.tasks t where t.workflow_id = v_workflow and t.finished_at is null;
    loop
        select * into v_scope from workflow.scopes c where c.base = v_task.id - v_task.step_index;
        if not found then  -- at the workflow's own steps
            perform workflow.reopen(
                v_workflow, workflow.to_redo(v_workflow, workflow.retried_with(v_task.id || array(
                    select t.id from workflow.tasks t
                    cross join lateral (
                        select s.scope, s.kind from workflow.definition_steps s
                        where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
                    where t.workflow_id = v_workflow and t.status = 'cancelled' and t.id <> v_task.id
                      and s.scope = 0 and s.kind = 'step')), p_now),
                p_now, null, null, v_path);
            exit;
        end if;
        select * into v_parent from workflow.tasks t where t.id = v_scope.parent_task_id for no key update;
        if v_scope.replaced or not exists (
            select 1 from workflow.groups g where g.task_id = v_parent.id and g.round = v_scope.round and g.awaits is not null)
        then
            raise exception 'The step that task % is part of has been tried again since.', p_task_id using
                errcode = 'WF409', detail = 'invalid-transition', hint = format('Retry task %s instead.', v_parent.id);
        elsif v_parent.status not in ('waiting', 'failed', 'cancelled') then
            raise exception 'The step that task % is part of goes on without it: it is %.', p_task_id, v_parent.status using
                errcode = 'WF409', detail = 'invalid-transition',
                hint = case when v_parent.status = 'succeeded' then 'Start the workflow anew to run it again.'
                            else 'Wait until that step has ended.' end;
        elsif v_scope.status = 'running' then
            perform workflow.reopen_tasks(workflow.retried_with(array[v_task.id]), v_path, p_now);
            exit;
        elsif v_parent.status = 'waiting' then  -- one that waits for its turn to go on, too
            perform workflow.reopen_scopes(array[v_parent.id], v_path, p_now);
            exit;
        end if;
        v_path := v_path || v_parent.id;
        v_task := v_parent;
    end loop;
    return (select count(*) from workflow.tasks t where t.workflow_id = v_workflow and t.finished_at is null) - v_before;
end
$$;
comment on function workflow.retry_inside is 'Internal: run one task inside scopes again';

-- Whether something has been undone inside scopes of a task: all of it is to be done again then.
create or replace function workflow.was_undone(p_task_id bigint) returns boolean
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return exists (
        select 1
        from workflow.tasks p
        cross join lateral (
            select 1 from workflow.definition_versions v where v.id = p.version_id and v.compensates offset 0) v
        cross join lateral (
            select c.base, c.version_id, c.scope from workflow.scopes c
            where c.workflow_id = p.workflow_id
              and c.bases && array(select o.base from workflow.scopes o where o.parent_task_id = p_task_id) offset 0) c
        cross join lateral (
            select s.step_index, s.compensation from workflow.definition_steps s
            where s.version_id = c.version_id and s.scope = c.scope and s.kind = 'step' and s.compensation is not null
            offset 0) s
        cross join lateral (
            select t.finished_at from workflow.tasks t
            where t.id = c.base + s.step_index and t.status = 'succeeded' offset 0) t
        cross join lateral (
            select 1 from workflow.tasks u
            where u.id = c.base + s.compensation and u.status = 'succeeded' and u.finished_at >= t.finished_at offset 0) u
        where p.id = p_task_id);
end
$$;
comment on function workflow.was_undone is 'Internal: whether something has been undone inside scopes of a task';
