-- Alerts without Prometheus. The leader asks for the numbers (alert_measures), holds them against its rules, and says which
-- conditions hold (keep_alerts). Since when one does is kept here, so that it outlasts whoever looks.

-- The numbers that conditions of alerts are about, by name: a number, or numbers by what they are about (a queue, a worker). What is
-- not known is left out.
--
-- p_grace_seconds  see workflow.orphaned_tasks.
--
-- It costs what workflow.gauges does, and some thousand rows by their indexes.
create or replace function workflow.alert_measures(p_grace_seconds double precision default 0) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_gauges    jsonb := workflow.gauges();
    v_measures  jsonb;
begin
    v_measures := jsonb_build_object(
        'pending', (select coalesce(sum((q ->> 'pending')::bigint), 0) from jsonb_array_elements(v_gauges -> 'queues') q),
        'unserved', (
            select jsonb_object_agg(q ->> 'queue', q -> 'pending') from jsonb_array_elements(v_gauges -> 'queues') q
            where (q ->> 'pending')::bigint > 0 and (q ->> 'slots')::bigint = 0),
        'workers_active', v_gauges -> 'workers' -> 'active',
        'pending_workflow_seconds', v_gauges -> 'pending_workflow_seconds',
        'outbox_seconds', v_gauges -> 'outbox_pending_seconds',
        'paused_seconds', (select extract(epoch from v_now - e.paused_at) from workflow.engine e
                           where (v_gauges ->> 'paused')::boolean),
        'orphaned', (select count(distinct o.workflow_id) from workflow.orphaned_tasks(null, p_grace_seconds) o),
        'transaction_seconds', workflow.oldest_transaction_seconds());

    -- Workers that went without a goodbye: what is killed and started again leaves one each time.
    v_measures := v_measures || jsonb_build_object('workers_died', (
        select count(*) from workflow.workers w
        where w.status <> 'stopped' and w.last_heartbeat_at > v_now - interval '10 minutes'
          and w.last_heartbeat_at < v_now - make_interval(secs => 3 * w.heartbeat_seconds)));
    v_measures := v_measures || jsonb_build_object('workers_full', (
        select jsonb_object_agg(w.name, coalesce(w.rss_bytes, 0)) from (
            select w.name, max(w.rss_bytes) as rss_bytes from workflow.workers w
            where w.id = any(workflow.live_workers(v_now)) and w.status = 'draining' and w.status_reason = 'memory'
            group by 1 order by 1 limit 100) w));

    v_measures := v_measures || jsonb_build_object('attempt_seconds', workflow.mean_attempt_seconds(interval '15 minutes', 5000));

    -- Differences of what is only counted up; of less than a minute nothing is made.
    v_measures := v_measures || coalesce((
        select jsonb_build_object(
            'ended_per_minute', 60 * greatest(last.attempts_ended - first.attempts_ended, 0)
                                / extract(epoch from last.at - first.at))
        from (select s.at, s.attempts_ended from workflow.samples s
              where s.at > v_now - interval '5 minutes' order by s.at limit 1) first,
             (select s.at, s.attempts_ended from workflow.samples s order by s.at desc limit 1) last
        where last.at >= first.at + interval '1 minute'), '{}');
    v_measures := v_measures || coalesce((
        select jsonb_build_object('workflows_ended', c.ended - s.ended, 'failed_share',
                                  (c.failed - s.failed)::double precision / nullif(c.ended - s.ended, 0))
        from workflow.counted_events c, (
            select s.workflows_ended as ended, s.workflows_failed as failed from workflow.samples s
            where s.at > v_now - interval '1 hour' and s.workflows_ended is not null order by s.at limit 1) s), '{}');
    v_measures := v_measures || jsonb_build_object('mirror_excess', (
        select abs(avg(s.mirror_excess)) from workflow.samples s
        where s.at > v_now - interval '5 minutes'
        having abs(avg(s.mirror_excess)) > 0.1 * avg(s.pending)));

    v_measures := v_measures || jsonb_build_object('given_up', (
        select count(*) from (
            select o.due_at from workflow.outbox o where o.status = 'dead' order by o.id desc limit 1000) o
        where o.due_at > v_now - interval '1 hour'));
    v_measures := v_measures || jsonb_build_object('schedules_refused', (
        select jsonb_object_agg(s.name, s.refused) from (
            select s.name, count(*) as refused from workflow.schedules s
            where s.paused_at is null and s.last_error is not null and s.last_at > v_now - interval '1 hour'
            group by 1 order by 1 limit 100) s));

    -- What engines told, those that are heard of. What only the leader knows is in its facts alone.
    v_measures := v_measures || (
        select jsonb_build_object(
            'engines', count(*),
            'active_per_engine', (v_gauges ->> 'active_workflows')::double precision / nullif(count(*), 0),
            'loop_lag_seconds', max((e.facts ->> 'lag_seconds')::double precision),
            'default_rows', max((e.facts ->> 'default_rows')::double precision),
            'invariant_violations', max((e.facts ->> 'invariant_violations')::double precision),
            'mirror_seconds', min((e.facts ->> 'mirror_seconds')::double precision + extract(epoch from v_now - e.heard_at)))
        from workflow.engines e where e.heard_at > v_now - interval '30 seconds');
    v_measures := v_measures || coalesce((
        select jsonb_object_agg(i.name || '_ago', extract(epoch from v_now - i.at)) from workflow.incidents i), '{}');
    return jsonb_strip_nulls(v_measures);
