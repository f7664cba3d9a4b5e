-- Orphaned workflows: live ones with a task that nobody moves any more. Why, by task:
--   worker_dead   it runs on a worker that is dead, has stopped or is unknown
--   lock_expired  its lease has run out, although its worker lives
--   lost_wakeup   it waits for a worker or a time (or one holds it no longer), and its job is gone
-- The leader takes them back by itself: the first two when the lease has run out, the third in its round of the live
-- workflows. A task whose lease is valid on a worker that lives, draining or not, is nobody's orphan.

-- The tasks that make workflows orphans, longest first.
--
-- p_workflows      only these; null = all that run and, for lost_wakeup, the oldest p_scan live workflows. What runs is found
--                  by its jobs, as many as there are busy slots; so this costs the same with a million live workflows.
-- p_grace_seconds  so long after the start of Postgres nothing that runs is judged: nobody could renew or beat before.
create or replace function workflow.orphaned_tasks(
    p_workflows uuid[] default null, p_grace_seconds double precision default 0, p_scan integer default 1000)
    returns setof workflow.orphaned_task
language plpgsql stable  -- so all of it sees one moment, and a task beside its job
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_judged    boolean := clock_timestamp() >= pg_postmaster_start_time() + make_interval(secs => p_grace_seconds);
    v_alive     bigint[] := workflow.live_workers(v_now);
    v_live      uuid[] := p_workflows;
    v_running   bigint[];
    v_held      bigint[] := '{}';
    v_lost      bigint[];
