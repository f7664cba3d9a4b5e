-- What follows when tasks have ended: their successors count down and become pending, failed or skipped; those that end
-- here have successors too; then the workflows whose final steps have all ended, or which failed fast, are finished.
--
-- The caller holds the workflow rows. Returns the tasks that were cancelled inside scopes that failed: what they held is for
-- workflow.free_resources. Per edge it costs one counter, never a scan of the workflow's tasks. Not p_linked: no step that ended here
-- has successors, as the caller knows.
--
-- How the plans are kept flat: a plan is kept for a session and may have been made while the tables were small. Lookups of
-- single rows are lateral with `offset 0`, which can only be planned as one probe by key per row; updates name their rows
-- by an array of keys and are matched with their new values by hash, as nested loops and merges are off (a merge
-- would walk the whole index in order before PostgreSQL 17, the keys being a filter only).
create or replace function workflow.advance(
    p_ended workflow.ended_task[], p_now timestamptz, p_linked boolean default true) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set enable_hashjoin = on
set plan_cache_mode = force_generic_plan  -- a wave must not be planned each time: a chain has as many as steps
set jit = off
as $$
declare
    v_all       workflow.ended_task[] := '{}';     -- that may concern their workflow or scope
    v_wave      workflow.ended_task[] := p_ended;
    v_next      workflow.successor[];
    v_tasks     bigint[];   -- of v_next, in its order
    v_ready     workflow.ready_task[];
    v_jobs      bigint[];
    v_goes_on   boolean;    -- some end here: there is another wave
    v_followed  bigint;     -- so many of the wave have not failed and have a follower that has just been blocked
    v_timed     bigint[];
    v_failing   uuid[];
    v_ending    uuid[];     -- done with their steps, not with what their version does at the end
    v_related   uuid[];     -- ended, and a child
    v_handlers  workflow.ended_task[];
    v_scopes    workflow.scope_fact[];
    v_cancelled bigint[] := '{}';
