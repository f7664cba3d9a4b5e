-- Where the live workflows stand: gauges beside those of workflow.gauges, whose cost grows with the number of live workflows,
-- so that they are read less often.
--
-- p_grace_seconds  see workflow.orphaned_tasks.
--
-- Returns {"workflows": {status: n}, "paused": n, "orphaned": n, "definitions": n, "versions": {definition: n},
-- "slots_used": {queue: n}}.
create or replace function workflow.workflow_gauges(p_grace_seconds double precision default 0) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set jit = off
as $$
begin
    return (
        with live as materialized (
            select w.name, w.version_id, w.status, w.paused_at is not null as paused, count(*) as n
            from workflow.workflows w where w.finished_at is null group by 1, 2, 3, 4
        )
        select jsonb_build_object(
            'workflows', jsonb_build_object(
                'pending', coalesce(sum(l.n) filter (where l.status = 'pending'), 0),
                'running', coalesce(sum(l.n) filter (where l.status = 'running'), 0)),
            'paused', coalesce(sum(l.n) filter (where l.paused), 0),
            'versions', (
                select coalesce(jsonb_object_agg(v.name, v.n), '{}')
                from (select l.name, count(distinct l.version_id) as n from live l group by 1) v))
        from live l
    ) || jsonb_build_object(
        'orphaned', (select count(distinct o.workflow_id) from workflow.orphaned_tasks(null, p_grace_seconds) o),
        'definitions', (select count(*) from workflow.definitions d where d.disabled_at is null),
        'slots_used', (
            select coalesce(jsonb_object_agg(s.queue, s.used), '{}')
            from (select q.queue, count(j.id) as used
                  from workflow.workers w
                  cross join lateral unnest(w.queues) q(queue)
                  left join workflow.jobs j on j.worker_id = w.queue_worker_id and j.status = 'doing'
                  where w.id = any(workflow.live_workers(workflow.clock())) and w.status = 'active'
                  group by 1) s));
end
$$;
comment on function workflow.workflow_gauges is 'Where the live workflows stand: more of what every replica exports as gauges';

-- The definitions that have a label of their own in the metrics, at most p_most: those that the last 10,000 workflows used
-- most, then the oldest.
create or replace function workflow.definition_labels(p_most integer) returns text[]
language sql stable
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
    select array(
        select d.name
        from workflow.definitions d
        left join (
            select w.name, count(*) as used
            from (select w.name from workflow.workflows w order by w.id desc limit 10000) w
            group by 1) u on u.name = d.name
        where d.disabled_at is null
        order by u.used desc nulls last, d.created_at, d.name
        limit p_most)
$$;
comment on function workflow.definition_labels is 'The definitions that have a label of their own in the metrics';
