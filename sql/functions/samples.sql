-- How it was: a row of workflow.samples every now and then, for the lines on the pages.

-- Notes where the engine stands, and forgets what is older than p_keep, some rows at each call. How many attempts have ended is what
-- Postgres counts of the rows that were added to their history: it costs nothing, and is right to within a second or a rolled
-- back turn.
create or replace function workflow.take_sample(p_keep interval default interval '1 day') returns void
language plpgsql volatile
set search_path = public, pg_temp
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
begin
    insert into workflow.samples (
        at, pending, running, active_workflows, attempts_ended, queues, oldest, workflows_ended, workflows_failed,
        mirror_excess)
    with job as (
        select j.queue_name as queue,
               count(*) filter (where j.status = 'todo' and (j.scheduled_at is null or j.scheduled_at <= v_now)) as pending,
               count(*) filter (where j.status = 'doing') as running,
               min(j.id) filter (where j.status = 'todo' and j.scheduled_at is null and j.woken_at is null) as oldest_job,
               min(j.woken_at) filter (where j.status = 'todo' and j.scheduled_at is null) as woken_at
        from workflow.jobs j
        group by j.queue_name
    ), depth as (
        select j.queue, j.pending, j.running,
               round(greatest(extract(epoch from v_now - least(t.pending_since, j.woken_at)), 0), 1) as oldest
        from job j
        left join lateral (
            select t.pending_since
            from workflow.jobs o join workflow.tasks t on t.id = (o.args ->> 'task_id')::bigint
            where o.id = j.oldest_job offset 0) t on true
    )
    select v_now, coalesce(sum(d.pending), 0), coalesce(sum(d.running), 0),
           (select count(*) from workflow.workflows w where w.finished_at is null),
           (select coalesce(sum(s.n_tup_ins), 0) from pg_stat_user_tables s
            where s.schemaname = 'workflow' and s.relname like 'attempt\_history%'),
           coalesce(jsonb_object_agg(d.queue, d.pending) filter (where d.pending > 0), '{}'),
           coalesce(jsonb_object_agg(d.queue, d.oldest) filter (where d.oldest is not null), '{}'),
           (select c.ended from workflow.counted_events c), (select c.failed from workflow.counted_events c),
           -- The list in Redis holds 100,000 at most. Its length is the leader's to know.
           (select max((e.facts ->> 'mirror_length')::bigint) from workflow.engines e
            where e.heard_at > v_now - interval '30 seconds') - least(coalesce(sum(d.pending), 0), 100000)
    from depth d
    on conflict do nothing;
    delete from workflow.samples s
    where s.at = any(array(select o.at from workflow.samples o where o.at < v_now - p_keep order by o.at limit 1000));
    perform workflow.sweep_daily_ends();
end
$$;
comment on function workflow.take_sample is 'Note where the engine stands; the leader does so every ten seconds';

-- The last p_window as p_points rows, oldest first: of each stretch of time its highest number of pending tasks, and the attempts that
-- ended in it by the minute. Stretches in which nobody looked are left out; of the first one nothing is known to have ended.
create or replace function workflow.history_of_load(p_window interval default interval '1 hour', p_points integer default 120)
    returns table (at timestamptz, pending bigint, running bigint, active_workflows bigint, ended_per_minute double precision,
                   queues jsonb)
language sql stable
set search_path = public, pg_temp
as $$
    with stretch as (
        select width_bucket(extract(epoch from s.at), extract(epoch from workflow.clock() - p_window),
                            extract(epoch from workflow.clock()), p_points) as number,
               max(s.at) as at, max(s.pending) as pending, max(s.running) as running,
               max(s.active_workflows) as active_workflows, (array_agg(s.attempts_ended order by s.at desc))[1] as ended,
               (array_agg(s.queues order by s.pending desc))[1] as queues
        from workflow.samples s
        where s.at > (select workflow.clock()) - p_window
        group by 1
    )
    select t.at, t.pending, t.running, t.active_workflows,
           (60 * greatest(t.ended - lag(t.ended) over before, 0)
            / nullif(extract(epoch from t.at - lag(t.at) over before), 0))::double precision, t.queues
    from stretch t
    window before as (order by t.at)
    order by t.at
$$;
comment on function workflow.history_of_load is 'How many tasks were pending and how many attempts ended, over a time';

-- The last p_window of one queue as p_points rows, oldest first: of each stretch of time the most tasks that were pending in it, and
-- the longest that one had waited. Stretches in which nobody looked are left out.
create or replace function workflow.history_of_queue(
    p_queue text, p_window interval default interval '1 hour', p_points integer default 120)
    returns table (at timestamptz, pending bigint, oldest_seconds double precision)
language sql stable
set search_path = public, pg_temp
as $$
    with present as materialized (
        select workflow.clock() as at
    )
    select max(s.at), max(coalesce((s.queues ->> p_queue)::bigint, 0)),
           max(coalesce((s.oldest ->> p_queue)::double precision, 0))
    from present p
    join workflow.samples s on s.at > p.at - p_window
    group by width_bucket(extract(epoch from s.at), extract(epoch from p.at - p_window), extract(epoch from p.at), p_points)
    order by 1
$$;
comment on function workflow.history_of_queue is 'How many tasks of a queue were pending and how long they had waited, over a time';
