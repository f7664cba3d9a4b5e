-- How long attempts take, and which are slow. Both read the tables, so every replica answers the same.

-- Statistics of the attempts that ended in the last p_window, and of those that run.
--
-- At most p_limit attempts are looked at. When there were more (`sampled`) half of them are the newest, all that ended in the last
-- `covered` seconds, and the others are spread over the window before, so that what runs seldom is seen beside what runs
-- always. Durations are those of attempts that came to an end of their own: succeeded, failed, retried. One that was
-- released, lost, skipped or cancelled says nothing about how long the work takes. Attempts that run are apart, with their
-- durations so far, and so are those that were lost with their worker.
--
-- Returns {"avg_duration", "p50", "p95", "p99", "max", "count", "succeeded", "failed", "retried", "timed_out", "lost",
-- "running", "running_so_far": {"avg_duration", "p50", "p95", "p99", "max"}, "by_type": {<type>: the same}, "window",
-- "sampled", "covered"}. Durations are seconds, 0 where nothing was found.
create or replace function workflow.task_stats(
    p_window interval default interval '1 hour', p_type text default null, p_limit integer default 20000) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    c_parts     constant integer := 48;     -- into which the time before the newest is divided
    v_now       timestamptz := workflow.clock();
    v_since     timestamptz := v_now - p_window;
    v_newest    integer := p_limit;         -- so many of the newest
    v_edge      timestamptz;                -- and some of what ended before then
    v_stats     jsonb;
    v_by_type   jsonb;
