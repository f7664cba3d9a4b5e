-- Takes expired leases back: the attempt is recorded as lost and the task becomes pending again, or fails as
-- worker_lost once p_max_crashes claims were lost. Bounded; call again while the counts add up to p_limit.
-- While Postgres was away nobody could renew, so for p_grace_seconds after its start nothing is taken back.
-- The predicate is repeated under the locks (settle's fence and the lease itself), so two leaders at once do no harm.
create or replace function workflow.sweep_expired_leases(
    p_max_crashes integer default 3, p_grace_seconds double precision default 0, p_limit integer default 500)
    returns table (recovered integer, failed integer)
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set lock_timeout = '1s'
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_expired   bigint[];
    v_workflows uuid[];
    v_lost      workflow.completion[];
begin
    if clock_timestamp() < pg_postmaster_start_time() + make_interval(secs => p_grace_seconds) then
        return query select 0, 0;
        return;
    end if;
    -- Running tasks are found by their jobs: as many as there are busy slots, however large the tables.
    v_expired := array(
        select t.id from workflow.tasks t
        where t.id = any(array(
                  select (j.args ->> 'task_id')::bigint from procrastinate_jobs j
                  where j.status = 'doing' and starts_with(j.task_name, 'workflow:')))
          and t.status = 'running' and t.lease_until < v_now
        limit p_limit);
    v_workflows := array(select distinct t.workflow_id from workflow.tasks t where t.id = any(v_expired));

    -- The workflow rows are locked first (lock order), so no completion is in flight when we look again. One that
    -- somebody's long transaction holds is left for the next sweep: it must not stop the recovery of all others.
    begin
        perform 1 from workflow.workflows w where w.id = any(v_workflows) order by w.id for no key update;
    exception when lock_not_available then
        v_workflows := array(
            select w.id from workflow.workflows w where w.id = any(v_workflows) for no key update skip locked);
    end;

    v_lost := array(
        select row(t.id, t.attempt, t.lease_token, 'lost',
                   case when t.crashes + 1 >= p_max_crashes then 'failed' end, null, null,
                   jsonb_build_object(
                       'type', 'worker_lost',
                       'message', 'The worker that ran this attempt stopped renewing its lease.',
                       'retryable', true, 'attempt', t.attempt,
                       'details', jsonb_build_object('worker', t.worker_id, 'lost_claims', t.crashes + 1)),
                   null)::workflow.completion
        from workflow.tasks t
        where t.id = any(v_expired) and t.workflow_id = any(v_workflows)
          and t.status = 'running' and t.lease_until < v_now
        order by t.id
        for no key update);
    if v_lost <> '{}' then
        perform workflow.settle(v_lost);
    end if;
    recovered := (select count(*) from unnest(v_lost) l where l.next is null);
    failed := cardinality(v_lost) - recovered;
    return next;
end
$$;
comment on function workflow.sweep_expired_leases is 'Take expired leases back; returns how many tasks run again and how many failed';

-- Removes jobs that hold a claim without a running task behind them (a leaked job would count as running for ever).
create or replace function workflow.sweep_leaked_jobs(p_limit integer default 500) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_count integer;
begin
    with leaked as (
        select j.id from procrastinate_jobs j
        where j.status = 'doing' and starts_with(j.task_name, 'workflow:') and not exists (
            select 1 from workflow.tasks t
            where t.id = (j.args ->> 'task_id')::bigint and t.job_id = j.id and t.status = 'running')
        limit p_limit
        for update skip locked
    )
    delete from procrastinate_jobs j using leaked l where j.id = l.id;
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
as $$
declare
    v_now timestamptz := workflow.clock();
    v_count integer;
    v_workers integer;
begin
    delete from workflow.idempotency_keys k where (k.principal, k.key) in (
        select o.principal, o.key from workflow.idempotency_keys o
        where o.created_at < v_now - interval '24 hours' limit p_limit for update skip locked);
    get diagnostics v_count = row_count;
    delete from workflow.workers w where w.id in (
        select o.id from workflow.workers o where o.last_heartbeat_at < v_now - p_keep limit p_limit
        for update skip locked);
    get diagnostics v_workers = row_count;
    return v_count + v_workers;
end
$$;
comment on function workflow.sweep_retired is 'Forget old idempotency keys and long gone workers';
