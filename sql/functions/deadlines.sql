-- Deadlines: of workflows (`timeout`), and of tasks that wait for a worker (`schedule_to_start`) or for their end, whatever the
-- number of attempts (`schedule_to_close`). What is over fails with an error of the type `timeout` whose details say which it
-- was. How long an attempt may take is its worker's to see to.

-- Sets the deadlines of those of some tasks, which have just become pending or scheduled, whose steps have any. The caller calls
-- it only where a step may have some. With p_anew the time until their end begins too, not only that of the next attempt.
create or replace function workflow.set_deadlines(p_tasks bigint[], p_now timestamptz, p_anew boolean) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
begin
    insert into workflow.deadlines as d (task_id, kind, at, seconds, attempt)
    select t.id, k.kind, greatest(t.pending_since, p_now) + make_interval(secs => k.seconds), k.seconds, t.attempt
    from unnest(p_tasks) x
    cross join lateral (
        select t.id, t.version_id, t.step_index, t.attempt, t.pending_since from workflow.tasks t
        where t.id = x and t.status in ('pending', 'scheduled') offset 0) t
    cross join lateral (
        select s.timeouts from workflow.definition_steps s
        where s.version_id = t.version_id and s.step_index = t.step_index and s.timeouts is not null offset 0) s
    cross join lateral (
        select 'schedule_to_start' as kind, (s.timeouts ->> 'schedule_to_start')::double precision as seconds
        union all
        select 'schedule_to_close', (s.timeouts ->> 'schedule_to_close')::double precision where p_anew) k
    where k.seconds is not null
    on conflict (task_id, kind) do update set
        at = excluded.at, seconds = excluded.seconds, attempt = excluded.attempt;
end
$$;
comment on function workflow.set_deadlines is 'Internal: set the deadlines of tasks that have become pending';

-- Fails live workflows whose deadline has passed; their endings follow. Waits for none: what is locked is left for the next
-- sweep. Returns how many; call again while that equals p_limit.
create or replace function workflow.sweep_timed_out(p_limit integer default 100) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_workflows uuid[];
    v_workflow  record;
begin
    v_workflows := array(
        select w.id from workflow.workflows w
        where w.deadline <= v_now and w.finished_at is null and w.ending is null
        order by w.deadline limit p_limit
        for no key update skip locked);
    -- Each has its own time in its error.
    for v_workflow in
        select w.id, v.seconds
        from workflow.workflows w
        cross join lateral (
            select (v.plan ->> 'timeout')::double precision as seconds from workflow.definition_versions v
            where v.id = w.version_id offset 0) v
        where w.id = any(v_workflows) order by w.id
    loop
        perform workflow.end_workflows(
            array[v_workflow.id], 'failed', v_now, workflow.timeout_error('workflow', v_workflow.seconds, 0));
    end loop;
    if v_workflows <> '{}' then
        perform workflow.free_resources(v_workflows, '{}', v_now);
    end if;
    return cardinality(v_workflows);
end
$$;
comment on function workflow.sweep_timed_out is 'Fail workflows whose deadline has passed; returns how many';

-- The error of what ran out of time.
create or replace function workflow.timeout_error(p_kind text, p_seconds double precision, p_attempt integer) returns jsonb
language sql immutable parallel safe
as $$
    select jsonb_build_object(
        'type', 'timeout',
        'message', format(case p_kind
            when 'workflow' then 'The workflow took longer than its %s s.'
            when 'schedule_to_start' then 'No worker began it within %s s.'
            else 'It took longer than %s s, all attempts together.' end, round(p_seconds::numeric, 3)::float8),
        'retryable', false, 'attempt', p_attempt,
        'details', jsonb_build_object('kind', p_kind, 'seconds', round(p_seconds::numeric, 3)))
$$;
comment on function workflow.timeout_error is 'Internal: the error of what ran out of time';