begin
    if (select count(*) from (
            select 1 from workflow.attempt_history h where h.ended_at > v_since limit p_limit + 1) h) > p_limit then
        v_newest := (p_limit + 1) / 2;
        v_edge := (
            select min(h.ended_at) from (
                select h.ended_at from workflow.attempt_history h
                where h.ended_at > v_since order by h.ended_at desc limit v_newest) h);
    end if;
    with newest as materialized (
        (select h.task_id, h.outcome, extract(epoch from h.ended_at - h.started_at)::double precision as seconds,
                h.error ->> 'type' = 'timeout' as timed_out
         from workflow.attempt_history h
         where h.ended_at > v_since
         order by h.ended_at desc
         limit v_newest)
        union all
        select h.task_id, h.outcome, extract(epoch from h.ended_at - h.started_at)::double precision,
               h.error ->> 'type' = 'timeout'
        from generate_series(1, c_parts) n
        cross join lateral (
            select h.* from workflow.attempt_history h
            where h.ended_at > v_since + (n - 1) * (v_edge - v_since) / c_parts
              and h.ended_at <= v_since + n * (v_edge - v_since) / c_parts and h.ended_at < v_edge
            order by h.ended_at desc
            limit p_limit / 2 / c_parts) h
        where v_edge is not null
    ), running as materialized (
        select t.version_id, t.step_index, extract(epoch from v_now - t.started_at)::double precision as seconds
        from workflow.tasks t
        where t.id = any(array(
                  select (j.args ->> 'task_id')::bigint from workflow.jobs j
                  where j.status = 'doing'))
          and t.status = 'running'
    ), sample as materialized (
        select s.type, n.outcome, n.timed_out, n.seconds, n.outcome in ('succeeded', 'failed', 'retried') as ended
        from newest n
        cross join lateral (
            select t.version_id, t.step_index from workflow.tasks t where t.id = n.task_id offset 0) t
        cross join lateral (
            select s.type from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where p_type is null or s.type = p_type
        union all
        select s.type, 'running', false, greatest(r.seconds, 0), false
        from running r
        cross join lateral (
            select s.type from workflow.definition_steps s
            where s.version_id = r.version_id and s.step_index = r.step_index offset 0) s
        where p_type is null or s.type = p_type
    ), stats as (
        select s.type,
               jsonb_build_object(
                   'avg_duration', coalesce(avg(s.seconds) filter (where s.ended), 0),
                   'max', coalesce(max(s.seconds) filter (where s.ended), 0),
                   'count', count(*) filter (where s.ended),
                   'succeeded', count(*) filter (where s.outcome = 'succeeded'),
                   'failed', count(*) filter (where s.outcome = 'failed'),
                   'retried', count(*) filter (where s.outcome = 'retried'),
                   'timed_out', count(*) filter (where s.ended and s.timed_out),
                   'lost', count(*) filter (where s.outcome = 'lost'),
                   'running', count(*) filter (where s.outcome = 'running'))
               || workflow.percentiles(
                   percentile_cont(array[0.5, 0.95, 0.99]) within group (order by s.seconds) filter (where s.ended))
               || jsonb_build_object('running_so_far', jsonb_build_object(
                   'avg_duration', coalesce(avg(s.seconds) filter (where s.outcome = 'running'), 0),
                   'max', coalesce(max(s.seconds) filter (where s.outcome = 'running'), 0))
                   || workflow.percentiles(percentile_cont(array[0.5, 0.95, 0.99]) within group (order by s.seconds)
                       filter (where s.outcome = 'running'))) as stats
        from sample s
        group by grouping sets ((), (s.type))
    )
    select (select x.stats from stats x where x.type is null),
           (select coalesce(jsonb_object_agg(x.type, x.stats), '{}') from stats x where x.type is not null)
    into v_stats, v_by_type;
    return v_stats || jsonb_build_object(
        'by_type', v_by_type,
        'window', extract(epoch from p_window),
        'sampled', v_edge is not null,
        'covered', extract(epoch from case when v_edge is not null then v_now - v_edge else p_window end));
end
$$;
comment on function workflow.task_stats is 'How long attempts take: mean and percentiles, of those that ended lately and those that run';

create or replace function workflow.percentiles(p_values double precision[]) returns jsonb
language sql immutable parallel safe
as $$
    select jsonb_build_object('p50', coalesce(p_values[1], 0), 'p95', coalesce(p_values[2], 0),
                              'p99', coalesce(p_values[3], 0))
$$;
comment on function workflow.percentiles is 'Internal: three percentiles as an object';

-- Attempts that took or have been taking at least p_threshold, longest first: those that ended in the last p_window and
-- those that run.
--
-- From ten seconds on the answer is exact at a cost that depends on p_limit and the hours of the window alone: the index
-- attempt_history_long holds the longest of each hour first. Below, the newest p_scan attempts of the window are looked at.
create or replace function workflow.slow_tasks(
    p_threshold interval default interval '60 seconds', p_window interval default interval '24 hours',
    p_type text default null, p_limit integer default 100, p_scan integer default 20000)
    returns table (
        task_id bigint, workflow_id uuid, workflow_name text, step text, type text, attempt integer, status text,
        duration double precision, started_at timestamptz, finished_at timestamptz, worker text,
        timeout double precision, timeout_from text)
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_since     timestamptz := v_now - p_window;
    -- With a type, the longest of an hour may be of others: look at more of them.
    v_each      integer := case when p_type is null then p_limit else greatest(p_limit, p_scan / 10) end;
begin
    return query
    with slow as materialized (
        select h.task_id, h.attempt, h.outcome, h.worker_id, h.started_at, h.ended_at, h.ended_at - h.started_at as lasted
        from generate_series(date_trunc('hour', v_since at time zone 'utc'), date_trunc('hour', v_now at time zone 'utc'),
                             interval '1 hour') as hour
        cross join lateral (
            select h.* from workflow.attempt_history h
            where date_trunc('hour', h.ended_at at time zone 'utc') = hour
              and h.ended_at - h.started_at > interval '10 seconds'
              and h.ended_at - h.started_at >= p_threshold and h.ended_at > v_since
            order by h.ended_at - h.started_at desc
            limit v_each) h
        where p_threshold > interval '10 seconds'
        union all
        select h.task_id, h.attempt, h.outcome, h.worker_id, h.started_at, h.ended_at, h.ended_at - h.started_at
        from (
            select h.* from workflow.attempt_history h
            where p_threshold <= interval '10 seconds' and h.ended_at > v_since
            order by h.ended_at desc limit p_scan) h
        where h.ended_at - h.started_at >= p_threshold
        union all
        select t.id, t.attempt, 'running', t.worker_id, t.started_at, null, v_now - t.started_at
        from workflow.tasks t
        where t.id = any(array(
                  select (j.args ->> 'task_id')::bigint from workflow.jobs j
                  where j.status = 'doing'))
          and t.status = 'running' and v_now - t.started_at >= p_threshold
    ), longest as materialized (
        select s.*, t.workflow_id, t.version_id, t.step_index, t.timeout_override, d.id as step, d.type
        from slow s
        cross join lateral (
            select t.workflow_id, t.version_id, t.step_index, t.timeout_override
            from workflow.tasks t where t.id = s.task_id offset 0) t
        cross join lateral (
            select d.id, d.type from workflow.definition_steps d
            where d.version_id = t.version_id and d.step_index = t.step_index offset 0) d
        where p_type is null or d.type = p_type
        order by s.lasted desc, s.task_id, s.attempt
        limit p_limit
    )
    select l.task_id, l.workflow_id, w.name, l.step, l.type, l.attempt, l.outcome,
           extract(epoch from l.lasted)::double precision, l.started_at, l.ended_at, k.name,
           coalesce(l.timeout_override, v.seconds, y.timeout, y.handler_timeout),
           case when l.timeout_override is not null then 'retry' when v.seconds is not null then 'step'
                when y.timeout is not null then 'type' when y.handler_timeout is not null then 'handler' end
    from longest l
    cross join lateral (select w.name from workflow.workflows w where w.id = l.workflow_id offset 0) w
    cross join lateral (
        select (v.plan -> 'steps' -> l.step_index ->> 'timeout')::double precision as seconds
        from workflow.definition_versions v where v.id = l.version_id offset 0) v
    left join lateral (
        select y.timeout, y.handler_timeout from workflow.task_types y where y.name = l.type offset 0) y on true
    left join lateral (select k.name from workflow.workers k where k.id = l.worker_id offset 0) k on true
    order by l.lasted desc, l.task_id, l.attempt;
end
$$;
comment on function workflow.slow_tasks is 'Attempts that took or have been taking longer than a threshold, longest first';

-- What goes wrong with the tasks of a type, by the type of the error, the most frequent first: among the newest p_limit attempts that
-- ended in the last p_window, those that failed, were retried, or were lost with their worker.
create or replace function workflow.task_failures(
    p_type text, p_window interval default interval '1 hour', p_limit integer default 20000)
    returns table (error text, count bigint, last_at timestamptz, task_id bigint, workflow_id uuid, message text)
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_since     timestamptz := workflow.clock() - p_window;
begin
    return query
    with newest as materialized (
        select h.task_id, h.workflow_id, h.outcome, h.ended_at, h.error
        from workflow.attempt_history h
        where h.ended_at > v_since
        order by h.ended_at desc
        limit p_limit
    )
    select n.error ->> 'type', count(*), max(n.ended_at), (array_agg(n.task_id order by n.ended_at desc))[1],
           (array_agg(n.workflow_id order by n.ended_at desc))[1],
           (array_agg(left(n.error ->> 'message', 400) order by n.ended_at desc))[1]
    from newest n
    cross join lateral (
        select t.version_id, t.step_index from workflow.tasks t where t.id = n.task_id offset 0) t
    cross join lateral (
        select s.type from workflow.definition_steps s
        where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
    where n.outcome in ('failed', 'retried', 'lost') and s.type = p_type
    group by 1
    order by 2 desc, 3 desc;
end
$$;
comment on function workflow.task_failures is 'What goes wrong with the tasks of a type, by the type of the error';
