-- Lets blocked tasks count anew what they wait for, and decides about them: each is blocked, pending (without a job, see
-- workflow.ensure_jobs), or failed or skipped with its event, as workflow.verdict says. The caller holds the workflow rows.
--
-- Returns those that failed or were skipped, for workflow.advance; until then the workflow counts them as open.
create or replace function workflow.recount(p_tasks bigint[], p_now timestamptz) returns workflow.ended_task[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_counted   workflow.successor[];
    v_ended     workflow.ended_task[];
begin
    v_counted := array(
        select row(t.id, t.workflow_id, t.version_id, t.step_index, d.open, d.succeeded, d.failed, v.status, null, null, null,
                   d.skipped, d.unmet)::workflow.successor
        from unnest(p_tasks) x(id)
        cross join lateral (
            select t.id, t.workflow_id, t.version_id, t.step_index from workflow.tasks t
            where t.id = x.id and t.status = 'blocked' offset 0) t
        cross join lateral (
            select s.dependencies, s.ordering, s.rule, s.conditions,
                   cardinality(s.dependencies) - cardinality(s.ordering) as total
            from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        cross join lateral (
            select count(*) filter (where f.open)::integer as open,
                   count(*) filter (where f.counts = 'succeeded')::integer as succeeded,
                   count(*) filter (where f.counts = 'failed')::integer as failed,
                   count(*) filter (where f.counts = 'skipped')::integer as skipped,
                   count(*) filter (where f.counts = 'unmet')::integer as unmet
            from unnest(s.dependencies) y
            cross join lateral (
                select p.status, p.finished_at, p.output -> 'cases' as cases from workflow.tasks p
                where p.id = t.id - t.step_index + y offset 0) p
            cross join lateral (
                select q.tolerated from workflow.definition_steps q
                where q.version_id = t.version_id and q.step_index = y offset 0) q
            cross join lateral (select
                p.finished_at is null as open,
                case when p.finished_at is not null and not y = any(s.ordering) then workflow.counts_as(
                    p.status, q.tolerated, s.rule, s.conditions -> y::text, p.cases) end as counts) f) d
        cross join lateral (
            select s.total - d.succeeded - d.failed - d.skipped - d.unmet as open offset 0) c
        cross join lateral (
            select workflow.verdict(s.rule, c.open, d.open - c.open, s.total, d.succeeded, d.failed, d.unmet) as status
            offset 0) v);
    update workflow.tasks t set
        status = c.status, open_dependencies = c.open, succeeded_dependencies = c.succeeded,
        failed_dependencies = c.failed, skipped_dependencies = c.skipped, unmet_dependencies = c.unmet,
        pending_since = case when c.status = 'pending' then p_now end,
        finished_at = case when c.status in ('failed', 'skipped') then p_now end,
        error = case when c.status = 'failed' then workflow.upstream_failed() end
    from unnest(v_counted) c
    where t.id = any(p_tasks) and t.id = c.task_id;

    v_ended := array(
        select row(c.task_id, c.workflow_id, c.version_id, c.step_index, c.status,
                   case when c.status = 'failed' then workflow.upstream_failed() end)::workflow.ended_task
        from unnest(v_counted) c where c.status in ('failed', 'skipped'));
    insert into workflow.events (workflow_id, type, task_id, at, data)
    select e.workflow_id, 'task.' || e.status, e.task_id, p_now,
           case when e.error is not null then jsonb_build_object('error', e.error) end
    from unnest(v_ended) e;
    return v_ended;
end
$$;
comment on function workflow.recount is 'Internal: let blocked tasks count anew what they wait for; returns those that end';
