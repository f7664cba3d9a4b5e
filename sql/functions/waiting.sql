-- Tasks that wait for something else than a worker: a scope of theirs, a time, a signal, an approval, a child workflow.
--
-- A worker ends its attempt with what the task waits for (`awaits`). A waiting task costs a row: it holds no worker, no slot,
-- no connection, and has a job only if there is a time until which it waits. When what it waits for has come, or that time,
-- it is pending again, and the next claim says what came of it (workflow.resumption). What follows is for that worker to
-- decide: it ends the task, or has it wait again. So there is one way to wait, and expressions run on workers only.

-- Begins the waits of tasks that have just got the status waiting. The caller holds the workflow rows.
create or replace function workflow.begin_waiting(p_tasks workflow.waiting_task[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_kind      text;
    v_some      workflow.waiting_task[];
    v_caught    bigint[];
begin
    perform workflow.park_waiting(p_tasks, p_now);
    for v_kind, v_some in
        select w.awaits ->> 'kind', array_agg(w order by w.task_id) from unnest(p_tasks) w group by 1
    loop
        case v_kind
            when 'timer' then null;
            when 'scope' then
                -- The steps of a catch: a signal, an answer or a child is waited for no more.
                v_caught := array(
                    select w.task_id from unnest(v_some) w where w.awaits -> 'state' -> 'catching' is not null);
                if v_caught <> '{}' then
                    perform workflow.forget_waits(v_caught, p_now);
                end if;
                perform workflow.await_scope(v_some, p_now);
            when 'signal' then perform workflow.await_signal(v_some, p_now);
            when 'approval' then perform workflow.await_approval(v_some, p_now);
            when 'child' then perform workflow.await_child(v_some, p_now);
        end case;
    end loop;
end
$$;
comment on function workflow.begin_waiting is 'Internal: begin the waits of tasks';

-- Gives waiting tasks that wait until some time a job that is due then, and notes that time (`until`).
create or replace function workflow.park_waiting(p_tasks workflow.waiting_task[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_all   bigint[] := array(select w.task_id from unnest(p_tasks) w);
    v_timed workflow.ready_task[];
begin
    v_timed := array(
        select row(w.task_id, w.queue, w.type, w.priority, u.until)::workflow.ready_task
        from unnest(p_tasks) w
        cross join lateral (select least(
            case when w.awaits ? 'at' then greatest((w.awaits ->> 'at')::timestamptz, p_now) end,  -- what is over was not due before it was asked for
            p_now + make_interval(secs => (w.awaits ->> 'deadline')::double precision),
            case when w.awaits ->> 'kind' = 'timer'
                 then p_now + make_interval(secs => (w.awaits ->> 'delay')::double precision) end) as until) u
        where u.until is not null);
    update workflow.tasks t set
        job_id = j.job_id, pending_since = null, scheduled_at = j.scheduled_at,
        awaits = case when j.scheduled_at is null then t.awaits
                      else t.awaits || jsonb_build_object('until', j.scheduled_at) end
    from (select w.task_id, x.job_id, x.scheduled_at
          from unnest(p_tasks) w
          left join unnest(v_timed, workflow.enqueue(v_timed))
              as x(task_id, queue, type, priority, scheduled_at, job_id) on x.task_id = w.task_id) j
    where t.id = any(v_all) and t.id = j.task_id;
end
$$;
comment on function workflow.park_waiting is 'Internal: give waiting tasks the jobs of their deadlines';

-- Lets go what tasks waited for: they end or are tried again without it, or go on from it. The caller holds the workflow rows.
-- Returns the tasks that were cancelled with it: what they held is for workflow.free_resources.
create or replace function workflow.stop_awaiting(p_tasks bigint[], p_now timestamptz) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_kind      text;
    v_some      bigint[];
    v_cancelled bigint[] := '{}';
begin
    for v_kind, v_some in
        select t.awaits ->> 'kind', array_agg(t.id order by t.id) from workflow.tasks t
        where t.id = any(p_tasks) and t.awaits is not null
        group by 1
    loop
        case v_kind
            when 'scope' then v_cancelled := workflow.stop_awaiting_scope(v_some, p_now);
            when 'signal' then perform workflow.stop_awaiting_signal(v_some, p_now);
            when 'approval' then perform workflow.stop_awaiting_approval(v_some, p_now);
            when 'child' then perform workflow.stop_awaiting_child(v_some, p_now);
            else null;
        end case;
    end loop;
    update workflow.tasks t set awaits = null where t.id = any(p_tasks) and t.awaits is not null;
    return v_cancelled;
end
$$;
comment on function workflow.stop_awaiting is 'Internal: let go what tasks waited for';

-- Lets go whatever tasks but scopes wait for whose `awaits` says something else already.
create or replace function workflow.forget_waits(p_tasks bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform workflow.stop_awaiting_signal(p_tasks, p_now);
    perform workflow.stop_awaiting_approval(p_tasks, p_now);
    perform workflow.stop_awaiting_child(p_tasks, p_now);
end
$$;
comment on function workflow.forget_waits is 'Internal: let go what tasks waited for before they wait for something else';

-- Makes waiting tasks pending, because what they wait for has come. The caller holds the workflow rows; other tasks are left
-- as they are.
create or replace function workflow.resume_waiting(p_tasks bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_new       workflow.ready_task[];
    v_catching  workflow.ready_task[];
    v_timed     bigint[];
    v_queues    text[];
begin
    with resumed as (
        update workflow.tasks t set status = 'pending', pending_since = p_now, scheduled_at = null
        where t.id = any(p_tasks) and t.status = 'waiting'
        returning t.id, t.version_id, t.step_index, t.priority, t.job_id, workflow.is_catching(t.awaits) as catching
    )
    select coalesce(array_agg(row(r.id, s.queue, s.type, r.priority, null)::workflow.ready_task order by r.id)
                        filter (where r.job_id is null and not r.catching), '{}'),
           coalesce(array_agg(row(r.id, s.queue, s.type, r.priority, null)::workflow.ready_task order by r.id)
                        filter (where r.job_id is null and r.catching), '{}'),
           coalesce(array_agg(r.job_id) filter (where r.job_id is not null), '{}'),
           array_agg(distinct s.queue) filter (where r.job_id is not null)
    into v_new, v_catching, v_timed, v_queues
    from resumed r
    cross join lateral (
        select s.queue, s.type from workflow.definition_steps s
        where s.version_id = r.version_id and s.step_index = r.step_index offset 0) s;
    if v_timed <> '{}' then
        update workflow.jobs j set scheduled_at = null, woken_at = workflow.clock() where j.id = any(v_timed) and j.status = 'todo';
        perform workflow.wake_queue(q) from unnest(v_queues) q;
    end if;
    if v_catching <> '{}' then
        v_new := v_new || workflow.catching_jobs(v_catching, p_now);
    end if;
    if v_new <> '{}' then
        update workflow.tasks t set job_id = n.job_id
        from unnest(v_new, workflow.enqueue(v_new)) as n(task_id, queue, type, priority, scheduled_at, job_id)
        where t.id = any(p_tasks) and t.id = n.task_id;
    end if;
end
$$;
comment on function workflow.resume_waiting is 'Internal: make waiting tasks pending, because what they wait for has come';

-- The same for tasks of other workflows than those whose rows the caller holds: it waits for no task. A task that somebody
-- has locked is left for a sweep.
create or replace function workflow.wake_waiting(p_tasks bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    perform workflow.resume_waiting(array(
        select t.id from workflow.tasks t where t.id = any(p_tasks) and t.status = 'waiting'
        order by t.id for no key update skip locked), p_now);
end
$$;
comment on function workflow.wake_waiting is 'Internal: make waiting tasks of other workflows pending';

-- What a claim says of a task that has waited: {"resumed": {"awaits", "due", ...}} with what its kind adds, or for an error that
-- was found in SQL and that its step may catch {"raised": error}.
create or replace function workflow.resumption(p_task_id bigint) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
as $$
declare
    v_task  workflow.tasks;
    v_came  jsonb := '{}';
begin
    select * into v_task from workflow.tasks t where t.id = p_task_id;
    if v_task.awaits ->> 'kind' = 'raised' then
        return jsonb_build_object('raised', v_task.awaits -> 'error');
    end if;
    case v_task.awaits ->> 'kind'
        when 'scope' then v_came := workflow.scope_resumption(v_task);
        when 'signal' then v_came := workflow.signal_resumption(v_task);
        when 'approval' then v_came := workflow.approval_resumption(v_task);
        when 'child' then v_came := workflow.child_resumption(v_task);
        else null;
    end case;
    return jsonb_build_object('resumed', v_came || jsonb_build_object(
        'awaits', v_task.awaits,
        'due', coalesce((v_task.awaits ->> 'until')::timestamptz <= workflow.clock(), false)));
end
$$;
comment on function workflow.resumption is 'Internal: what came of what a task waited for';

-- What else ended attempts do in this commit, by the keys of their `effects`. The caller holds the workflow rows.
create or replace function workflow.take_effects(p_effects workflow.effect[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_key   text;
    v_some  workflow.effect[];
begin
    for v_key, v_some in
        select k.key, array_agg(row(e.task_id, e.workflow_id, e.version_id, e.step_index, e.data -> k.key)::workflow.effect
                                order by e.task_id)
        from unnest(p_effects) e cross join lateral jsonb_object_keys(e.data) as k(key)
        group by 1 order by k.key = 'terminate'
    loop
        case v_key
            when 'usage' then perform workflow.record_usage(v_some, p_now);
            when 'emit' then perform workflow.emit(v_some, p_now);
            when 'terminate' then perform workflow.terminate(v_some, p_now);
            else null;  -- of a newer worker, or seen to before (workflow.refuse_unfounded, take_signals)
        end case;
    end loop;
end
$$;
comment on function workflow.take_effects is 'Internal: what else ended attempts do in this commit';
