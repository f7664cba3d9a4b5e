-- How workflows ended lately, by definition and version. `count_events` notes each end once (workflow.daily_ends).

-- Durations are kept by their position on a scale on which each mark is a fifth longer than the one before it.
create or replace function workflow.duration_position(p_seconds double precision) returns smallint
language sql immutable strict parallel safe
as $$
    select ceil(4 * ln(greatest(p_seconds, 0.001) / 0.001) / ln(2::double precision))::smallint
$$;
comment on function workflow.duration_position is 'Internal: where a duration is on the scale of workflow.daily_ends';

-- The middle of what has a position: so a duration that is read is right to a tenth.
create or replace function workflow.duration_at(p_position integer) returns double precision
language sql immutable strict parallel safe
as $$
    select 0.001 * power(2::double precision, (greatest(p_position, 1) - 0.5) / 4)
$$;
comment on function workflow.duration_at is 'The seconds that a position in workflow.daily_ends stands for, right to a tenth';

-- How workflows of these definitions ended in the last p_days days, today (UTC) among them: a row for each version with which any
-- ended, and one for all of a definition together, whose version is null. Durations are seconds from the creation to the end of those
-- that succeeded; null where none did.
create or replace function workflow.recent_ends(p_names text[], p_days integer default 7)
    returns table (name text, version integer, succeeded bigint, failed bigint, cancelled bigint, p50 double precision, p95 double precision)
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_today     date := (workflow.clock() at time zone 'utc')::date;
    v_days      date[] := array(select v_today - n from generate_series(0, p_days - 1) n);
begin
    return query
    with ended as materialized (
        select d.name, d.version, d.status, d.position, d.workflows
        from unnest(v_days) v(day)
        cross join unnest(p_names) n(name)
        cross join lateral (  -- of two arrays PostgreSQL before 17 takes one alone to an index
            select * from workflow.daily_ends d where d.day = v.day and d.name = n.name offset 0) d
    ), summed as (
        select e.name, e.version, e.status, e.position, sum(e.workflows) as n
        from ended e group by grouping sets ((e.name, e.version, e.status, e.position), (e.name, e.status, e.position))
    ), ranked as (
        select s.*, sum(s.n) over upwards as upto, sum(s.n) over (partition by s.name, s.version, s.status) as whole
        from summed s
        window upwards as (partition by s.name, s.version, s.status order by s.position)
    )
    select r.name, r.version,
           coalesce(sum(r.n) filter (where r.status = 'succeeded'), 0)::bigint,
           coalesce(sum(r.n) filter (where r.status = 'failed'), 0)::bigint,
           coalesce(sum(r.n) filter (where r.status = 'cancelled'), 0)::bigint,
           workflow.duration_at(min(r.position) filter (where r.status = 'succeeded' and r.upto >= 0.5 * r.whole)),
           workflow.duration_at(min(r.position) filter (where r.status = 'succeeded' and r.upto >= 0.95 * r.whole))
    from ranked r
    group by r.name, r.version
    order by r.name, r.version;
end
$$;
comment on function workflow.recent_ends is 'How workflows of definitions ended in the last days, by version';

-- Since when ends are counted, if that is within the last p_days days and there were workflows before: of what ended then the figures
-- know nothing. Else null: they are whole.
create or replace function workflow.ends_counted_since(p_days integer default 7) returns timestamptz
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_since     timestamptz := (select m.applied_at from workflow.migrations m where m.name = '0034_daily_ends');
    v_first     timestamptz := ((workflow.clock() at time zone 'utc')::date - p_days + 1) at time zone 'utc';
begin
    return case when v_since > v_first and exists (
        select 1 from workflow.workflows w where w.id < workflow.id_at(v_since) order by w.id limit 1) then v_since end;
end
$$;
comment on function workflow.ends_counted_since is 'Since when ends of workflows are counted, if figures of so many days lack some';

-- Forgets the ends of days that are over for long, some rows at each call.
create or replace function workflow.sweep_daily_ends(p_keep integer default 31) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_first     date := (workflow.clock() at time zone 'utc')::date - p_keep;
begin
    delete from workflow.daily_ends d
    where d.ctid = any(array(select o.ctid from workflow.daily_ends o where o.day < v_first order by o.day limit 1000));
end
$$;
comment on function workflow.sweep_daily_ends is 'Internal: forget how workflows ended long ago';
