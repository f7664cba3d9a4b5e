-- What happened since the last call, counted for the metrics: workflows that were started and that ended, and retries. Each
-- event is counted by one call and by no other, whichever process makes it: how far was counted is a row
-- (workflow.counted_events) that is written in the same commit.
--
-- `seq` is handed out before its transaction commits, so events are counted only once no transaction is left that may bring
-- one below them: whoever has been given a number holds the lock of those who write events until it ends. Where there are
-- such, the end of the part is noted with them, and the part counted by a later call. One that stays open for longer than
-- p_patience is no longer waited for, and what it then brings below that end is never counted.
--
-- p_bounds    upper bounds of durations, in seconds, ascending.
-- p_most      numbers of events that one call goes through; it says when there are `more`.
--
-- Returns {"started": [[definition, n]], "ended": [[definition, status, position, n, seconds]], "retries": {kind: n},
-- "more": whether there are more to count now, "behind": now or soon}. The position is that of the first bound that is not exceeded, from 0;
-- a definition that is null has been deleted with its workflow. Kinds of retries are automatic (the next try of a task) and
-- manual (somebody asked for it).
--
-- The ends are also noted by day and version (workflow.daily_ends), which pages read.
--
-- The events are found by the BRIN index of seq, as in workflow.narrate.
create or replace function workflow.count_events(
    p_bounds double precision[], p_most bigint default 50000, p_patience interval default '1 minute') returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_top       bigint := coalesce(pg_sequence_last_value('workflow.event_seq'), 0);
    v_open      text[] := array(    -- looked at after the number: who has been given a lower one is among them, or has ended
        select l.virtualtransaction from pg_locks l
        where l.locktype = 'relation' and l.relation = 'workflow.events'::regclass and l.mode = 'RowExclusiveLock'
          and l.granted and l.database = (select d.oid from pg_database d where d.datname = current_database()));
    v_counted   workflow.counted_events;
    v_final     bigint;
    v_upto      bigint;
    v_found     jsonb := '{"started": [], "ended": [], "retries": {}}';
begin
    select * into v_counted from workflow.counted_events for update skip locked;
    if not found or v_counted.seq >= v_top then  -- another process is at it, or has just done it
        return v_found || jsonb_build_object('more', false, 'behind', v_counted.seq is null);
    end if;
    v_final := case
        when v_open = '{}' then v_top
        when not v_counted.next_open && v_open or v_counted.next_since < v_now - p_patience then v_counted.next_seq
        else v_counted.seq end;
    v_upto := least(v_final, v_counted.seq + p_most);
    if v_upto > v_counted.seq then
        execute $events$
            with found as materialized (
                select e.workflow_id, e.type, e.at
                from workflow.events e
                where e.seq > $1 and e.seq <= $2
                  and e.type = any('{workflow.created,workflow.succeeded,workflow.failed,workflow.cancelled,workflow.retried,task.retried}')
            ), told as (
                select f.type, f.at, w.name, w.version, extract(epoch from f.at - w.created_at)::double precision as seconds
                from found f
                left join lateral (
                    select w.name, w.version, w.created_at from workflow.workflows w
                    where w.id = f.workflow_id and f.type not in ('workflow.retried', 'task.retried') offset 0) w on true
            ), noted as (
                insert into workflow.daily_ends as d (day, name, version, status, position, workflows)
                select (t.at at time zone 'utc')::date, t.name, t.version, substr(t.type, 10),
                       workflow.duration_position(t.seconds), count(*)
                from told t
                where t.type in ('workflow.succeeded', 'workflow.failed', 'workflow.cancelled') and t.name is not null
                group by 1, 2, 3, 4, 5
                on conflict (day, name, version, status, position) do update set workflows = d.workflows + excluded.workflows
            )
            select jsonb_build_object(
                'started', (
                    select coalesce(jsonb_agg(jsonb_build_array(s.name, s.n)), '[]')
                    from (select t.name, count(*) as n from told t where t.type = 'workflow.created' group by 1) s),
                'ended', (
                    select coalesce(jsonb_agg(jsonb_build_array(s.name, s.status, s.position, s.n, s.seconds)), '[]')
                    from (select t.name, substr(t.type, 10) as status,
                                 width_bucket(coalesce(t.seconds, 0), $3) as position, count(*) as n,
                                 coalesce(sum(t.seconds), 0) as seconds
                          from told t
                          where t.type in ('workflow.succeeded', 'workflow.failed', 'workflow.cancelled')
                          group by 1, 2, 3) s),
                'retries', jsonb_build_object(
                    'automatic', (select count(*) from told t where t.type = 'task.retried'),
                    'manual', (select count(*) from told t where t.type = 'workflow.retried')))
        $events$
        into v_found using v_counted.seq, v_upto, p_bounds;
    end if;
    -- The end of the next part is noted when there is none yet; while it is waited for, it stays.
    if v_upto > v_counted.seq or v_counted.next_seq is null then
        v_counted.seq := v_upto;
        if v_counted.next_seq is null or v_counted.next_seq <= v_upto then
            v_counted.next_seq := case when v_top > v_upto then v_top end;
            v_counted.next_open := case when v_top > v_upto then v_open end;
            v_counted.next_since := case when v_top > v_upto then v_now end;
        end if;
        update workflow.counted_events c set
            seq = v_counted.seq, next_seq = v_counted.next_seq, next_open = v_counted.next_open,
            next_since = v_counted.next_since, ended = c.ended + e.ended, failed = c.failed + e.failed
        from (select coalesce(sum((e ->> 3)::bigint), 0) as ended,
                     coalesce(sum((e ->> 3)::bigint) filter (where e ->> 1 = 'failed'), 0) as failed
              from jsonb_array_elements(v_found -> 'ended') e where e ->> 1 <> 'cancelled') e;
    end if;
    return v_found || jsonb_build_object('more', v_upto < v_final, 'behind', v_upto < v_top);
end
$$;
comment on function workflow.count_events is 'What happened since the last call, counted once: workflows and retries';
