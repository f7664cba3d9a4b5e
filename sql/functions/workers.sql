-- Registers a worker process and the task types it can run; returns its id. p_types: JSON list of {"name",
-- "description"?, "timeout"?, "max_attempts"?}, the latter two being the handler's defaults: types that no worker registered
-- before become known, known ones keep what operators set.
create or replace function workflow.register_worker(
    p_name text, p_host text, p_pid integer, p_version text, p_queues text[], p_types jsonb, p_concurrency integer,
    p_heartbeat_seconds double precision, p_queue_worker_id bigint) returns bigint
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now timestamptz := workflow.clock();
    v_id bigint;
begin
    insert into workflow.task_types (name, description)
    select t.name, coalesce(t.description, '') from jsonb_to_recordset(p_types) as t(name text, description text)
    where not exists (select 1 from workflow.task_types y where y.name = t.name)  -- else it waits for who changes it
    order by t.name
    on conflict (name) do nothing;
    with changed as (
        select y.name, t.timeout, t.max_attempts
        from jsonb_to_recordset(p_types) as t(name text, timeout double precision, max_attempts integer)
        join workflow.task_types y on y.name = t.name
        where (y.handler_timeout, y.handler_max_attempts) is distinct from (t.timeout, t.max_attempts)
        order by y.name
        for no key update of y
    )
    update workflow.task_types y set
        handler_timeout = c.timeout, handler_max_attempts = c.max_attempts,
        updated_at = greatest(v_now, y.updated_at + interval '1 microsecond')
    from changed c where y.name = c.name;
    insert into workflow.workers
        (name, host, pid, version, queues, task_types, concurrency, heartbeat_seconds, queue_worker_id, started_at,
         last_heartbeat_at)
    values (p_name, p_host, p_pid, p_version, p_queues,
            array(select t.name from jsonb_to_recordset(p_types) as t(name text) order by 1), p_concurrency,
            p_heartbeat_seconds, p_queue_worker_id, v_now, v_now)
    returning id into v_id;
    return v_id;
end
$$;
comment on function workflow.register_worker is 'Register a worker process; returns its id';

-- A worker's sign of life: extends the leases it names (parallel arrays) and returns the task ids whose lease it no
-- longer holds; their handlers must stop. Returns null when the worker is unknown or has stopped: register again.
-- A row locked by another transaction is in the middle of a transition and is left for the next heartbeat.
create or replace function workflow.heartbeat(
    p_worker_id bigint, p_tasks bigint[], p_tokens uuid[], p_lease_seconds double precision, p_rss_bytes bigint)
    returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    update workflow.workers w set last_heartbeat_at = v_now, rss_bytes = p_rss_bytes
    where w.id = p_worker_id and w.status <> 'stopped';
    if not found then
        return null;
    end if;
    perform procrastinate_update_heartbeat_v1(w.queue_worker_id) from workflow.workers w where w.id = p_worker_id;
    with held as (
        select t.id
        from unnest(p_tasks, p_tokens) h(task_id, token)
        join workflow.tasks t on t.id = any(p_tasks) and t.id = h.task_id
        where t.status = 'running' and t.lease_token = h.token
        for no key update of t skip locked
    )
    update workflow.tasks t set lease_until = v_now + make_interval(secs => p_lease_seconds)
    where t.id = any(array(select h.id from held h));
    return array(
        select h.task_id
        from unnest(p_tasks, p_tokens) h(task_id, token)
        left join workflow.tasks t on t.id = any(p_tasks) and t.id = h.task_id
        where t.lease_token is distinct from h.token);
end
$$;
comment on function workflow.heartbeat is 'A worker''s sign of life; returns the tasks whose lease it lost';

-- Hands back what a worker holds by the database's account but not by its own (p_held): claims whose answer was lost
-- with the connection. Called after a reconnect, while no turn is under way. Costs no try. Returns how many.
create or replace function workflow.release_forgotten(p_worker_id bigint, p_held bigint[]) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_lost workflow.completion[];
begin
    v_lost := array(
        select row(t.id, t.attempt, t.lease_token, 'released', null, null, null, null, null, null, null)::workflow.completion
        from workflow.workers w
        join workflow.jobs j on j.status = 'doing' and j.worker_id = w.queue_worker_id
        join workflow.tasks t on t.id = (j.args ->> 'task_id')::bigint and t.job_id = j.id
        where w.id = p_worker_id and t.worker_id = p_worker_id and t.status = 'running' and not t.id = any(p_held));
    if v_lost <> '{}' then
        perform workflow.settle(v_lost);
    end if;
    return cardinality(v_lost);
end
$$;
comment on function workflow.release_forgotten is 'Hand back claims whose answer never reached the worker';

-- Marks a worker as draining (it claims nothing; p_reason says why), active again or, as its last word, stopped. One that an
-- operator drains stays draining when it says that it is active again.
create or replace function workflow.set_worker_status(p_worker_id bigint, p_status text, p_reason text default null)
    returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    update workflow.workers w set
        status = case when p_status = 'active' and w.drained_at is not null then 'draining' else p_status end,
        status_reason = case when p_status = 'active' and w.drained_at is not null then 'operator' else p_reason end,
        stopped_at = case when p_status = 'stopped' then workflow.clock() end
    where w.id = p_worker_id;
end
$$;
comment on function workflow.set_worker_status is 'Mark a worker as draining, active again or stopped';

-- Lets a worker claim nothing more; what it runs goes on, and it stays, until undrain_worker. A process that begins anew is another
-- worker, and claims. Without effect on one that is drained already.
-- Errors: WF404, WF409 it is dead or has stopped.
create or replace function workflow.drain_worker(p_worker_id bigint, p_by text default null) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform workflow.living_worker(p_worker_id);
    update workflow.workers w set
        drained_at = workflow.clock(), drained_by = p_by, status = 'draining',
        status_reason = case when w.status = 'draining' then w.status_reason else 'operator' end
    where w.id = p_worker_id and w.drained_at is null;
end
$$;
comment on function workflow.drain_worker is 'Let a worker claim nothing more; what it runs goes on';

-- Lets a worker that was drained claim again, unless it is draining for a reason of its own. Without effect on one that was not.
-- Errors: as drain_worker.
create or replace function workflow.undrain_worker(p_worker_id bigint) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform workflow.living_worker(p_worker_id);
    update workflow.workers w set
        drained_at = null, drained_by = null,
        status = case when w.status_reason = 'operator' then 'active' else w.status end,
        status_reason = nullif(w.status_reason, 'operator')
    where w.id = p_worker_id and w.drained_at is not null;
end
$$;
comment on function workflow.undrain_worker is 'Let a worker that was drained claim again';

-- Locks the row of a worker that must be alive.
create or replace function workflow.living_worker(p_worker_id bigint) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_status    text;
begin
    perform 1 from workflow.workers w where w.id = p_worker_id for no key update;
    select l.status into v_status from workflow.worker_list l where l.id = p_worker_id;
    if v_status is null then
        raise exception 'There is no worker %.', p_worker_id using
            errcode = 'WF404', detail = 'worker-not-found', hint = 'GET /api/v1/workers lists those that are alive.';
    elsif v_status not in ('active', 'draining') then
        raise exception 'Worker % is %.', p_worker_id, v_status using
            errcode = 'WF409', detail = 'invalid-transition',
            hint = 'What it held is taken back by itself; POST /api/v1/workflows/recover-orphaned does it at once.';
    end if;
end
$$;
comment on function workflow.living_worker is 'Internal: lock a worker that must be alive';
