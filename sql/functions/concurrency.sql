-- Concurrency keys: so many workflows with the same key run at a time, whatever their definition. Each obeys the number that
-- its own definition gives.
--
-- A workflow has a place at each of its keys (workflow.places): it has entered and may run, or it is in line. It enters all
-- of its keys in one go. While it is in line workflows.queued_at is set and its jobs are parked, so a hundred thousand in line
-- cost claims nothing. Whoever frees places lets in who is next, in the same commit: the highest priority, then who was
-- started first. One that lacks a place elsewhere, or is paused, is passed over.
--
-- Whoever gives or frees places at a key holds its row in workflow.concurrency_keys: after workflows, tasks, jobs and workers,
-- before resources. The rows of workflows that are let in come after it, out of order; so they are not waited for: whoever has
-- one locked is about to come by here itself, and sweep_places finds who was left.

-- Gives workflows that were just started (or are started again) their places, in the order of p_wanted, and lets in those
-- that may run. The caller holds their rows and has made their jobs.
--
-- Errors: WF409 a key with `reject` has no place; 40001 a workflow that must make way is locked by another transaction.
create or replace function workflow.take_places(p_wanted workflow.place[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_new       uuid[] := array(select distinct p.workflow_id from unnest(p_wanted) p);
    v_replaced  text[] := array(select distinct p.key from unnest(p_wanted) p where p.on_conflict = 'cancel_running');
    v_held      uuid[] := '{}';
    v_one       record;
begin
    if v_replaced <> '{}' then
        -- First the workflows that may have to make way, in the common order; they wait for nobody here.
        v_held := array(
            select w.id from workflow.workflows w
            where w.id = any(array(
                      select p.workflow_id from workflow.places p
                      where p.key = any(v_replaced) and (p.entered_at is not null or p.front)))
              and w.finished_at is null
            order by w.id
            for no key update);
    end if;
    perform workflow.lock_concurrency_keys(
        array(select p.key from unnest(p_wanted) p)
        || array(select p.key from workflow.places p where p.workflow_id = any(v_held)));

    if not exists (select 1 from unnest(p_wanted) p where p.on_conflict <> 'queue') then
        insert into workflow.places (key, workflow_id, capacity, priority)
        select p.key, p.workflow_id, p.capacity, p.priority
        from unnest(p_wanted) with ordinality as p(workflow_id, key, capacity, on_conflict, priority, ord)
        order by p.ord;
        perform workflow.enter_places(array(select p.key from unnest(p_wanted) p), p_now);
    else
        for v_one in
            select p.workflow_id, array_agg(row(p.workflow_id, p.key, p.capacity, p.on_conflict, p.priority)::workflow.place) as wanted
            from unnest(p_wanted) with ordinality as p(workflow_id, key, capacity, on_conflict, priority, ord)
            group by 1 order by min(p.ord)
        loop
            perform workflow.take_place(v_one.workflow_id, v_one.wanted, v_held || v_new, p_now);
        end loop;
    end if;

    -- Who is still in line is held back.
    with queued as (
        update workflow.workflows w set queued_at = p_now
        where w.id = any(v_new) and w.finished_at is null and w.queued_at is null and w.id = any(array(
            select p.workflow_id
            from (select x.workflow_id, x.entered_at from workflow.places x where x.workflow_id = any(v_new) offset 0) p
            where p.entered_at is null))
        returning w.id
    ), event as (
        insert into workflow.events (workflow_id, type, at, data)
        select q.id, 'workflow.queued', p_now,
               (select jsonb_build_object('keys', jsonb_agg(p.key order by p.key)) from workflow.places p where p.workflow_id = q.id)
        from queued q
    )
    update workflow.jobs j set scheduled_at = workflow.never()
    where j.status = 'todo' and j.id = any(array(
        select t.job_id
        from queued q
        cross join lateral (
            select t.job_id, t.status from workflow.tasks t where t.workflow_id = q.id offset 0) t
        where t.status = 'pending'));
end
$$;
comment on function workflow.take_places is 'Internal: give workflows their places at concurrency keys';

-- The same for one workflow, some key of which does not merely queue. p_held are workflows whose rows are ours.
create or replace function workflow.take_place(
    p_workflow_id uuid, p_wanted workflow.place[], p_held uuid[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
    v_want      workflow.place;
    v_entered   uuid[];
    v_leaving   uuid[] := '{}';
    v_locked    uuid[];
begin
    foreach v_want in array p_wanted loop
        v_entered := array(
            select p.workflow_id from workflow.places p
            where p.key = v_want.key and p.entered_at is not null order by p.id);
        if v_want.on_conflict = 'reject' and cardinality(v_entered) >= v_want.capacity then
            raise exception 'Workflow % runs with the key %, and % at a time may.', v_entered[1], v_want.key, v_want.capacity using
                errcode = 'WF409', detail = 'concurrency-limit', constraint = v_entered[1]::text,
                hint = format('Wait until it has ended, or cancel it: POST /api/v1/workflows/%s/cancel', v_entered[1]);
        elsif v_want.on_conflict = 'cancel_running' then
            -- The oldest make way, and those that took the place of another and have not got it yet.
            v_leaving := v_leaving || v_entered[1 : cardinality(v_entered) + 1 - v_want.capacity] || array(
                select p.workflow_id from workflow.places p where p.key = v_want.key and p.front and p.entered_at is null);
        end if;
    end loop;

    insert into workflow.places (key, workflow_id, capacity, front, priority)
    select p.key, p.workflow_id, p.capacity, p.on_conflict = 'cancel_running', p.priority from unnest(p_wanted) p;
    if v_leaving <> '{}' then
        v_locked := p_held || array(
            select w.id from workflow.workflows w
            where w.id = any(v_leaving) and w.id <> all(p_held)
            for no key update skip locked);
        if not v_leaving <@ v_locked then
            raise exception 'A workflow that must make way is changing right now.' using
                errcode = '40001', hint = 'Send the whole transaction again.';
        end if;
        perform workflow.cancel_live(
            array(select distinct l from unnest(v_leaving) l),
            format('Workflow %s, which has the same concurrency key, took its place.', p_workflow_id));
    end if;
    perform workflow.enter_places(array(select p.key from unnest(p_wanted) p), p_now);
end
$$;
comment on function workflow.take_place is 'Internal: give one workflow its places at concurrency keys';

-- The places of a workflow that ended and goes on: it gets in line again, unless it has kept its places.
create or replace function workflow.take_places_again(p_workflow_id uuid, p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_wanted workflow.place[];
begin
    v_wanted := array(
        select p from workflow.workflows w
        cross join lateral (select v.* from workflow.definition_versions v where v.id = w.version_id offset 0) v
        cross join lateral unnest(workflow.wanted_places(w.id, w.input, w.labels, w.priority, v.concurrency, v.plan)) p
        where w.id = p_workflow_id and w.finished_at is null and v.concurrency is not null and not exists (
            select 1 from workflow.places x where x.workflow_id = w.id));
    if v_wanted <> '{}' then
        perform workflow.take_places(v_wanted, p_now);
    end if;
end
$$;
comment on function workflow.take_places_again is 'Internal: places of a workflow that goes on after its end';

-- The places that a workflow needs by its definition.
create or replace function workflow.wanted_places(
    p_id uuid, p_input jsonb, p_labels jsonb, p_priority integer, p_concurrency jsonb, p_plan jsonb) returns workflow.place[]
language plpgsql immutable
set search_path = public, pg_temp
as $$
begin
    return array(
        select row(p_id, x.key, min(x.capacity), (array_agg(x.on_conflict order by x.ord))[1], p_priority)::workflow.place
        from (select workflow.render_key(c -> 'key', p_input, p_plan -> 'vars', p_labels) as key, (c ->> 'limit')::integer as capacity,
                     c ->> 'on_conflict' as on_conflict, ord
              from jsonb_array_elements(p_concurrency) with ordinality as x(c, ord)) x
        group by x.key order by min(x.ord));
end
$$;
comment on function workflow.wanted_places is 'Internal: the places a workflow needs';

-- Takes workflows that have ended out of their places and lines, and lets in who is next. The caller holds their rows.
create or replace function workflow.leave_places(p_workflows uuid[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_keys text[] := array(
        select distinct p.key from workflow.places p where p.workflow_id = any(p_workflows));
begin
    if v_keys <> '{}' then
        perform workflow.lock_concurrency_keys(v_keys);
        delete from workflow.places p where p.workflow_id = any(p_workflows);
        -- A retry may be one of a version without keys: nobody would let it in.
        update workflow.workflows w set queued_at = null where w.id = any(p_workflows) and w.queued_at is not null;
        perform workflow.enter_places(v_keys, p_now);
    end if;
end
$$;
comment on function workflow.leave_places is 'Internal: free the places of workflows that have ended';

-- Locks the rows of keys, in order; makes those that are not there.
create or replace function workflow.lock_concurrency_keys(p_keys text[]) returns void
language sql volatile
as $$
    insert into workflow.concurrency_keys as k (key)
    select distinct x from unnest(p_keys) x order by x
    on conflict (key) do update set key = k.key
$$;
comment on function workflow.lock_concurrency_keys is 'Internal: lock the rows of concurrency keys';

-- Lets in who is next at some keys, whose rows the caller holds, as far as there are places. Looks at the first p_look of each
-- line, and goes on only while all of them get in; sweep_places looks deeper. Returns how many got in.
create or replace function workflow.enter_places(p_keys text[], p_now timestamptz, p_look integer default 20) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
as $$
declare
    v_key       text;
    v_place     workflow.places;
    v_entered   integer;
    v_let_in    integer;
    v_count     integer := 0;
begin
    for v_key in select distinct k from unnest(p_keys) k loop
        v_entered := (select count(*) from workflow.places p where p.key = v_key and p.entered_at is not null);
        loop
            v_let_in := 0;
            for v_place in
                select * from workflow.places p where p.key = v_key and p.entered_at is null
                order by p.front desc, p.priority desc, p.id limit p_look
            loop
                exit when v_entered >= v_place.capacity;
                continue when not workflow.has_places_elsewhere(v_place.workflow_id, v_key, p_keys);
                continue when not workflow.enter(v_place.workflow_id, p_now);
                v_entered := v_entered + 1;
                v_let_in := v_let_in + 1;
            end loop;
            v_count := v_count + v_let_in;
            exit when v_let_in < p_look;
        end loop;
    end loop;
    return v_count;
end
$$;
comment on function workflow.enter_places is 'Internal: let in who is next at concurrency keys';

-- Whether a workflow in line would get in at all its keys but p_key. Their rows are locked; one that somebody else holds (and
-- is not in p_held) counts as full.
create or replace function workflow.has_places_elsewhere(p_workflow_id uuid, p_key text, p_held text[]) returns boolean
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_place workflow.places;
begin
    for v_place in select * from workflow.places p where p.workflow_id = p_workflow_id and p.key <> p_key loop
        if not v_place.key = any(p_held) then
            perform 1 from workflow.concurrency_keys k where k.key = v_place.key for update skip locked;
            if not found then
                return false;
            end if;
        end if;
        if (select count(*) from workflow.places p where p.key = v_place.key and p.entered_at is not null) >= v_place.capacity then
            return false;
        end if;
    end loop;
    return true;
end
$$;
comment on function workflow.has_places_elsewhere is 'Internal: whether only one key keeps a workflow in line';

-- Lets a workflow in at all its keys, and unparks what it has pending. False when its row is locked by somebody else, or it
-- is paused.
create or replace function workflow.enter(p_workflow_id uuid, p_now timestamptz) returns boolean
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_workflow workflow.workflows;
begin
    select * into v_workflow from workflow.workflows w where w.id = p_workflow_id and w.paused_at is null
    for no key update skip locked;
    if not found then
        return false;
    end if;
    update workflow.places p set entered_at = p_now, front = false where p.workflow_id = p_workflow_id;
    if v_workflow.queued_at is not null then
        update workflow.workflows w set queued_at = null where w.id = p_workflow_id;
        insert into workflow.events (workflow_id, type, at) values (p_workflow_id, 'workflow.dequeued', p_now);
        update workflow.tasks t set pending_since = p_now where t.workflow_id = p_workflow_id and t.status = 'pending';
        if v_workflow.status = 'running' or not workflow.is_paused() then
            update workflow.jobs j set scheduled_at = null, woken_at = workflow.clock()
            where j.status = 'todo' and j.id = any(array(
                select t.job_id from workflow.tasks t where t.workflow_id = p_workflow_id and t.status = 'pending'));
            perform workflow.wake_queues_of(p_workflow_id);
        end if;
    end if;
    return true;
end
$$;
comment on function workflow.enter is 'Internal: let a workflow in at its concurrency keys';

-- Looks after up to p_limit lines, from after the key p_after on: lets in who was left when something was locked, or stands
-- behind many that are paused. Forgets keys that nobody has a place at. Waits for no lock.
--
-- Returns {"entered": count, "last": key to go on after, or null at the end}.
create or replace function workflow.sweep_places(p_after text default null, p_limit integer default 100) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
as $$
declare
    v_keys  text[];
    v_last  text;
    v_mine  text[];
begin
    v_keys := array(select k.key from workflow.concurrency_keys k where k.key > coalesce(p_after, '') order by k.key limit p_limit);
    v_last := case when cardinality(v_keys) = p_limit then v_keys[p_limit] end;
    v_mine := array(
        select k.key from workflow.concurrency_keys k
        where k.key = any(v_keys) and (workflow.has_line(k.key, false) or not workflow.has_line(k.key, true))
        order by k.key
        for update skip locked);
    -- Looked at again under the locks: nobody comes or goes any more.
    delete from workflow.concurrency_keys k
    where k.key = any(array(
        select x from unnest(v_mine) x where not workflow.has_line(x, true) and not workflow.has_line(x, false)));
    return jsonb_build_object(
        'entered', workflow.enter_places(v_mine, workflow.clock(), 200), 'last', v_last);
end
$$;
comment on function workflow.sweep_places is 'Let in who is next at concurrency keys, where that was missed';

-- Whether somebody is in at a key, or in line.
create or replace function workflow.has_line(p_key text, p_entered boolean) returns boolean
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    if p_entered then
        return exists (select 1 from workflow.places p where p.key = p_key and p.entered_at is not null);
    end if;
    return exists (select 1 from workflow.places p where p.key = p_key and p.entered_at is null);
end
$$;
comment on function workflow.has_line is 'Internal: whether somebody is in at a concurrency key, or in line';

-- Where a workflow in line stands: {"key", "limit", "entered", "running": [up to 5 workflows, the oldest first], "ahead",
-- "more_ahead"}, of several keys the first that has no place for it. Looks at the first 1,000 in line.
create or replace function workflow.place_in_line(p_workflow_id uuid) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_place     workflow.places;
    v_full      workflow.places;
    v_entered   bigint;
    v_ahead     bigint;
begin
    for v_place in select * from workflow.places p where p.workflow_id = p_workflow_id loop
        v_full := coalesce(v_full, v_place);
        select count(*) into v_entered from workflow.places p where p.key = v_place.key and p.entered_at is not null;
        if v_entered >= v_place.capacity then
            v_full := v_place;
            exit;
        end if;
    end loop;
    select count(*) into v_entered from workflow.places p where p.key = v_full.key and p.entered_at is not null;
    v_ahead := (
        select x.n - 1
        from (select p.workflow_id, row_number() over (order by p.front desc, p.priority desc, p.id) as n
              from workflow.places p where p.key = v_full.key and p.entered_at is null
              order by p.front desc, p.priority desc, p.id limit 1001) x
        where x.workflow_id = p_workflow_id);
    return jsonb_build_object(
        'key', v_full.key, 'limit', v_full.capacity, 'entered', v_entered,
        'running', array(
            select p.workflow_id from workflow.places p
            where p.key = v_full.key and p.entered_at is not null order by p.id limit 5),
        'ahead', coalesce(v_ahead, 1000), 'more_ahead', v_ahead is null);
end
$$;
comment on function workflow.place_in_line is 'Internal: where a workflow stands in line for a concurrency key';
