-- Takes expired leases back: the attempt is recorded as lost and the task becomes pending again, or fails as
-- worker_lost once p_max_crashes claims were lost. Bounded; call again while the counts add up to p_limit.
-- While Postgres was away nobody could renew, so for p_grace_seconds after its start nothing is taken back; nor if the caller
-- last heard of it longer ago than that (p_heard_at, by the clock of Postgres): it stood still, took no writes, or was cut off.
-- The predicate is repeated under the locks (settle's fence and the lease itself), so two leaders at once do no harm.
--
-- Returns how many run again and how many failed; of both together, how many had a worker that is dead and how many
-- had one that lives (see orphans.sql).
create or replace function workflow.sweep_expired_leases(
    p_max_crashes integer default 3, p_grace_seconds double precision default 0, p_limit integer default 500,
    p_heard_at timestamptz default null)
    returns table (recovered integer, failed integer, worker_dead integer, lock_expired integer)
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
set lock_timeout = '1s'
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_alive     bigint[];
    v_expired   bigint[];
    v_workflows uuid[];
    v_lost      workflow.completion[];
begin
    if clock_timestamp() < pg_postmaster_start_time() + make_interval(secs => p_grace_seconds)
       or clock_timestamp() > p_heard_at + make_interval(secs => p_grace_seconds) then
        return query select 0, 0, 0, 0;
        return;
    end if;
    -- Running tasks are found by their jobs: as many as there are busy slots, however large the tables.
    v_expired := array(
        select t.id from workflow.tasks t
        where t.id = any(array(
                  select (j.args ->> 'task_id')::bigint from workflow.jobs j
                  where j.status = 'doing'))
          and t.status = 'running' and t.lease_until < v_now
        limit p_limit);
    -- The workflow rows are locked first (lock order), so no completion is in flight when we look again. One that
    -- somebody's long transaction holds is left for the next sweep: it must not stop the recovery of all others.
    v_workflows := workflow.lock_workflows(array(
        select distinct t.workflow_id from workflow.tasks t where t.id = any(v_expired)));

    v_lost := workflow.lost_claims(v_expired, v_workflows, p_max_crashes, v_now);
    if v_lost <> '{}' then
        -- Only now: whose lease we saw run out may have died just before it did.
        v_alive := workflow.live_workers(v_now);
        perform workflow.settle(v_lost);
    end if;
    recovered := (select count(*) from unnest(v_lost) l where l.next is null);
    failed := cardinality(v_lost) - recovered;
    lock_expired := (
        select count(*) from unnest(v_lost) l where (l.error #>> '{details,worker}')::bigint = any(v_alive));
    worker_dead := cardinality(v_lost) - lock_expired;
    return next;
end
$$;
comment on function workflow.sweep_expired_leases is 'Take expired leases back; returns how many tasks run again and how many failed';

-- Completions that say "lost" for those of some tasks whose lease has run out by p_now, and with p_dead also for those whose
-- worker does not live, however long its lease. The caller holds the workflow rows; tasks of other workflows are left out.
-- From p_max_crashes lost claims on the task fails, or, if its step catches errors, a worker is shown the error first (once).
create or replace function workflow.lost_claims(
    p_tasks bigint[], p_workflows uuid[], p_max_crashes integer, p_now timestamptz, p_dead boolean default false)
    returns workflow.completion[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_alive bigint[] := case when p_dead then workflow.live_workers(p_now) end;
begin
    return array(
        select row(t.id, t.attempt, t.lease_token, 'lost',
                   case when n.fails and not n.caught then 'failed' end, null, null, n.error, null,
                   case when n.caught then jsonb_build_object('kind', 'raised', 'error', n.error) end,
                   null)::workflow.completion
        from workflow.tasks t
        cross join lateral (
            select s.catches from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        cross join lateral (
            select t.crashes + 1 >= p_max_crashes as fails,
                   t.crashes + 1 >= p_max_crashes and s.catches
                       and t.awaits ->> 'kind' is distinct from 'raised'
                       and t.awaits -> 'state' -> 'catching' is null as caught,
                   jsonb_build_object(
                       'type', 'worker_lost',
                       'message', 'The worker that ran this attempt stopped renewing its lease.',
                       'retryable', true, 'attempt', t.attempt,
                       'details', jsonb_build_object('worker', t.worker_id, 'lost_claims', t.crashes + 1)) as error) n
        where t.id = any(p_tasks) and t.workflow_id = any(p_workflows) and t.status = 'running'
          and (t.lease_until < p_now or p_dead and not coalesce(t.worker_id = any(v_alive), false))
        order by t.id
        for no key update of t);
end
$$;
comment on function workflow.lost_claims is 'Internal: completions for tasks whose lease has run out';

-- Looks through the live workflows by id, p_limit at a time, for tasks whose job is gone: nobody would ever claim them, or
-- notice that their lease ran out. None should exist; a foreign procrastinate worker that serves all queues, or a hand
-- in the job table, makes them.
--
-- Returns {"mended": tasks, "last": id}: call again with p_after = last until that is null.
create or replace function workflow.sweep_lost_jobs(
    p_after uuid default null, p_max_crashes integer default 3, p_limit integer default 100) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_live      uuid[];
    v_workflow  uuid;
    v_tasks     bigint[];
    v_lost      workflow.completion[] := '{}';
    v_mended    integer := 0;
begin
    v_live := array(
        select w.id from workflow.workflows w
        where w.finished_at is null and (p_after is null or w.id > p_after) order by w.id limit p_limit);
    for v_workflow in
        select distinct t.workflow_id from workflow.tasks t
        where t.workflow_id = any(v_live)
          and (t.status in ('pending', 'scheduled', 'running') or t.status = 'waiting' and t.scheduled_at is not null)
          and not exists (
            select 1 from workflow.jobs j where j.id = t.job_id and j.status in ('todo', 'doing') offset 0)
        order by 1
    loop
        -- One in the middle of a transition is looked at next time.
        continue when not exists (
            select 1 from workflow.workflows w where w.id = v_workflow and w.finished_at is null
            for no key update skip locked);
        v_mended := v_mended + workflow.ensure_jobs(v_workflow);
        v_tasks := array(
            select t.id from workflow.tasks t where t.workflow_id = v_workflow and t.status = 'running' and not exists (
                select 1 from workflow.jobs j where j.id = t.job_id and j.status = 'doing' offset 0));
        v_lost := v_lost || workflow.lost_claims(v_tasks, array[v_workflow], p_max_crashes, v_now);
    end loop;
    if v_lost <> '{}' then
        perform workflow.settle(v_lost);  -- all at once: it locks what they held, in order
        v_mended := v_mended + cardinality(v_lost);
    end if;
    return jsonb_build_object('mended', v_mended, 'last', case when cardinality(v_live) = p_limit then v_live[p_limit] end);
end
$$;
comment on function workflow.sweep_lost_jobs is 'Give tasks of live workflows whose job is gone a new one; returns how many and where to go on';

-- Removes jobs that hold a claim without a running task behind them (a leaked job would count as running for ever).
create or replace function workflow.sweep_leaked_jobs(p_limit integer default 500) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_count integer;
begin
    with leaked as (
        select j.id from workflow.jobs j
        where j.status = 'doing' and not exists (
            select 1 from workflow.tasks t
            where t.id = (j.args ->> 'task_id')::bigint and t.job_id = j.id and t.status = 'running')
        limit p_limit
        for update skip locked
    )
    delete from workflow.jobs j using leaked l where j.id = l.id;
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function workflow.sweep_leaked_jobs is 'Remove claimed jobs that no running task stands behind';

-- Forgets answered idempotency keys after a day and stopped or dead workers after p_keep.
create or replace function workflow.sweep_retired(p_keep interval default interval '24 hours', p_limit integer default 500)
    returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now timestamptz := workflow.clock();
    v_count integer;
    v_workers integer;
    v_keys integer;
begin
    delete from workflow.start_keys k where (k.name, k.key) in (
        select o.name, o.key from workflow.start_keys o
        where o.expires_at < v_now limit p_limit for update skip locked);
    get diagnostics v_keys = row_count;
    delete from workflow.idempotency_keys k where (k.principal, k.key) in (
        select o.principal, o.key from workflow.idempotency_keys o
        where o.created_at < v_now - interval '24 hours' limit p_limit for update skip locked);
    get diagnostics v_count = row_count;
    delete from workflow.workers w where w.id in (
        select o.id from workflow.workers o where o.last_heartbeat_at < v_now - p_keep limit p_limit
        for update skip locked);
    get diagnostics v_workers = row_count;
    return v_keys + v_count + v_workers;
end
$$;
comment on function workflow.sweep_retired is 'Forget old keys of starts and long gone workers';
