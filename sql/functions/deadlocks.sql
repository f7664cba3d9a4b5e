-- Workflows that wait for each other's locks.
--
-- Only a lock with scope workflow can be waited for without end: its holder keeps it while it waits itself. A lock or unit
-- of a task is held by a running attempt, which waits for nothing, and which its time or its lease ends.

-- Who waits for whom, between workflows that both hold such a lock and wait (the others are on no circle): a JSON list of
-- {"waiter", "task_id", "key", "since", "holder"}, at most p_limit. Reads the holds of scope workflow and what their
-- workflows wait for, never whole lines.
create or replace function workflow.lock_waits(p_limit integer default 10000) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
begin
    return (
        select coalesce(jsonb_agg(jsonb_build_object(
            'waiter', w.workflow_id, 'task_id', w.task_id, 'key', w.key, 'since', w.since, 'holder', w.holder)), '[]')
        from (
            select x.workflow_id, x.task_id, x.key, x.since, h.workflow_id as holder
            from (select distinct o.workflow_id from workflow.holds o where o.scope = 'workflow') o
            cross join lateral (
                select x.* from workflow.waits x
                where x.workflow_id = o.workflow_id and x.kind = 'lock' and x.woken_at is null offset 0) x
            cross join lateral (
                select h.workflow_id from workflow.holds h
                where h.kind = 'lock' and h.key = x.key and h.scope = 'workflow' and h.workflow_id <> x.workflow_id
                offset 0) h
            order by x.since, x.task_id
            limit p_limit) w);
end
$$;
comment on function workflow.lock_waits is 'Which workflows wait for locks that other workflows hold to their end';

-- Breaks a circle of workflows, each of which waits for a lock of the next: fails a task that waits in it, as if its attempt
-- had failed, so that what the graph says of a failure happens, and the others go on. What the task waits for besides (it may
-- have been resumed) is let go; a step that catches errors is shown this one.
--
-- All of it is looked at again under the locks of the workflows: while they are held, none of them can give up its lock.
-- Returns whether the task was failed; false when it waits no more or the circle is no longer there.
create or replace function workflow.break_deadlock(p_task_id bigint, p_cycle uuid[]) returns boolean
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
    v_now   timestamptz;
    v_next  uuid[] := p_cycle[2:] || p_cycle[1];
    v_task  workflow.tasks;
    v_key   text;
    v_path  text;
    v_error jsonb;
begin
    perform 1 from workflow.workflows w where w.id = any(p_cycle) order by w.id for no key update;
    v_now := workflow.clock();
    if exists (
        select 1 from unnest(p_cycle, v_next) e(waiter, holder)
        where not exists (
            select 1 from workflow.waits x
            join workflow.holds h on h.kind = 'lock' and h.key = x.key and h.scope = 'workflow'
            where x.workflow_id = e.waiter and x.kind = 'lock' and x.woken_at is null and h.workflow_id = e.holder)) then
        return false;
    end if;
    select t.* into v_task from workflow.tasks t
    where t.id = p_task_id and t.workflow_id = any(p_cycle) and t.status = 'pending'
    for no key update;
    select x.key into v_key
    from workflow.waits x
    join workflow.holds h on h.kind = 'lock' and h.key = x.key and h.scope = 'workflow'
    where x.task_id = v_task.id and x.kind = 'lock' and x.woken_at is null
      and h.workflow_id = v_next[array_position(p_cycle, v_task.workflow_id)]
    limit 1;
    if v_key is null then
        return false;
    end if;

    v_path := array_to_string(p_cycle || p_cycle[1], ' -> ');
    v_error := jsonb_build_object(
        'type', 'deadlock', 'message', 'Circular dependency detected: ' || v_path, 'retryable', true,
        'attempt', v_task.attempt, 'details', jsonb_build_object('lock', v_key, 'cycle', p_cycle || p_cycle[1]));
    perform workflow.raise_errors(array[p_task_id], array[v_error], v_now);
    return true;
end
$$;
comment on function workflow.break_deadlock is 'Fail a task in a circle of workflows that wait for each other''s locks';