begin
    if not p_linked then
        v_all := p_ended;
    end if;
    while p_linked loop
        with edge as materialized (
            -- One row per successor; a dependency that only orders is counted as ended and as nothing else.
            select e.task_id - e.step_index + x.successor as task_id,
                   min(e.version_id) as version_id,
                   x.successor as step_index,
                   count(*)::integer as ended,
                   count(*) filter (where f.counts = 'succeeded')::integer as succeeded,
                   count(*) filter (where f.counts = 'failed')::integer as failed,
                   count(*) filter (where f.counts = 'skipped')::integer as skipped,
                   count(*) filter (where f.counts = 'unmet')::integer as unmet,
                   -- By its first successor alone, so that each counts once.
                   count(*) filter (where x.successor = s.successors[1] and s.followers is null and s.kind = 'step'
                                      and e.status <> 'failed')::integer as followed
            from unnest(v_wave) e
            cross join lateral (
                select s.successors, s.followers, s.kind, s.tolerated from workflow.definition_steps s
                where s.version_id = e.version_id and s.step_index = e.step_index offset 0) s
            cross join lateral unnest(s.successors) x(successor)
            cross join lateral (
                select n.ordering, n.rule,
                       case when n.conditions is not null then n.conditions -> e.step_index::text end as condition
                from workflow.definition_steps n
                where n.version_id = e.version_id and n.step_index = x.successor offset 0) n
            cross join lateral (select case
                when e.step_index = any(n.ordering) then null
                when e.status = 'succeeded' and n.condition is null then e.status  -- as nearly always
                else workflow.counts_as(e.status, s.tolerated, n.rule, n.condition, case when n.condition ? 'cases' then (
                    select t.output -> 'cases' from workflow.tasks t where t.id = e.task_id) end)
                end as counts) f
            group by 1, 3
        )
        select array_agg(row(x.task_id, x.workflow_id, x.version_id, x.step_index, x.open, x.succeeded, x.failed, x.status,
                             x.queue, x.type, x.priority, x.skipped, x.unmet)::workflow.successor),
               array_agg(x.task_id),
               array_agg(row(x.task_id, x.queue, x.type, x.priority, null)::workflow.ready_task) filter (where x.status = 'pending'),
               array_agg(x.task_id) filter (where x.timed and x.status = 'pending'),
               bool_or(x.status in ('failed', 'skipped')),
               sum(x.followed)
        into v_next, v_tasks, v_ready, v_timed, v_goes_on, v_followed
        from (
        select e.followed, e.task_id, o.workflow_id, e.version_id, e.step_index, o.open - e.ended as open,
               o.succeeded + e.succeeded as succeeded, o.failed + e.failed as failed, o.skipped + e.skipped as skipped,
               o.unmet + e.unmet as unmet, v.status, n.queue, n.type, n.timed, o.priority
        from edge e
        cross join lateral (
            -- One that went on before, as its rule lets it, is not concerned.
            select t.workflow_id, t.open_dependencies as open, t.succeeded_dependencies as succeeded,
                   t.failed_dependencies as failed, t.skipped_dependencies as skipped, t.unmet_dependencies as unmet,
                   t.priority
            from workflow.tasks t where t.id = e.task_id and t.status = 'blocked' offset 0) o
        cross join lateral (
            select s.queue, s.type, s.rule, cardinality(s.dependencies) - cardinality(s.ordering) as total,
                   s.timeouts is not null as timed
            from workflow.definition_steps s
            where s.version_id = e.version_id and s.step_index = e.step_index offset 0) n
        cross join lateral (
            select n.total - (o.succeeded + e.succeeded) - (o.failed + e.failed) - (o.skipped + e.skipped)
                   - (o.unmet + e.unmet) as open offset 0) c
        cross join lateral (
            select workflow.verdict(n.rule, c.open, o.open - e.ended - c.open, n.total, o.succeeded + e.succeeded,
                                    o.failed + e.failed, o.unmet + e.unmet) as status offset 0) v
        order by v.status <> 'pending', e.task_id) x;  -- the pending ones first, in the order of their jobs
        if v_followed is distinct from cardinality(v_wave) then
            v_all := v_all || v_wave;
        end if;
        exit when v_next is null;

        v_jobs := case when v_ready is not null then workflow.enqueue(v_ready) end;

        update workflow.tasks t set
            open_dependencies = n.open,
            succeeded_dependencies = n.succeeded,
            failed_dependencies = n.failed,
            skipped_dependencies = n.skipped,
            unmet_dependencies = n.unmet,
            status = n.status,
            job_id = v_jobs[n.ord],
            pending_since = case when n.status = 'pending' then p_now end,
            finished_at = case when n.status in ('failed', 'skipped') then p_now end,
            error = case when n.status = 'failed' then workflow.upstream_failed() end
        from unnest(v_next) with ordinality
            as n(task_id, workflow_id, version_id, step_index, open, succeeded, failed, status, queue, type, priority,
                 skipped, unmet, ord)
        where t.id = any(v_tasks) and t.id = n.task_id;

        if v_timed is not null then
            perform workflow.set_deadlines(v_timed, p_now, true);
        end if;
        exit when not v_goes_on;

        insert into workflow.events (workflow_id, type, task_id, at, data)
        select n.workflow_id, 'task.' || n.status, n.task_id, p_now,
               case when n.status = 'failed' then jsonb_build_object('error', workflow.upstream_failed()) end
        from unnest(v_next) n where n.status in ('failed', 'skipped');

        v_wave := array(
            select row(n.task_id, n.workflow_id, n.version_id, n.step_index, n.status,
                       case when n.status = 'failed' then workflow.upstream_failed() end)::workflow.ended_task
            from unnest(v_next) n where n.status in ('failed', 'skipped'));
    end loop;
    if v_all = '{}' then
        return '{}';  -- the middle of a chain
    end if;

    -- Count down the tasks that nothing open waits for and note the first failure, per workflow and per scope inside one; both
    -- only where there is something to note. They are the final steps, and after a retry also steps whose followers have all
    -- ended before: so the followers are looked at as they are. Those that ended just now (at p_now) count for themselves.
    with ended as materialized (
        select e, e.workflow_id, e.task_id, s.scope, case when s.scope > 0 then e.task_id - e.step_index end as base,
               s.kind <> 'step' as handler, s.id as step, e.error, f.failed, s.asked,
               f.failed and e.error ->> 'type' is not distinct from 'upstream_failed' as upstream,
               not exists (
                   select 1 from unnest(s.followers) x(follower)
                   cross join lateral (
                       select n.finished_at from workflow.tasks n
                       where n.id = e.task_id - e.step_index + x.follower offset 0) n
                   where n.finished_at is null or n.finished_at = p_now) as final
        from unnest(v_all) e
        cross join lateral (
            select s.id, s.scope, s.kind, coalesce(s.followers, s.successors) as followers, s.tolerated, s.asked
            from workflow.definition_steps s
            where s.version_id = e.version_id and s.step_index = e.step_index offset 0) s
        cross join lateral (select e.status = 'failed' and not s.tolerated as failed) f
    ), tally as (
        select e.workflow_id, e.scope, e.base, e.handler,
               array_agg(e.e) filter (where e.handler) as handlers,
               count(*) filter (where e.final)::integer as final_steps,
               coalesce(min(e.task_id) filter (where e.failed and not e.upstream),
                        min(e.task_id) filter (where e.failed)) as first_failed,
               -- A failure of now: one that was there before, and what comes of it, must not end what an operator has
               -- started again. Nor does one that a step behind it asks for: that one is to run.
               coalesce(bool_or(e.failed and not e.asked and not e.upstream), false) as at_once
        from ended e
        group by 1, 2, 3, 4
    ), fact as materialized (
        select t.*, case when t.first_failed is not null then
                   coalesce(e.error, '{}') || jsonb_build_object('step', e.step, 'task_id', e.task_id::text) end as error
        from tally t left join ended e on e.task_id = t.first_failed
    ), noted as (
        update workflow.workflows w set
            open_tasks = w.open_tasks - f.final_steps,
            error = coalesce(w.error, f.error),
            status = case when w.open_tasks > f.final_steps or w.has_ending then w.status
                          when coalesce(w.error, f.error) is null then 'succeeded' else 'failed' end,
            finished_at = case when w.open_tasks <= f.final_steps and not w.has_ending then p_now end
        from fact f
        where w.id = any(array(select x.workflow_id from fact x)) and w.id = f.workflow_id and f.scope = 0 and not f.handler
          and w.finished_at is null and w.ending is null and (f.final_steps > 0 or f.error is not null)
        returning w.id, w.status, w.open_tasks, w.finished_at, w.error, w.fail_fast, w.parent_task_id, f.at_once
    ), event as (
        insert into workflow.events (workflow_id, type, at, data)
        select n.id, 'workflow.' || n.status, p_now,
               case when n.error is not null then jsonb_build_object('error', n.error) end
        from noted n where n.finished_at is not null
    )
    -- A failure of now: one that was there before, and what comes of it, must not end what an operator has started again.
    select (select array_agg(n.id) from noted n where n.open_tasks > 0 and n.fail_fast and n.at_once),
           (select array_agg(n.id) from noted n where n.open_tasks = 0 and n.finished_at is null),
           (select array_agg(n.id) from noted n where n.finished_at is not null and n.parent_task_id is not null),
           (select array_agg(h) from fact x cross join lateral unnest(x.handlers) h where x.handler),
           array_agg(row(f.base, f.final_steps, f.error, f.at_once)::workflow.scope_fact)
               filter (where f.scope > 0 and not f.handler and (f.final_steps > 0 or f.error is not null))
    into v_failing, v_ending, v_related, v_handlers, v_scopes
    from fact f;

    if v_scopes is not null then
        v_cancelled := workflow.end_scopes(v_scopes, p_now);
    end if;
    if v_failing is not null then
        perform workflow.end_workflows(v_failing, 'failed', p_now);
    end if;
    if v_ending is not null then
        perform workflow.begin_ending(v_ending, null, p_now);
    end if;
    if v_handlers is not null then
        perform workflow.end_handlers(v_handlers, p_now);
    end if;
    if v_related is not null then
        perform workflow.after_end(v_related, p_now);
    end if;
    return v_cancelled;
end
$$;
comment on function workflow.advance is 'Internal: what follows when tasks have ended';

-- The error of a task that could not run because one before it failed.
create or replace function workflow.upstream_failed() returns jsonb
language sql immutable parallel safe
as $$
    select '{"type": "upstream_failed", "message": "A step it depends on failed.", "retryable": false, "attempt": 0,
             "details": {}}'::jsonb
$$;
comment on function workflow.upstream_failed is 'Internal: the error of a task that could not run';
