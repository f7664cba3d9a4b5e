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
    insert into workflow.samples (at, pending, running, active_workflows, attempts_ended, queues)
    select v_now, coalesce(sum(d.pending), 0), coalesce(sum(d.running), 0),
           (select count(*) from workflow.workflows w where w.finished_at is null),
           (select coalesce(sum(s.n_tup_ins), 0) from pg_stat_user_tables s
            where s.schemaname = 'workflow' and s.relname like 'attempt\_history%'),
           coalesce(jsonb_object_agg(d.queue, d.pending) filter (where d.pending > 0), '{}')
    from workflow.queue_depth d
    on conflict do nothing;
    delete from workflow.samples s
    where s.at = any(array(select o.at from workflow.samples o where o.at < v_now - p_keep order by o.at limit 1000));
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
        where s.at > workflow.clock() - p_window
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