end
$$;
comment on function workflow.alert_measures is 'The numbers that conditions of alerts are about';

-- How long attempts took on average that ended within p_window by themselves; of the newest p_limit, which say as much when there are
-- more. Null: there are none.
create or replace function workflow.mean_attempt_seconds(p_window interval, p_limit integer) returns double precision
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
    v_since timestamptz := workflow.clock() - p_window;  -- a constant, so that the index begins there
begin
    return (
        select avg(extract(epoch from h.ended_at - h.started_at)) from (
            select h.started_at, h.ended_at, h.outcome from workflow.attempt_history h
            where h.ended_at > v_since order by h.ended_at desc limit p_limit) h
        where h.outcome in ('succeeded', 'failed', 'retried'));
end
$$;
comment on function workflow.mean_attempt_seconds is 'Internal: how long attempts took lately';

-- Notes which conditions hold now: those that begin to, those that do still, and that all others have ended.
--
-- p_holding   [{"name", "subject", "severity", "value", "threshold", "seconds", "age_seconds"}]; it fires when it has held for so many
--             seconds. The age says for how long it has held, where that is known better than from looking; else 0.
-- p_measures  what they were held against, for whoever looks.
--
-- Returns {"fired": [..], "cleared": [..]}, each [{"name", "subject", "value", "threshold", "severity"}]: what is told once.
create or replace function workflow.keep_alerts(p_holding jsonb, p_measures jsonb) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_fired     jsonb;
    v_cleared   jsonb;
begin
    -- Two leaders may be at it for a moment: one after the other. This row is the first that either takes.
    insert into workflow.watched as w (at, measures) values (v_now, p_measures)
    on conflict (only_row) do update set at = excluded.at, measures = excluded.measures;

    with ended as (
        update workflow.alerts a set ended_at = v_now
        where a.ended_at is null and not exists (
            select 1 from jsonb_to_recordset(p_holding) h(name text, subject text)
            where h.name = a.name and h.subject = a.subject)
        returning a.*
    )
    select coalesce(jsonb_agg(to_jsonb(e) order by e.name, e.subject) filter (where e.fired), '[]') into v_cleared from ended e;
    -- What never fired is not worth remembering.
    delete from workflow.alerts a
    where a.ended_at is not null and (not a.fired or a.ended_at < v_now - interval '7 days');

    insert into workflow.alerts as a (name, subject, severity, value, threshold, since, fires_at)
    select h.name, h.subject, h.severity, h.value, h.threshold, s.since, s.since + make_interval(secs => h.seconds)
    from jsonb_to_recordset(p_holding) h(
        name text, subject text, severity text, value double precision, threshold double precision, seconds double precision,
        age_seconds double precision)
    cross join lateral (select v_now - make_interval(secs => h.age_seconds) as since) s
    order by h.name, h.subject
    on conflict (name, subject) where ended_at is null do update set
        severity = excluded.severity, value = excluded.value, threshold = excluded.threshold,
        fires_at = a.since + (excluded.fires_at - excluded.since);
    with fired as (
        update workflow.alerts a set fired = true
        where a.ended_at is null and not a.fired and a.fires_at <= v_now
        returning a.*
    )
    select coalesce(jsonb_agg(to_jsonb(f) order by f.name, f.subject), '[]') into v_fired from fired f;
    return jsonb_build_object('fired', v_fired, 'cleared', v_cleared);
end
$$;
comment on function workflow.keep_alerts is 'Note which conditions of alerts hold; returns what fires and what is over';

-- An engine says that it lives, and what it alone knows. Engines that were not heard of for a day are forgotten.
--
-- p_id         as this returned it; null the first time.
-- p_facts      what is read as the engine's present state: see workflow.alert_measures.
-- p_incidents  {kind: how often since the last call}.
create or replace function workflow.note_engine(
    p_id bigint, p_host text, p_pid integer, p_version text, p_facts jsonb, p_incidents jsonb default '{}') returns bigint
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now   timestamptz := workflow.clock();
    v_id    bigint;
begin
    update workflow.engines e set heard_at = v_now, facts = p_facts where e.id = p_id returning e.id into v_id;
    if v_id is null then
        insert into workflow.engines (host, pid, version, started_at, heard_at, facts)
        values (p_host, p_pid, p_version, v_now, v_now, p_facts)
        returning id into v_id;
        delete from workflow.engines e where e.heard_at < v_now - interval '1 day';
    end if;
    insert into workflow.incidents as i (name, at, times)
    select n.key, v_now, n.value::bigint from jsonb_each_text(p_incidents) n order by 1
    on conflict (name) do update set at = excluded.at, times = i.times + excluded.times;
    return v_id;
end
$$;
comment on function workflow.note_engine is 'An engine''s sign of life, and what it alone knows; returns its id';

-- An engine says goodbye.
create or replace function workflow.forget_engine(p_id bigint) returns void
language sql volatile
set search_path = public, pg_temp
as $$
    delete from workflow.engines e where e.id = p_id
$$;
comment on function workflow.forget_engine is 'An engine''s goodbye';
