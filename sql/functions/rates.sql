-- Rates of limits: at most so many units in any span of so many seconds, whoever spends them.
--
-- What was spent is counted by sixtieths of the span (workflow.spent_units), and a sixtieth counts until all of it is a span
-- ago: so no span ever has more units than the rate allows, and units come back at most a sixtieth late. Units are spent by
-- the claim, whatever becomes of the attempt. Steps may name several rates for one limit; each obeys its own, and what any
-- step takes of the limit counts for all.
--
-- Who finds no units left is in line as for other limits, and woken by the leader when they are there. Who comes fresh does
-- not overtake the line.
--
-- Whoever reads or writes here to decide holds the row of the resource.

-- The sixtieth of a span that a time is in.
create or replace function workflow.rate_slot(p_seconds double precision, p_at timestamptz) returns bigint
language sql immutable parallel safe
as $$
    select floor(extract(epoch from p_at) * 60 / p_seconds)::bigint
$$;
comment on function workflow.rate_slot is 'Internal: the number of a sixtieth of a span of time';

-- Units of a limit that were spent in the span that ends now.
create or replace function workflow.units_spent(p_key text, p_seconds double precision, p_now timestamptz) returns bigint
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    return coalesce((
        select sum(s.units) from workflow.spent_units s
        where s.key = p_key and s.rate_seconds = p_seconds and s.slot >= workflow.rate_slot(p_seconds, p_now) - 60), 0);
end
$$;
comment on function workflow.units_spent is 'Internal: units of a limit that were spent lately';

-- From when on so many units can be spent, if nobody else spends any before.
create or replace function workflow.units_due(
    p_key text, p_seconds double precision, p_rate integer, p_units integer, p_now timestamptz) returns timestamptz
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_left  bigint := workflow.units_spent(p_key, p_seconds, p_now) + p_units - p_rate;  -- so many must come back first
    v_spent record;
begin
    if v_left > 0 then
        for v_spent in
            select s.slot, s.units from workflow.spent_units s
            where s.key = p_key and s.rate_seconds = p_seconds and s.slot >= workflow.rate_slot(p_seconds, p_now) - 60
            order by s.slot
        loop
            v_left := v_left - v_spent.units;
            if v_left <= 0 then
                return to_timestamp((v_spent.slot + 61) * p_seconds / 60);
            end if;
        end loop;
    end if;
    return p_now;
end
$$;
comment on function workflow.units_due is 'Internal: when units of a limit are there again';

-- Notes units as spent, for every span that some step has named for the limit. p_taken are the needs of attempts that begin.
create or replace function workflow.spend_units(p_taken workflow.need[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
    v_new   text[] := array(select distinct n.key from unnest(p_taken) n where n.kind = 'limit');
begin
    update workflow.resources r set spans = r.spans || n.spans
    from (select x.key, array_agg(distinct x.rate_seconds) as spans from unnest(p_taken) x
          join workflow.resources k on k.kind = 'limit' and k.key = x.key and not x.rate_seconds = any(k.spans)
          where x.kind = 'limit' and x.rate_seconds is not null
          group by 1) n
    where r.kind = 'limit' and r.key = n.key;
    if not exists (select 1 from workflow.resources r where r.kind = 'limit' and r.key = any(v_new) and r.spans <> '{}') then
        return;
    end if;
    delete from workflow.spent_units s
    using workflow.resources r, unnest(r.spans) x(seconds)
    where r.kind = 'limit' and r.key = any(v_new) and s.key = r.key and s.rate_seconds = x.seconds
      and s.slot < workflow.rate_slot(x.seconds, p_now) - 60;
    insert into workflow.spent_units as s (key, rate_seconds, slot, units)
    select n.key, x.seconds, workflow.rate_slot(x.seconds, p_now), n.units
    from (select t.key, sum(t.units) as units from unnest(p_taken) t where t.kind = 'limit' group by 1) n
    join workflow.resources r on r.kind = 'limit' and r.key = n.key
    cross join lateral unnest(r.spans) x(seconds)
    on conflict (key, rate_seconds, slot) do update set units = s.units + excluded.units;
end
$$;
comment on function workflow.spend_units is 'Internal: note units of limits as spent';

-- Whether a task that was not woken would overtake somebody in line for a limit with a rate.
create or replace function workflow.overtakes(p_need workflow.need) returns boolean
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_first workflow.waits;
begin
    if exists (select 1 from workflow.waits x where x.task_id = p_need.task_id and x.woken_at is not null) then
        return false;
    end if;
    select * into v_first from workflow.waits x
    where x.kind = p_need.kind and x.key = p_need.key and x.woken_at is null
    order by x.priority desc, x.since, x.task_id limit 1;
    return found and v_first.task_id <> p_need.task_id
        and (-v_first.priority, v_first.since, v_first.task_id) < (-p_need.priority, p_need.since, p_need.task_id);
end
$$;
comment on function workflow.overtakes is 'Internal: whether a task would overtake somebody in line for a rate';

-- Notes when the leader is to look at the line for a limit again: when units for its first are there. The caller holds the row
-- of the limit.
create or replace function workflow.note_units_due(p_key text, p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_first workflow.waits;
    v_due   timestamptz;
begin
    select * into v_first
    from (select * from workflow.waits x
          where x.kind = 'limit' and x.key = p_key and x.woken_at is null
          order by x.priority desc, x.since, x.task_id limit 20) x
    where x.rate_seconds is not null
    limit 1;
    if found then
        -- Due already: it was locked, lacks something else, or stands behind one that was woken and is about to be claimed.
        v_due := greatest(
            workflow.units_due(p_key, v_first.rate_seconds, v_first.rate_units, v_first.units, p_now), p_now + interval '0.2 seconds');
    end if;
    update workflow.resources r set due_at = v_due where r.kind = 'limit' and r.key = p_key and r.due_at is distinct from v_due;
end
$$;
comment on function workflow.note_units_due is 'Internal: note when to look at the line for a limit again';

-- Wakes who is in line for limits whose units are there again, in up to p_limit lines. Waits for no lock. Returns how many.
create or replace function workflow.wake_rated(p_limit integer default 1000) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    return workflow.wake_waiters(array(
        select r.kind || ' ' || r.key from workflow.resources r
        where r.due_at <= v_now
        order by r.due_at limit p_limit
        for update skip locked), v_now, 200);
end
$$;
comment on function workflow.wake_rated is 'Wake who waits for units of a rate that are there again';
