-- Where the engine stands, in one statement: what every replica exports as gauges, and the queues' page shows.
--
-- Returns {"queues": [{"queue", "pending", "scheduled", "held", "running", "oldest_pending_seconds", "slots"}],
-- "active_workflows", "pending_workflow_seconds", "workers": {state: n}, "locks_held", "paused", "approvals_open",
-- "outbox_pending", "outbox_dead", "outbox_pending_seconds"}.
--
-- Its cost follows what is pending, scheduled or running and the live workflows, not what has ended: jobs exist for the
-- former only, and live workflows have an index of their own. Parked jobs (see workflow.never) count as held, not pending.
create or replace function workflow.gauges() returns jsonb
language plpgsql stable
set search_path = public, pg_temp
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    return jsonb_build_object(
        'queues', (
            with job as (
                select j.queue_name as queue,
                       count(*) filter (where j.status = 'todo' and (j.scheduled_at is null or j.scheduled_at <= v_now)) as pending,
                       count(*) filter (where j.status = 'todo' and j.scheduled_at > v_now
                                          and j.scheduled_at < workflow.never()) as scheduled,
                       count(*) filter (where j.status = 'todo' and j.scheduled_at = workflow.never()) as held,
                       count(*) filter (where j.status = 'doing') as running,
                       -- Ids grow as jobs are made; of one that became ready later it is noted when.
                       min(j.id) filter (
                           where j.status = 'todo' and j.scheduled_at is null and j.woken_at is null) as oldest_job,
                       min(j.woken_at) filter (where j.status = 'todo' and j.scheduled_at is null) as woken_at
                from workflow.jobs j
                group by j.queue_name
            ), slot as (
                select q.queue, sum(w.concurrency) as slots
                from workflow.worker_list w cross join lateral unnest(w.queues) q(queue)
                where w.status = 'active'
                group by q.queue
            )
            select coalesce(jsonb_agg(jsonb_build_object(
                       'queue', coalesce(j.queue, s.queue),
                       'pending', coalesce(j.pending, 0),
                       'scheduled', coalesce(j.scheduled, 0),
                       'held', coalesce(j.held, 0),
                       'running', coalesce(j.running, 0),
                       'oldest_pending_seconds', coalesce(greatest(extract(epoch from v_now - least(t.pending_since, j.woken_at)), 0), 0),
                       'slots', coalesce(s.slots, 0)) order by coalesce(j.queue, s.queue)), '[]')
            from job j
            full join slot s on s.queue = j.queue
            left join lateral (
                select t.pending_since
                from workflow.jobs o join workflow.tasks t on t.id = (o.args ->> 'task_id')::bigint
                where o.id = j.oldest_job offset 0) t on true),
        'active_workflows', (select count(*) from workflow.workflows w where w.finished_at is null),
        -- Ids grow with time, so the first live one that is pending is the oldest.
        'pending_workflow_seconds', coalesce((
            select extract(epoch from v_now - w.created_at) from workflow.workflows w
            where w.finished_at is null and w.status = 'pending' order by w.id limit 1), 0),
        'workers', (
            select jsonb_build_object(
                'active', count(*) filter (where w.status = 'active'),
                'draining', count(*) filter (where w.status = 'draining'),
                'dead', count(*) filter (where w.status = 'dead'))
            from workflow.worker_list w),
        'approvals_open', (select count(*) from workflow.approvals a where a.status = 'open'),
        'outbox_pending', (select count(*) from workflow.outbox o where o.status = 'pending'),
        'outbox_dead', (select count(*) from workflow.outbox o where o.status = 'dead'),
        -- From when it was emitted: a target that fails for long shows, however often it is tried.
        'outbox_pending_seconds', coalesce((
            select extract(epoch from v_now - min(o.created_at)) from workflow.outbox o where o.status = 'pending'), 0),
        'locks_held', (select count(*) from workflow.holds h where h.kind = 'lock'),
        'paused', (
            select e.paused_at is not null and (e.paused_until is null or e.paused_until > v_now) from workflow.engine e));
end
$$;
comment on function workflow.gauges is 'Where the engine stands: what every replica exports as gauges';
