-- Child workflows. A child is started in the commit in which its parent's task begins to wait for it, and tells that task in the
-- commit in which it ends. It is a workflow of its own: with an ending, a retry and locks of its own.
--
-- Parent and child meet on each other's rows from both sides. So neither ever waits for the other: a child that ends passes
-- over its parent's task when somebody has it locked, and a parent that ends leaves word that its child is to be cancelled
-- (parents_to_wake, children_to_cancel). workflow.sweep_children does the rest within the poll interval of the leader.
--
-- A parent's task that is tried again starts a new child. The one before stays what it was, or is cancelled if it still runs.

-- How deep children may be nested.
create or replace function workflow.max_depth() returns integer
language sql immutable parallel safe
as $$
    select 16
$$;
comment on function workflow.max_depth is 'How many parents a child workflow may have above it';

-- Starts the children that tasks wait for. The caller holds the workflow rows of the tasks.
--
-- awaits: {"name", "version"?, "input"?, "wait"? (default true), "on_parent_cancel"? "cancel" or "abandon",
-- "traceparent"?: the span of the attempt, else the child belongs to the trace as its parent does}. One that is not to
-- be waited for has its task resumed at once; so has one that could not be started, and then the resumption says why.
-- With "workflow_id" the task goes on to wait for the child it has. Where the child's definition recognises a start it has seen
-- (idempotency), the task waits for the workflow that was started then, which stays independent of it.
create or replace function workflow.await_child(p_tasks workflow.waiting_task[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_task      record;
    v_started   jsonb;
    v_child     uuid;
    v_error     jsonb;
    v_resumed   bigint[] := '{}';
    v_message   text;
begin
    for v_task in
        select a.task_id, a.workflow_id, a.awaits, w.labels, w.priority, w.depth, w.created_by,
               coalesce(a.awaits ->> 'traceparent', w.traceparent) as traceparent,
               coalesce(w.root_id, w.id) as root_id,
               coalesce((a.awaits -> 'wait')::boolean, true) as waits
        from unnest(p_tasks) a
        cross join lateral (
            select w.id, w.labels, w.priority, w.depth, w.root_id, w.created_by, w.traceparent from workflow.workflows w
            where w.id = a.workflow_id offset 0) w
        order by a.task_id
    loop
        if v_task.awaits ? 'workflow_id' then
            insert into workflow.parents_to_wake (task_id) values (v_task.task_id);
            continue;
        end if;
        v_child := null;
        v_error := null;
        if v_task.depth >= workflow.max_depth() then
            v_error := workflow.child_error('too_deep', format(
                'A workflow may have %s parents above it, and this one has as many.', workflow.max_depth()));
        else
            begin  -- what is wrong with one child must not undo the commit of its parent
                v_started := workflow.start_many(jsonb_build_array(jsonb_build_object(
                    'name', v_task.awaits ->> 'name', 'version', v_task.awaits -> 'version',
                    'input', coalesce(v_task.awaits -> 'input', '{}'), 'labels', v_task.labels, 'priority', v_task.priority,
                    'created_by', v_task.created_by, 'traceparent', v_task.traceparent,
                    'parent_task_id', v_task.task_id, 'parent_id', v_task.workflow_id, 'root_id', v_task.root_id,
                    'depth', v_task.depth + 1, 'on_parent_cancel', coalesce(
                        v_task.awaits ->> 'on_parent_cancel', case when v_task.waits then 'cancel' else 'abandon' end))))
                    -> 'started' -> 0;
                v_child := (v_started ->> 'id')::uuid;
                if v_started ? 'existing' then
                    insert into workflow.parents_to_wake (task_id) values (v_task.task_id);
                elsif v_task.waits and workflow.waits_for_parents(v_child) then
                    raise exception 'It would wait for a concurrency key of a workflow above it, which waits for it.'
                        using errcode = 'WF409', detail = 'concurrency-limit';
                end if;
            exception
                when sqlstate 'WF404' or sqlstate 'WF409' or sqlstate 'WF422' or sqlstate 'WF503' then
                    get stacked diagnostics v_message = message_text;
                    v_child := null;
                    v_error := workflow.child_error('not_started', v_message);
            end;
        end if;
        update workflow.tasks t set awaits = t.awaits || case
            when v_child is null then jsonb_build_object('error', v_error)
            else jsonb_build_object('workflow_id', v_child) end
        where t.id = v_task.task_id;
        if v_child is null or not v_task.waits then
            v_resumed := v_resumed || v_task.task_id;
        end if;
    end loop;
    if v_resumed <> '{}' then
        perform workflow.resume_waiting(v_resumed, p_now);
    end if;
end
$$;
comment on function workflow.await_child is 'Internal: start the children that tasks wait for';

-- Whether a workflow that was just started stands in line for places that only the workflows above it have: they end after it.
create or replace function workflow.waits_for_parents(p_workflow_id uuid) returns boolean
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_above uuid[] := '{}';
    v_id    uuid := p_workflow_id;
begin
    if not exists (select 1 from workflow.workflows w where w.id = p_workflow_id and w.queued_at is not null) then
        return false;
    end if;
    loop
        select w.parent_id into v_id from workflow.workflows w where w.id = v_id;
        exit when v_id is null;
        v_above := v_above || v_id;
    end loop;
    return exists (
        select 1
        from (select p.key, p.capacity from workflow.places p where p.workflow_id = p_workflow_id offset 0) p
        where p.capacity <= (
            select count(*) from workflow.places x
            where x.workflow_id = any(v_above) and x.key = p.key and x.entered_at is not null));
end
$$;
comment on function workflow.waits_for_parents is 'Internal: whether a child would wait for those that wait for it';

-- The error of a task whose child could not be started.
create or replace function workflow.child_error(p_kind text, p_message text) returns jsonb
language sql immutable parallel safe
as $$
    select jsonb_build_object('type', 'child_workflow', 'message', p_message, 'retryable', false, 'attempt', 0,
                              'details', jsonb_build_object('kind', p_kind))
$$;
comment on function workflow.child_error is 'Internal: the error of a task whose child could not be started';

-- What came of the child of a task: {"workflow": {"id", "status", "output"?, "error"?}}; of one that could not be started,
-- without its id and as failed.
create or replace function workflow.child_resumption(p_task workflow.tasks) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    if p_task.awaits ? 'error' then
        return jsonb_build_object('workflow', jsonb_build_object('status', 'failed', 'error', p_task.awaits -> 'error'));
    end if;
    return coalesce((
        select jsonb_build_object('workflow', jsonb_build_object('id', w.id, 'status', w.status)
            || case when w.status = 'succeeded' then jsonb_build_object('output', w.output) else '{}' end
            || case when w.error is not null then jsonb_build_object('error', w.error) else '{}' end)
        from workflow.workflow_list w where w.id = (p_task.awaits ->> 'workflow_id')::uuid), '{}');
end
$$;
comment on function workflow.child_resumption is 'Internal: what came of the child of a task';

-- Tasks end or go on without what still runs of their children: it is to be cancelled, unless it is to be abandoned. A child that
-- is not waited for is no concern of a task that succeeded.
create or replace function workflow.stop_awaiting_child(p_tasks bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    insert into workflow.children_to_cancel (workflow_id, reason)
    select w.id, 'Its parent goes on without it.'
    from workflow.tasks t
    cross join lateral (
        select w.id, w.finished_at, w.on_parent_cancel from workflow.workflows w
        where w.parent_task_id = t.id offset 0) w
    where t.id = any(p_tasks) and w.finished_at is null and w.on_parent_cancel = 'cancel'
      and (t.status <> 'succeeded' or coalesce((t.awaits -> 'wait')::boolean, true));
end
$$;
comment on function workflow.stop_awaiting_child is 'Internal: have the children of tasks cancelled';

-- Workflows are ended before they are done: what still runs of all their children is to be cancelled, waited for or not.
create or replace function workflow.cancel_children(p_workflows uuid[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    insert into workflow.children_to_cancel (workflow_id, reason)
    select w.id, 'Its parent has ended.'
    from unnest(p_workflows) x
    cross join lateral (
        -- By its parent alone: with more to go by, all live workflows might be looked through.
        select w.id, w.finished_at, w.on_parent_cancel from workflow.workflows w where w.parent_id = x offset 0) w
    where w.finished_at is null and w.on_parent_cancel = 'cancel';
end
$$;
comment on function workflow.cancel_children is 'Internal: have the children of workflows cancelled';

-- Locks the live workflows below one, as far as they are cancelled with it and nobody else has them locked; those whose ending
-- has begun are left to it. The caller holds the row of that one.
create or replace function workflow.lock_descendants(p_workflow_id uuid) returns uuid[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_level uuid[] := array[p_workflow_id];
    v_all   uuid[] := '{}';
begin
    loop
        v_level := array(
            select w.id from workflow.workflows w
            where w.id = any(array(
                      select c.id from unnest(v_level) x
                      cross join lateral (select c.id from workflow.workflows c where c.parent_id = x offset 0) c))
              and w.finished_at is null and w.ending is null and w.on_parent_cancel = 'cancel'
            order by w.id
            for no key update skip locked);
        exit when v_level = '{}';
        v_all := v_all || v_level;
    end loop;
    return v_all;
end
$$;
comment on function workflow.lock_descendants is 'Internal: lock the workflows that are cancelled with one';

-- What follows when workflows have become terminal. A child wakes its parent's task; it does not wait for it.
create or replace function workflow.after_end(p_workflows uuid[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_tasks bigint[] := array(
        select t.id
        from unnest(p_workflows) x
        cross join lateral (select w.id, w.parent_task_id from workflow.workflows w where w.id = x offset 0) w
        cross join lateral (
            select t.id from workflow.tasks t
            where t.id = w.parent_task_id and t.status = 'waiting' and t.awaits ->> 'workflow_id' = w.id::text offset 0) t);
begin
    if v_tasks = '{}' then
        return;
    end if;
    perform workflow.wake_waiting(v_tasks, p_now);
    insert into workflow.parents_to_wake (task_id)
    select t.id from workflow.tasks t where t.id = any(v_tasks) and t.status = 'waiting';
end
$$;
comment on function workflow.after_end is 'Internal: what follows when workflows have become terminal';

-- The leader's part in the relations of parents and children: wakes the tasks whose child has ended while somebody had them
-- locked, and cancels the children that nobody waits for any more, those below them too. Waits for no workflow: what is locked
-- is left for the next sweep.
--
-- Returns {"woken", "cancelled", "last"}: call again with p_after = last.
create or replace function workflow.sweep_children(p_after bigint default null, p_limit integer default 500) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_rows      bigint[];
    v_last      bigint;
    v_tasks     bigint[];
    v_woken     integer;
    v_cancelled uuid[];
begin
    v_rows := array(
        select p.id from workflow.parents_to_wake p where p.id > coalesce(p_after, 0)
        order by p.id limit p_limit for update skip locked);
    v_last := case when cardinality(v_rows) = p_limit then v_rows[p_limit] end;
    v_tasks := array(
        select distinct t.id
        from unnest(v_rows) r
        cross join lateral (select p.task_id from workflow.parents_to_wake p where p.id = r offset 0) p
        cross join lateral (
            select t.id, (t.awaits ->> 'workflow_id')::uuid as child from workflow.tasks t
            where t.id = p.task_id and t.status = 'waiting' and t.awaits ->> 'kind' = 'child' offset 0) t
        cross join lateral (
            select w.id from workflow.workflows w where w.id = t.child and w.finished_at is not null offset 0) w);
    perform workflow.wake_waiting(v_tasks, v_now);
    v_woken := (
        select count(*) from workflow.tasks t where t.id = any(v_tasks) and t.status <> 'waiting');
    -- A row is done with when its task waits for no child any more.
    delete from workflow.parents_to_wake p
    where p.id = any(v_rows) and (
        select count(*) from workflow.tasks t
        where t.id = p.task_id and t.status = 'waiting' and t.awaits ->> 'kind' = 'child') = 0;

    v_rows := array(
        select c.id from workflow.children_to_cancel c order by c.id limit p_limit for update skip locked);
    v_cancelled := array(
        select w.id from workflow.workflows w
        where w.id = any(array(select c.workflow_id from workflow.children_to_cancel c where c.id = any(v_rows)))
          and w.finished_at is null and w.ending is null
        order by w.id
        for no key update skip locked);
    if v_cancelled <> '{}' then
        perform workflow.cancel_live(v_cancelled, (
            select min(c.reason) from workflow.children_to_cancel c where c.workflow_id = any(v_cancelled)));
    end if;
    delete from workflow.children_to_cancel c
    where c.id = any(v_rows) and (
        select count(*) from workflow.workflows w
        where w.id = c.workflow_id and w.finished_at is null and w.ending is null) = 0;
    return jsonb_build_object('woken', v_woken, 'cancelled', cardinality(v_cancelled), 'last', v_last);
end
$$;
comment on function workflow.sweep_children is 'Wake parents and cancel children that could not be told at once';
