-- Partitions of `events` and `attempt_history`: made ahead, and dropped when nothing that is kept has rows in them.
--
-- Their bounds are times, written as workflow ids. A default partition takes what no other is there for, so that an insert never
-- fails; it is empty unless nobody led for days. What is in it is not copied: the table gets bounds and another takes its place.
--
-- All of this waits for locks for a tenth of a second at most, as others queue behind who waits, and comes again later. The
-- functions run with the rights of the owner of the tables: nobody else may attach partitions.

-- The first id that workflow.new_id may give from a time on.
create or replace function workflow.id_at(p_at timestamptz) returns uuid
language sql immutable parallel safe
as $$
    select (lpad(to_hex(greatest(0, floor(extract(epoch from p_at) * 1000))::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
comment on function workflow.id_at is 'The first workflow id of a time';

-- When a workflow id was given, to the millisecond.
create or replace function workflow.time_of(p_id uuid) returns timestamptz
language sql immutable parallel safe
as $$
    select to_timestamp(('x' || left(translate(p_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
$$;
comment on function workflow.time_of is 'When a workflow id was given';

-- How many hours a new partition is to cover: a quarter of the longest retention in use at most, so that what is kept for no longer
-- fills few partitions and each goes soon after its time. Where something is kept for ever, many would be of no use.
create or replace function workflow.partition_hours(p_defaults jsonb) returns integer
language sql stable
as $$
    select case when r.longest is null then 2184
                else (select coalesce(max(h), 6) from unnest('{6,24,168,672}'::integer[]) h where h * 3600 <= r.longest / 4) end
    from workflow.retention_range(p_defaults) r
$$;
comment on function workflow.partition_hours is 'Internal: hours that a new partition is to cover';

-- Makes what is missing ahead, at least two partitions and two days, and gives the default partition bounds when it has rows.
-- Does one thing to one table; call it again while it did something.
--
-- p_defaults  retention by settings, as of sweep_retention; null: partitions as long as the last one, or a week.
--
-- Returns {"made": tables made, "drained": 1 where a default partition was replaced or is on the way to it, "in_default": rows in
-- default partitions, up to 10,000 of each, "busy": 1 where a lock was not to be had}.
create or replace function workflow.keep_partitions(p_defaults jsonb default null) returns jsonb
language plpgsql volatile security definer
set search_path = public, pg_temp
set lock_timeout = '100ms'
set client_min_messages = warning
as $$
declare
    v_parent    text;
    v_hours     integer;
    v_rows      integer;
    v_all       integer := 0;
    v_made      integer := 0;
    v_drained   integer := 0;
    v_busy      integer := 0;
begin
    foreach v_parent in array '{events,attempt_history}'::text[] loop
        -- One leader at a time.
        perform 1 from workflow.history_partitions p where p.parent = v_parent and p.upper is null for update skip locked;
        continue when not found;
        v_hours := coalesce(
            case when p_defaults is not null then workflow.partition_hours(p_defaults) end,
            (select extract(epoch from workflow.time_of(p.upper) - workflow.time_of(p.lower))::integer / 3600
             from workflow.history_partitions p
             where p.parent = v_parent and p.lower > workflow.id_at('-infinity')
             order by p.upper desc limit 1),
            168);
        begin
            execute format('select count(*) from (select 1 from workflow.%I limit 10000) x', v_parent || '_default') into v_rows;
            v_all := v_all + v_rows;
            if v_rows > 0 then
                v_drained := workflow.drain_default(v_parent, v_hours);
            else
                v_made := workflow.make_ahead(v_parent, v_hours);
            end if;
        exception when lock_not_available or check_violation then  -- the latter: rows came into the default partition just now
            v_busy := 1;
        end;
        exit when v_drained + v_made > 0;  -- not with locks on both tables
    end loop;
    return jsonb_build_object('made', v_made, 'drained', v_drained, 'in_default', v_all, 'busy', v_busy);
end
$$;
comment on function workflow.keep_partitions is 'Make partitions of events and attempts ahead';

-- Makes the partitions of a table that are missing ahead; those that are longer than wanted now and have not begun are made anew.
-- The caller holds the row of the default partition, which is empty. Returns how many were made.
create or replace function workflow.make_ahead(p_parent text, p_hours integer) returns integer
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now       timestamptz := clock_timestamp();  -- that of workflow.new_id
    v_span      interval := make_interval(hours => p_hours);
    v_from      timestamptz;
    v_part      workflow.history_partitions;
    v_made      integer := 0;
begin
    if exists (
        select 1 from pg_constraint c
        where c.conrelid = format('workflow.%I', p_parent || '_default')::regclass and c.conname = 'bounds') then
        execute format('alter table workflow.%I drop constraint bounds', p_parent || '_default');  -- its rows were deleted
    end if;
    for v_part in
        select p.* from workflow.history_partitions p
        where p.parent = p_parent and p.lower > workflow.id_at(v_now + interval '1 hour') order by p.lower desc
    loop
        -- One that has workflows in it stays: the clock was ahead when they began, or it is that of another server now.
        exit when workflow.time_of(v_part.upper) - workflow.time_of(v_part.lower) <= v_span
               or workflow.has_workflows(v_part.lower, v_part.upper);
        execute format('drop table workflow.%I', v_part.name);
        delete from workflow.history_partitions p where p.name = v_part.name;
    end loop;
    loop
        v_from := workflow.time_of(workflow.partitions_end(p_parent));
        exit when v_from > v_now + greatest(2 * v_span, interval '2 days');
        v_from := coalesce(v_from, workflow.begin_of_span(v_now, v_span));
        perform workflow.make_partition(
            p_parent, workflow.id_at(v_from), workflow.id_at(workflow.begin_of_span(v_from, v_span) + v_span));
        v_made := v_made + 1;
    end loop;
    return v_made;
end
$$;
comment on function workflow.make_ahead is 'Internal: make missing partitions';

create or replace function workflow.begin_of_span(p_at timestamptz, p_span interval) returns timestamptz
language sql immutable
as $$ select date_bin(p_span, p_at, timestamptz '2001-01-01 00:00:00+00') $$;  -- a Monday
comment on function workflow.begin_of_span is 'Internal: when the partition of a time begins';

-- The upper bound of the last partition of a table; null where there is but the default one.
create or replace function workflow.partitions_end(p_parent text) returns uuid
language sql stable
as $$
    select p.upper from workflow.history_partitions p
    where p.parent = p_parent and p.upper is not null order by p.upper desc limit 1
$$;
comment on function workflow.partitions_end is 'Internal: the end of the last partition';

create or replace function workflow.make_partition(p_parent text, p_lower uuid, p_upper uuid) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_name text := p_parent || '_' || to_char(workflow.time_of(p_lower) at time zone 'utc', 'YYYYMMDDHH24');
begin
    -- Made by itself and then attached, it locks its parent against other such changes alone, not against inserts.
    perform workflow.make_part(v_name, p_parent);
    execute format('alter table workflow.%I attach partition workflow.%I for values from (%L) to (%L)',
                   p_parent, v_name, p_lower, p_upper);
    insert into workflow.history_partitions (name, parent, lower, upper, walked)
    values (v_name, p_parent, p_lower, p_upper, p_lower);
    update workflow.history_partitions p set walked = p_upper
    where p.parent = p_parent and p.upper is null and (p.walked is null or p.walked < p_upper);
end
$$;
comment on function workflow.make_partition is 'Internal: make a partition';

create or replace function workflow.make_part(p_name text, p_parent text) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    execute format('create table workflow.%I (like workflow.%I including all)', p_name, p_parent);
    if p_parent = 'attempt_history' then
        execute format('alter table workflow.%I add primary key (task_id, attempt)', p_name);
    end if;
end
$$;
comment on function workflow.make_part is 'Internal: make a table that can become a partition';

-- What is to become of rows in a default partition, whose row in history_partitions the caller holds. Returns 1 if it did something.
--
-- As a rule they are later than the last partition: then the table gets bounds that hold them and what comes in the next hours (a
-- constraint first, which is checked while others write), becomes a partition with these bounds, and an empty table takes its
-- place. Rows before the end of the last partition, which only a clock that went back explains, get a partition made for them.
create or replace function workflow.drain_default(p_parent text, p_hours integer) returns integer
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now       timestamptz := clock_timestamp();
    v_default   text := p_parent || '_default';
    v_span      interval := make_interval(hours => p_hours);
    v_end       uuid := coalesce(workflow.partitions_end(p_parent), workflow.id_at('-infinity'));
    v_first     uuid;
    v_last      uuid;
    v_bounds    uuid[];
    v_checked   boolean;
begin
    select c.convalidated, array(
        select m[1]::uuid from regexp_matches(pg_get_constraintdef(c.oid), '[0-9a-f]{8}-[0-9a-f-]{27}', 'g') m)
    into v_checked, v_bounds
    from pg_constraint c
    where c.conrelid = format('workflow.%I', v_default)::regclass and c.conname = 'bounds';
    if v_bounds[2] <= workflow.id_at(v_now + interval '1 hour') then  -- was left half done: no insert must fail by it
        execute format('alter table workflow.%I drop constraint bounds', v_default);
    elsif v_checked then
        perform workflow.replace_default(p_parent, v_bounds[1], v_bounds[2]);
    elsif v_bounds is not null then
        execute format('alter table workflow.%I validate constraint bounds', v_default);
    else
        execute format('select workflow_id from workflow.%I order by workflow_id limit 1', v_default) into v_first;
        if v_first < v_end then
            perform workflow.move_between(p_parent, v_first);
            return 1;
        end if;
        execute format('select workflow_id from workflow.%I order by workflow_id desc limit 1', v_default) into v_last;
        execute format(
            'alter table workflow.%I add constraint bounds check (workflow_id >= %L and workflow_id < %L) not valid',
            v_default, v_end, workflow.id_at(
                workflow.begin_of_span(greatest(v_now, workflow.time_of(v_last)) + v_span, v_span) + v_span));
    end if;
    return 1;
end
$$;
comment on function workflow.drain_default is 'Internal: make a partition of what is in the default partition';

-- Gives the default partition the bounds that a valid constraint of it says, and makes another.
create or replace function workflow.replace_default(p_parent text, p_lower uuid, p_upper uuid) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_default   text := p_parent || '_default';
    v_name      text := p_parent || '_until_' || to_char(workflow.time_of(p_upper) at time zone 'utc', 'YYYYMMDDHH24');
begin
    execute format('alter table workflow.%I detach partition workflow.%I', p_parent, v_default);
    execute format('alter table workflow.%I rename to %I', v_default, v_name);
    execute format('alter table workflow.%I attach partition workflow.%I for values from (%L) to (%L)',
                   p_parent, v_name, p_lower, p_upper);
    execute format('alter table workflow.%I drop constraint bounds', v_name);
    perform workflow.make_part(v_default, p_parent);
    execute format('alter table workflow.%I attach partition workflow.%I default', p_parent, v_default);
    update workflow.history_partitions p set name = v_name, lower = p_lower, upper = p_upper, walked = coalesce(p.walked, p_lower)
    where p.name = v_default;
    insert into workflow.history_partitions (name, parent, walked) values (v_default, p_parent, p_upper);
end
$$;
comment on function workflow.replace_default is 'Internal: give the default partition bounds, and make another';

-- Moves rows out of the default partition into one that fills the gap between other partitions where the workflow p_first is.
-- They are few: the clock went back, or a partition was dropped while something began in it.
create or replace function workflow.move_between(p_parent text, p_first uuid) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_default   text := p_parent || '_default';
    v_lower     uuid;
    v_upper     uuid;
begin
    v_lower := coalesce((
        select p.upper from workflow.history_partitions p
        where p.parent = p_parent and p.upper <= p_first order by p.upper desc limit 1), workflow.id_at('-infinity'));
    v_upper := (
        select p.lower from workflow.history_partitions p
        where p.parent = p_parent and p.lower > p_first order by p.lower limit 1);
    execute format('lock table workflow.%I in access exclusive mode', v_default);
    execute format('create temporary table pg_temp.moved on commit drop as select * from workflow.%I where workflow_id >= %L and workflow_id < %L',
                   v_default, v_lower, v_upper);
    execute format('delete from workflow.%I where workflow_id >= %L and workflow_id < %L', v_default, v_lower, v_upper);
    perform workflow.make_partition(p_parent, v_lower, v_upper);
    execute format('insert into workflow.%I select * from pg_temp.moved', p_parent);
end
$$;
comment on function workflow.move_between is 'Internal: move rows of the default partition to where they belong';

-- Drops a partition in which nothing that is kept has rows, as retention has found; makes sure of it.
-- Returns {"dropped": its name or null, "busy": 1 where a lock was not to be had}.
create or replace function workflow.drop_partition() returns jsonb
language plpgsql volatile security definer
set search_path = public, pg_temp
set lock_timeout = '100ms'
set client_min_messages = warning
as $$
declare
    v_part workflow.history_partitions;
begin
    select p.* into v_part
    from workflow.history_partitions p
    where p.upper < workflow.id_at(clock_timestamp() - interval '1 hour')
      and not exists (
          select 1 from workflow.history_partitions e
          where e.parent = 'events'
            and case when e.upper is null then e.walked < p.upper
                     else e.lower < p.upper and e.upper > p.lower
                          and (e.rules is null or e.walked < e.upper or e.kept > 0) end)
    order by p.lower, p.parent
    limit 1
    for update skip locked;
    if not found then
        return '{"dropped": null, "busy": 0}';
    end if;
    if workflow.has_workflows(v_part.lower, v_part.upper) then  -- begun in a transaction that took long: look again
        update workflow.history_partitions p set kept = greatest(p.kept, 1), again_at = '-infinity'
        where p.parent = 'events' and p.lower < v_part.upper and p.upper > v_part.lower;
        return '{"dropped": null, "busy": 0}';
    end if;
    begin
        execute format('drop table workflow.%I', v_part.name);
        if workflow.has_workflows(v_part.lower, v_part.upper) then  -- committed while the drop waited for it
            raise lock_not_available;
        end if;
        delete from workflow.history_partitions p where p.name = v_part.name;
    exception when lock_not_available then
        return '{"dropped": null, "busy": 1}';
    end;
    return jsonb_build_object('dropped', v_part.name, 'busy', 0);
end
$$;
comment on function workflow.drop_partition is 'Drop a partition of events or attempts that nothing needs any more';

create or replace function workflow.has_workflows(p_lower uuid, p_upper uuid) returns boolean
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    return exists (select 1 from workflow.workflows w where w.id >= p_lower and w.id < p_upper);
end
$$;
comment on function workflow.has_workflows is 'Internal: is there a workflow with such an id?';
