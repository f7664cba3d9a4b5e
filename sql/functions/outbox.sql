-- The outbox: what steps emit is a row of the commit that ends them, and is delivered afterwards, at least once. The leader
-- delivers within a poll: signals here, webhooks by HTTP. What cannot be delivered is a dead letter, until somebody sends it
-- again.

-- Puts what attempts have emitted into the outbox: `data` is {"name", "payload"?, "to": "signal"|"webhook", "workflow_id"?,
-- "url"?}. Nothing here may fail, or the attempt could never end; a target that is none is told by its delivery.
create or replace function workflow.emit(p_effects workflow.effect[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    insert into workflow.outbox (id, workflow_id, task_id, name, payload, kind, target, origin, created_at, due_at)
    select workflow.new_id(), e.workflow_id, e.task_id, coalesce(e.data ->> 'name', ''), e.data -> 'payload', k.kind, k.target,
           case when k.kind = 'webhook' then workflow.origin_of(k.target) end, p_now, p_now
    from unnest(p_effects) e
    cross join lateral (
        select case e.data ->> 'to' when 'webhook' then 'webhook' else 'signal' end as kind,
               case e.data ->> 'to' when 'webhook' then e.data ->> 'url' else e.data ->> 'workflow_id' end as target) k
    order by e.task_id;
end
$$;
comment on function workflow.emit is 'Internal: put what attempts have emitted into the outbox';

-- Scheme and host of a URL: deliveries to one of them must not hold up all others.
create or replace function workflow.origin_of(p_url text) returns text
language sql immutable parallel safe
as $$
    select coalesce(lower(substring(p_url from '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*')), '')
$$;
comment on function workflow.origin_of is 'Internal: scheme and host of a URL';

-- Delivers emitted signals that are due, up to p_limit. One for a workflow that has ended, or that there never was, is a dead
-- letter. One without a workflow goes to all that wait for its name at that time: it is split into one for each, and so it
-- may take several calls.
--
-- A workflow that somebody's long transaction holds is tried again a second later.
--
-- Returns {"delivered", "dead", "split", "letters": [{"id", "workflow_id", "name", "target", "error"}]}, the last of those that
-- are dead now: call again while there are any.
create or replace function workflow.deliver_signals(p_limit integer default 200) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set plan_cache_mode = force_generic_plan
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_due       uuid[];
    v_locked    uuid[];
    v_letter    workflow.outbox;
    v_to        uuid;
    v_fault     text;
    v_delivered integer := 0;
    v_split     integer := 0;
    v_dead      jsonb := '[]';
begin
    v_due := array(
        select o.id from workflow.outbox o
        where o.kind = 'signal' and o.status = 'pending' and o.due_at <= v_now
        order by o.kind, o.due_at, o.seq limit p_limit);
    if v_due = '{}' then
        return '{"delivered": 0, "dead": 0, "split": 0, "letters": []}';
    end if;
    -- The workflows first, by id (lock order). Those that are gone or have ended are not among them.
    v_locked := workflow.lock_workflows(array(
        select distinct workflow.as_uuid(o.target) from workflow.outbox o where o.id = any(v_due)));

    for v_letter in
        select o.* from workflow.outbox o
        where o.id = any(v_due) and o.status = 'pending'
        order by o.due_at, o.seq
        for update skip locked
    loop
        if v_letter.target is null then
            v_split := v_split + workflow.split_signal(v_letter, v_now);
            continue;
        end if;
        v_to := workflow.as_uuid(v_letter.target);
        v_fault := null;
        if v_to = any(v_locked) then
            begin
                perform workflow.signal(v_to, v_letter.name, v_letter.payload, 'workflow ' || v_letter.workflow_id);
            exception when sqlstate 'WF422' or sqlstate 'WF409' then  -- it has no proper name, or there are too many
                v_fault := sqlerrm;
            end;
        else
            v_fault := (select case when w.finished_at is null then '' else 'The workflow has ended.' end
                        from workflow.workflows w where w.id = v_to);
            v_fault := coalesce(v_fault, 'There is no such workflow.');
        end if;
        if v_fault = '' then  -- locked by another
            update workflow.outbox o set due_at = v_now + interval '1 second' where o.id = v_letter.id;
        elsif v_letter.copy_of is not null then
            delete from workflow.outbox o where o.id = v_letter.id;
            v_delivered := v_delivered + 1;
        else
            update workflow.outbox o set
                status = case when v_fault is null then 'delivered' else 'dead' end,
                delivered_at = case when v_fault is null then v_now end, tries = o.tries + 1, error = v_fault
            where o.id = v_letter.id;
            v_delivered := v_delivered + (v_fault is null)::integer;
            if v_fault is not null then
                v_dead := v_dead || jsonb_build_object(
                    'id', v_letter.id, 'workflow_id', v_letter.workflow_id, 'name', v_letter.name,
                    'target', v_letter.target, 'error', v_fault);
            end if;
        end if;
    end loop;
    return jsonb_build_object(
        'delivered', v_delivered, 'dead', jsonb_array_length(v_dead), 'split', v_split, 'letters', v_dead);
end
$$;
comment on function workflow.deliver_signals is 'Deliver emitted signals that are due; returns how many';

-- Splits an emitted signal without a workflow: one for each of the next p_limit workflows that wait for its name. Returns 1.
create or replace function workflow.split_signal(p_letter workflow.outbox, p_now timestamptz, p_limit integer default 1000)
    returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_found uuid[];
begin
    v_found := array(
        select x.workflow_id from workflow.signal_waits x
        where x.name = p_letter.name and x.workflow_id > coalesce(p_letter.cursor, '00000000-0000-0000-0000-000000000000')
        group by x.name, x.workflow_id  -- both: the order of the index
        order by x.name, x.workflow_id limit p_limit);
    insert into workflow.outbox (id, workflow_id, task_id, name, payload, kind, target, created_at, due_at, copy_of)
    select workflow.new_id(), p_letter.workflow_id, p_letter.task_id, p_letter.name, p_letter.payload, 'signal', f::text,
           p_letter.created_at, p_now, p_letter.id
    from unnest(v_found) f;
    update workflow.outbox o set
        cursor = v_found[cardinality(v_found)],
        receivers = coalesce(o.receivers, 0) + cardinality(v_found),
        tries = 1,
        status = case when cardinality(v_found) < p_limit then 'delivered' else 'pending' end,
        delivered_at = case when cardinality(v_found) < p_limit then p_now end
    where o.id = p_letter.id;
    return 1;
end
$$;
comment on function workflow.split_signal is 'Internal: split a signal to all that wait for it into one for each';

-- A text as an id, null where it is none.
create or replace function workflow.as_uuid(p_text text) returns uuid
language sql immutable parallel safe
as $$
    select case when p_text ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then p_text::uuid end
$$;
comment on function workflow.as_uuid is 'Internal: a text as an id, null where it is none';

-- Takes webhooks that are due for a try, at most p_limit and p_each to one host, and none to the hosts in p_busy. Who takes
-- one has p_seconds for it; then it counts as lost and is due again.
--
-- Returns [{"id", "seq", "workflow_id", "task_id", "name", "payload", "url", "origin", "tries", "created_at"}], this try counted.
create or replace function workflow.take_webhooks(
    p_limit integer, p_each integer default 8, p_busy text[] default '{}', p_seconds double precision default 60)
    returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_now   timestamptz := workflow.clock();
    v_seen  uuid[];
    v_taken uuid[];
    v_found jsonb;
begin
    v_seen := array(
        select o.id from workflow.outbox o
        where o.kind = 'webhook' and o.status = 'pending' and o.due_at <= v_now
        order by o.kind, o.due_at, o.seq limit 10 * p_limit
        for update skip locked);
    if v_seen = '{}' then
        return '[]';
    end if;
    v_taken := array(
        select x.id
        from (select o.id, o.due_at, o.seq,
                     row_number() over (partition by o.origin order by o.due_at, o.seq) as place
              from workflow.outbox o where o.id = any(v_seen) and not o.origin = any(p_busy)) x
        where x.place <= p_each
        order by x.due_at, x.seq limit p_limit);
    if cardinality(v_seen) = 10 * p_limit then
        -- Many of few hosts are ahead of all others: let these pass.
        update workflow.outbox o set due_at = v_now + interval '5 seconds' where o.id = any(v_seen) and not o.id = any(v_taken);
    end if;
    with taken as (
        update workflow.outbox o set tries = o.tries + 1, due_at = v_now + make_interval(secs => p_seconds)
        where o.id = any(v_taken)
        returning o.*
    )
    select jsonb_agg(jsonb_build_object(
        'id', t.id, 'workflow_id', t.workflow_id, 'task_id', t.task_id, 'name', t.name, 'payload', t.payload,
        'url', t.target, 'origin', t.origin, 'tries', t.tries, 'created_at', t.created_at) order by t.seq)
    into v_found from taken t;
    return coalesce(v_found, '[]');
end
$$;
comment on function workflow.take_webhooks is 'Take webhooks that are due for a try';

-- Notes how the try of a webhook went: delivered without p_error; else due again after p_delay seconds, or without a delay a
-- dead letter. p_tries is the number of the try: of one that has been taken anew since, nothing is noted.
create or replace function workflow.end_webhook(
    p_id uuid, p_tries integer, p_error text default null, p_delay double precision default null) returns text
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_status    text;
begin
    update workflow.outbox o set
        status = case when p_error is null then 'delivered' when p_delay is null then 'dead' else 'pending' end,
        delivered_at = case when p_error is null then v_now end,
        due_at = v_now + make_interval(secs => coalesce(p_delay, 0)),
        error = p_error
    where o.id = p_id and o.tries = p_tries and o.status = 'pending'
    returning o.status into v_status;
    return v_status;
end
$$;
comment on function workflow.end_webhook is 'Note how the try of a webhook went; returns its status, null when it is another''s now';

-- Sends again what was given up, or at once what waits for its next try. The number of tries begins anew.
--
-- Errors: WF404 no such delivery; WF409 it was delivered.
create or replace function workflow.redeliver(p_id uuid) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_status text;
begin
    select o.status into v_status from workflow.outbox o where o.id = p_id for update;
    if not found then
        raise exception 'There is no delivery %.', p_id using
            errcode = 'WF404', detail = 'delivery-not-found', hint = 'GET /api/v1/outbox lists those that are not delivered.';
    elsif v_status = 'delivered' then
        raise exception 'It has already been delivered.' using errcode = 'WF409', detail = 'invalid-transition';
    end if;
    update workflow.outbox o set
        status = 'pending', due_at = workflow.clock(), tries = case v_status when 'dead' then 0 else o.tries end
    where o.id = p_id;
end
$$;
comment on function workflow.redeliver is 'Send again what was given up';

-- Sends again those of these deliveries that were given up, and at once those that wait for their next try. Returns how many.
create or replace function workflow.redeliver_many(p_ids uuid[]) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_ids   uuid[];
begin
    v_ids := array(
        select o.id from workflow.outbox o
        where o.id = any(p_ids) and o.status <> 'delivered' order by o.id for update);
    update workflow.outbox o set
        status = 'pending', due_at = workflow.clock(), tries = case o.status when 'dead' then 0 else o.tries end
    where o.id = any(v_ids);
    return cardinality(v_ids);
end
$$;
comment on function workflow.redeliver_many is 'Send again what was given up, many at once; returns how many';