begin
    if p_workflows is null then
        v_live := array(select w.id from workflow.workflows w where w.finished_at is null order by w.id limit p_scan);
        v_running := array(
            select (j.args ->> 'task_id')::bigint from workflow.jobs j
            where j.status = 'doing');
    else
        v_running := array(select t.id from workflow.tasks t where t.workflow_id = any(v_live) and t.status = 'running');
    end if;
    if v_judged then
        v_held := array(
            select t.id from workflow.tasks t
            where t.id = any(v_running) and t.status = 'running'
              and (t.lease_until < v_now or not coalesce(t.worker_id = any(v_alive), false)));
    end if;
    v_lost := array(
        select t.id from workflow.tasks t
        where t.workflow_id = any(v_live) and not exists (
                  select 1 from workflow.jobs j where j.id = t.job_id and j.status in ('todo', 'doing') offset 0)
          and (t.status in ('pending', 'scheduled') or t.status = 'waiting' and t.scheduled_at is not null
               or v_judged and t.status = 'running' and (t.lease_until < v_now or not coalesce(t.worker_id = any(v_alive), false))));

    return query
    select w.id, w.name, w.version, w.status, t.id, s.id, t.status, t.attempt, t.worker_id, k.name, t.lease_until,
           r.reason,
           case r.reason
               when 'worker_dead' then coalesce(k.stopped_at, k.last_heartbeat_at, least(t.lease_until, v_now))
               when 'lock_expired' then t.lease_until
               else least(coalesce(t.lease_until, t.scheduled_at, t.pending_since), v_now) end
    from workflow.tasks t
    cross join lateral (
        select w.id, w.name, w.version, w.status from workflow.workflows w
        where w.id = t.workflow_id and w.finished_at is null offset 0) w
    cross join lateral (
        select s.id from workflow.definition_steps s
        where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
    left join workflow.workers k on k.id = t.worker_id
    cross join lateral (select case
        when t.id = any(v_lost) then 'lost_wakeup'
        when t.worker_id = any(v_alive) then 'lock_expired'
        else 'worker_dead' end as reason) r
    where t.id = any(v_held || v_lost)
    order by 13, w.id, t.id;
end
$$;
comment on function workflow.orphaned_tasks is 'The tasks that make live workflows orphans, and why';

-- Workers that live: three heartbeats may be late.
create or replace function workflow.live_workers(p_now timestamptz) returns bigint[]
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = on  -- the only plan; forbidden by the caller, it costs so much before PostgreSQL 18 that it is compiled
set jit = off
as $$
begin
    return array(
        select w.id from workflow.workers w
        where w.status <> 'stopped' and w.last_heartbeat_at >= p_now - make_interval(secs => 3 * w.heartbeat_seconds));
end
$$;
comment on function workflow.live_workers is 'Internal: ids of the workers that live';

-- Makes orphaned workflows go on, or ends them. Claims of dead workers and expired leases are taken back at once, as the
-- leader's sweep does it: recorded as lost, so that a late result is stale, and failed as worker_lost once p_max_crashes
-- claims were lost. Tasks whose job is gone get a new one.
--
-- p_action     'recover' or 'cancel'.
-- p_workflows  only these; null = the first p_limit that workflow.orphaned_tasks finds.
-- p_dry_run    change nothing, say what would be done.
--
-- Returns {"recovered": [ids], "cancelled": [ids], "skipped": [{"id", "why"}], "tasks": {reason: count}}; called again it
-- finds none of them. Waits at most a second for workflows that another transaction holds, and skips them then.
create or replace function workflow.recover_orphaned(
    p_action text default 'recover', p_workflows uuid[] default null, p_dry_run boolean default false,
    p_max_crashes integer default 3, p_grace_seconds double precision default 0, p_limit integer default 100) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_asked     uuid[] := p_workflows;
    v_locked    uuid[];
    v_orphans   workflow.orphaned_task[];
    v_found     uuid[];
    v_lost      workflow.completion[] := '{}';
    v_workflow  uuid;
begin
    if p_action not in ('recover', 'cancel') then
        raise exception 'An action is recover or cancel.' using errcode = 'WF422', detail = 'invalid-parameter';
    end if;
    if v_asked is null then
        v_asked := array(
            select o.workflow_id from workflow.orphaned_tasks(null, p_grace_seconds) o
            group by o.workflow_id order by min(o.since), o.workflow_id limit p_limit);
    end if;
    v_locked := case when p_dry_run then v_asked else workflow.lock_workflows(v_asked) end;
    -- Looked at again, now that no completion of theirs is under way.
    v_orphans := array(select o from workflow.orphaned_tasks(v_locked, p_grace_seconds) o);

    if p_action = 'recover' and not p_dry_run and v_orphans <> '{}' then
        v_lost := workflow.lost_claims(
            array(select o.task_id from unnest(v_orphans) o where o.status = 'running'), v_locked, p_max_crashes,
            workflow.clock(), true);
        if v_lost <> '{}' then
            perform workflow.settle(v_lost);
        end if;
        -- Those that renewed their lease in the meantime are nobody's orphans any more.
        v_orphans := array(
            select o from unnest(v_orphans) o
            where o.status <> 'running' or o.task_id in (select l.task_id from unnest(v_lost) l));
    end if;
    v_found := array(select o.workflow_id from unnest(v_orphans) o group by 1 order by min(o.since), 1);
    if p_dry_run or v_found = '{}' then
        null;
    elsif p_action = 'cancel' then
        perform workflow.cancel_live(v_found, 'It was orphaned.');
    else
        foreach v_workflow in array v_found loop
            perform workflow.ensure_jobs(v_workflow);
        end loop;
    end if;

    return jsonb_build_object(
        'recovered', case when p_action = 'recover' then to_jsonb(v_found) else '[]' end,
        'cancelled', case when p_action = 'cancel' then to_jsonb(v_found) else '[]' end,
        'skipped', (
            select coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'why', case
                when w.id is null then 'There is no workflow with this id.'
                when w.status in ('succeeded', 'failed', 'cancelled') then format('It has ended: %s.', w.status)
                when not a.id = any(v_locked) then 'Another transaction is at work on it; try again.'
                else 'It is not orphaned.' end) order by a.ord), '[]')
            from unnest(v_asked) with ordinality as a(id, ord)
            left join workflow.workflows w on w.id = any(v_asked) and w.id = a.id
            where not a.id = any(v_found)),
        'tasks', (
            select coalesce(jsonb_object_agg(r.reason, r.count), '{}')
            from (select o.reason, count(*) from unnest(v_orphans) o group by 1) r));
end
$$;
comment on function workflow.recover_orphaned is 'Make orphaned workflows go on, or end them; returns which';

-- Locks workflows in the order of their ids and returns those of them that have not ended. Waits at most a second; then it
-- leaves out those that another transaction holds, which must not keep the others waiting.
create or replace function workflow.lock_workflows(p_workflows uuid[]) returns uuid[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set lock_timeout = '1s'
as $$
begin
    begin
        perform 1 from workflow.workflows w where w.id = any(p_workflows) order by w.id for no key update;
    exception when lock_not_available then
        null;
    end;
    return array(
        select w.id from workflow.workflows w
        where w.id = any(p_workflows) and w.finished_at is null
        order by w.id
        for no key update skip locked);
end
$$;
comment on function workflow.lock_workflows is 'Internal: lock live workflows, waiting for a second at most';