-- Fails tasks whose deadlines have passed, or shows the error to a worker where the step catches errors; forgets deadlines that
-- are over by themselves. While its workflow is held by a pause, a task that waits for a worker is given its time anew.
--
-- Returns how many it failed by kind: {"schedule_to_start", "schedule_to_close"}.
create or replace function workflow.sweep_deadlines(p_limit integer default 500) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_paused    boolean := workflow.is_paused();
    v_workflows uuid[];
    v_due       workflow.deadlines[];
    v_over      bigint[];
    v_errors    jsonb[];
    v_failed    jsonb := '{"schedule_to_start": 0, "schedule_to_close": 0}';
begin
    v_due := array(select d from workflow.deadlines d where d.at <= v_now order by d.at limit p_limit);
    if v_due = '{}' then
        return v_failed;
    end if;
    v_workflows := workflow.lock_workflows(array(
        select distinct t.workflow_id
        from unnest(v_due) d
        cross join lateral (
            select t.workflow_id from workflow.tasks t where t.id = d.task_id and t.finished_at is null offset 0) t));
    perform 1 from workflow.tasks t
    where t.id = any(array(select d.task_id from unnest(v_due) d)) and t.workflow_id = any(v_workflows)
    order by t.id for no key update;

    -- A task that was claimed since, or has ended, has no use for its deadline.
    with state as materialized (
        select d.task_id, d.kind, d.seconds, t.id, t.attempt, w.id as workflow_id,
               case when t.id is null or t.finished_at is not null then 'over'
                    when not t.workflow_id = any(v_workflows) then 'later'
                    when d.kind = 'schedule_to_close' then 'due'
                    when t.attempt > d.attempt or t.status <> 'pending' or t.awaits is not null then 'over'
                    when w.paused_at is not null or w.queued_at is not null or v_paused and w.status = 'pending' then 'held'
                    else 'due' end as state
        from unnest(v_due) d
        left join lateral (
            select t.id, t.workflow_id, t.status, t.attempt, t.awaits, t.finished_at from workflow.tasks t
            where t.id = d.task_id offset 0) t on true
        left join lateral (
            select w.id, w.status, w.paused_at, w.queued_at from workflow.workflows w where w.id = t.workflow_id offset 0) w on true
    ), forgotten as (
        delete from workflow.deadlines d using state s
        where d.task_id = s.task_id and d.kind = s.kind and s.state in ('over', 'due')
    ), held as (
        update workflow.deadlines d set at = v_now + make_interval(secs => d.seconds) from state s
        where d.task_id = s.task_id and d.kind = s.kind and s.state = 'held'
    ), due as (
        select distinct on (s.task_id) s.task_id, workflow.timeout_error(s.kind, s.seconds, s.attempt) as error
        from state s where s.state = 'due' order by s.task_id, s.kind
    )
    select array_agg(d.task_id order by d.task_id), array_agg(d.error order by d.task_id) into v_over, v_errors from due d;
    if v_over is not null then
        perform workflow.raise_errors(v_over, v_errors, v_now);
        select v_failed || jsonb_object_agg(e.kind, e.count) into v_failed
        from (select e #>> '{details,kind}' as kind, count(*) from unnest(v_errors) e group by 1) e;
    end if;
    return v_failed;
end
$$;
comment on function workflow.sweep_deadlines is 'Fail tasks whose deadlines have passed; returns how many by kind';

-- Ends tasks by errors that were found outside of a worker, whatever state they are in. Of a step that catches errors a worker
-- is shown the error first (see workflow.resumption), once. The caller holds the workflow rows and the task rows; this must be
-- the last that it does, as it frees what they held. Returns how many were open.
create or replace function workflow.raise_errors(p_tasks bigint[], p_errors jsonb[], p_now timestamptz) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = on
set jit = off
as $$
declare
    v_task      record;
    v_tasks     bigint[];
    v_left      bigint[];
    v_again     workflow.ready_task[] := '{}';
    v_ended     workflow.ended_task[] := '{}';
    v_workflows uuid[] := '{}';
    v_workers   bigint[] := '{}';
    v_worker    bigint;
begin
    v_tasks := array(select t.id from workflow.tasks t where t.id = any(p_tasks) and t.finished_at is null);
    v_left := array(select t.id from workflow.tasks t where t.id = any(v_tasks) and t.awaits is not null);
    if v_left <> '{}' and cardinality(v_tasks) > 1 then
        -- What is inside of another one of them is cancelled with it.
        v_tasks := array(
            select t.id from workflow.tasks t
            where t.id = any(v_tasks) and not exists (
                select 1 from workflow.scopes c
                where c.base = t.id - t.step_index and c.bases && array(
                    select o.base from workflow.scopes o where o.parent_task_id = any(v_left))));
        v_left := array(select t.id from workflow.tasks t where t.id = any(v_tasks) and t.awaits is not null);
    end if;
    for v_task in
        select t.*, s.queue, s.type, e.error as raised, s.catches and t.awaits ->> 'kind' is distinct from 'raised'
               and t.awaits -> 'state' -> 'catching' is null as caught
        from unnest(p_tasks, p_errors) e(task_id, error)
        cross join lateral (select t.* from workflow.tasks t where t.id = e.task_id and t.id = any(v_tasks) offset 0) t
        cross join lateral (
            select s.queue, s.type, s.catches from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        order by t.id
    loop
        v_workflows := v_workflows || v_task.workflow_id;
        if v_task.status = 'running' then
            insert into workflow.attempt_history
                (task_id, attempt, workflow_id, outcome, worker_id, lease_token, pending_since, started_at, ended_at, error)
            values (v_task.id, v_task.attempt, v_task.workflow_id, 'failed', v_task.worker_id, v_task.lease_token,
                    v_task.pending_since, v_task.started_at, greatest(p_now, v_task.started_at), v_task.raised);
            v_workers := v_workers || v_task.worker_id;
        end if;
        insert into workflow.events (workflow_id, type, task_id, attempt, at, data)
        values (v_task.workflow_id, 'task.failed', v_task.id, nullif(v_task.attempt, 0), p_now,
                jsonb_build_object('error', v_task.raised));
        if v_task.caught then
            v_again := v_again || row(v_task.id, v_task.queue, v_task.type, v_task.priority, null)::workflow.ready_task;
        else
            v_ended := v_ended || row(v_task.id, v_task.workflow_id, v_task.version_id, v_task.step_index, 'failed',
                                      v_task.raised)::workflow.ended_task;
        end if;
    end loop;
    if v_tasks = '{}' then
        return 0;
    end if;

    delete from workflow.jobs j
    where j.id = any(array(select t.job_id from workflow.tasks t where t.id = any(v_tasks) and t.job_id is not null));
    delete from workflow.waits x where x.task_id = any(v_tasks);
    if v_left <> '{}' then
        v_left := workflow.stop_awaiting(v_left, p_now);
    end if;
    update workflow.tasks t set
        status = case when c.caught then 'pending' else 'failed' end,
        awaits = case when c.caught then jsonb_build_object('kind', 'raised', 'error', e.error) end,
        error = e.error, tries = t.tries + (t.status = 'running')::integer, lease_token = null, lease_until = null,
        scheduled_at = null, timeout_override = case when c.caught then t.timeout_override end,
        pending_since = case when c.caught then p_now else t.pending_since end,
        finished_at = case when not c.caught then greatest(p_now, t.started_at) end, job_id = null
    from unnest(p_tasks, p_errors) e(task_id, error)
    cross join lateral (
        select e.task_id = any(array(select a.task_id from unnest(v_again) a)) as caught) c
    where t.id = any(v_tasks) and t.id = e.task_id;
    if v_again <> '{}' then
        v_again := workflow.catching_jobs(v_again, p_now);
        update workflow.tasks t set job_id = a.job_id
        from unnest(v_again, workflow.enqueue(v_again)) as a(task_id, queue, type, priority, scheduled_at, job_id)
        where t.id = any(v_tasks) and t.id = a.task_id;
    end if;
    foreach v_worker in array v_workers loop
        perform pg_notify('workflow_worker', v_worker::text);  -- a hint: its next heartbeat tells it anyway
    end loop;
    if v_ended <> '{}' then
        v_left := v_left || workflow.advance(v_ended, p_now);
    end if;
    perform workflow.free_resources(v_workflows, v_tasks || v_left, p_now);
    return cardinality(v_tasks);
end
$$;
comment on function workflow.raise_errors is 'Internal: end tasks by errors that were found outside of a worker';
