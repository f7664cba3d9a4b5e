-- What follows when tasks have ended: their successors count down and become pending, failed or skipped; those that end
-- here have successors too; then the workflows whose final steps have all ended, or which failed fast, are finished.
--
-- The caller holds the workflow rows. Per edge it costs one counter, never a scan of the workflow's tasks.
create or replace function workflow.advance(p_ended workflow.ended_task[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_all       workflow.ended_task[] := p_ended;
    v_wave      workflow.ended_task[] := p_ended;
    v_ready     workflow.ready_task[];
    v_failing   uuid[];
begin
    while v_wave is not null loop
        with edge as (
            -- One row per successor; a dependency that only orders is counted as ended and as nothing else.
            select e.task_id - e.step_index + x.successor as task_id,
                   count(*)::integer as ended,
                   count(*) filter (where f.counts and f.succeeded)::integer as succeeded,
                   count(*) filter (where f.counts and not f.succeeded and e.status <> 'skipped')::integer as failed
            from unnest(v_wave) e
            join workflow.definition_steps s on s.version_id = e.version_id and s.step_index = e.step_index
            cross join unnest(s.successors) x(successor)
            cross join lateral (
                -- `offset 0` keeps this a lookup by key; as a join it may be planned as a scan of the version's steps.
                select n.ordering from workflow.definition_steps n
                where n.version_id = e.version_id and n.step_index = x.successor offset 0) n
            cross join lateral (select
                not (e.step_index = any(n.ordering)) as counts,
                e.status = 'succeeded' or e.status = 'failed' and s.tolerated as succeeded) f
            group by 1
        ), counted as (
            update workflow.tasks t set
                open_dependencies = t.open_dependencies - e.ended,
                succeeded_dependencies = t.succeeded_dependencies + e.succeeded,
                failed_dependencies = t.failed_dependencies + e.failed,
                status = v.status,
                pending_since = case when v.status = 'pending' then p_now end,
                finished_at = case when v.status in ('failed', 'skipped') then p_now end,
                error = case when v.status = 'failed' then jsonb_build_object(
                    'type', 'upstream_failed', 'message', 'A step it depends on failed.',
                    'retryable', false, 'attempt', 0, 'details', '{}'::jsonb) end
            from edge e
            join workflow.tasks o on o.id = any(array(select x.task_id from edge x)) and o.id = e.task_id
            join workflow.definition_steps n on n.version_id = o.version_id and n.step_index = o.step_index
            cross join lateral (select case
                when o.open_dependencies > e.ended then 'blocked'
                -- rule `auto`: run if nothing failed and at least one dependency succeeded; all skipped, skipped
                when o.failed_dependencies + e.failed > 0 then 'failed'
                when o.succeeded_dependencies + e.succeeded > 0 then 'pending'
                when cardinality(n.dependencies) > cardinality(n.ordering) then 'skipped'
                else 'pending' end as status) v
            where t.id = any(array(select x.task_id from edge x)) and t.id = e.task_id and t.status = 'blocked'
            returning t.id, t.workflow_id, t.version_id, t.step_index, t.status, t.error, n.queue, n.type, t.priority
        ), event as (
            insert into workflow.events (workflow_id, type, task_id, at, data)
            select c.workflow_id, 'task.' || c.status, c.id, p_now,
                   case when c.error is not null then jsonb_build_object('error', c.error) end
            from counted c where c.status in ('failed', 'skipped')
        )
        select array_agg(row(c.id, c.queue, c.type, c.priority, null)::workflow.ready_task order by c.id)
                   filter (where c.status = 'pending'),
               array_agg(row(c.id, c.workflow_id, c.version_id, c.step_index, c.status, c.error)::workflow.ended_task)
                   filter (where c.status in ('failed', 'skipped'))
        into v_ready, v_wave
        from counted c
        where c.status <> 'blocked';

        if v_ready is not null then
            update workflow.tasks t set job_id = r.job_id
            from unnest(v_ready, workflow.enqueue(v_ready))
                as r(task_id, queue, type, priority, scheduled_at, job_id)
            where t.id = any(array(select x.task_id from unnest(v_ready) x)) and t.id = r.task_id;
        end if;
        if v_wave is not null then
            v_all := v_all || v_wave;
        end if;
    end loop;

    -- Count down the tasks that nothing open waits for and note the first failure; both only where there is something to
    -- note. They are the final steps, and after a retry also steps whose successors have all ended before: so the
    -- successors are looked at as they are. Those that ended just now (at p_now) count for themselves.
    with fact as materialized (
        select e.workflow_id,
               count(*) filter (where not exists (
                   select 1 from unnest(s.successors) x(successor)
                   join workflow.tasks n on n.id = e.task_id - e.step_index + x.successor
                   where n.finished_at is null or n.finished_at = p_now))::integer as final_steps,
               (array_agg(coalesce(e.error, '{}') || jsonb_build_object('step', s.id, 'task_id', e.task_id::text)
                          order by (e.error ->> 'type' = 'upstream_failed'), e.task_id)
                   filter (where e.status = 'failed' and not s.tolerated))[1] as error
        from unnest(v_all) e
        join workflow.definition_steps s on s.version_id = e.version_id and s.step_index = e.step_index
        group by 1
    ), noted as (
        update workflow.workflows w set
            open_tasks = w.open_tasks - f.final_steps,
            error = coalesce(w.error, f.error),
            status = case when w.open_tasks > f.final_steps then w.status
                          when coalesce(w.error, f.error) is null then 'succeeded' else 'failed' end,
            finished_at = case when w.open_tasks <= f.final_steps then p_now end
        from fact f
        where w.id = any(array(select x.workflow_id from fact x)) and w.id = f.workflow_id
          and w.finished_at is null and (f.final_steps > 0 or f.error is not null)
        returning w.id, w.status, w.finished_at, w.error, w.fail_fast
    ), event as (
        insert into workflow.events (workflow_id, type, at, data)
        select n.id, 'workflow.' || n.status, p_now,
               case when n.error is not null then jsonb_build_object('error', n.error) end
        from noted n where n.finished_at is not null
    )
    select array_agg(n.id) into v_failing
    from noted n
    where n.finished_at is null and n.error is not null and n.fail_fast;

    if v_failing is not null then
        perform workflow.end_workflows(v_failing, 'failed', p_now);
    end if;
end
$$;
comment on function workflow.advance is 'Internal: what follows when tasks have ended';
