-- Idempotency that a definition asks for: a start whose key was used is the start that was made then. Whoever comes second
-- waits for the first to commit, so that fifty at once start one workflow.

-- Takes the keys of workflows about to be started.
--
-- p_starts  the starts as given to workflow.start_many; `once` in one of them is a key beside the definition's.
--
-- Returns for each of them, in order, the workflow that was started with its key before (also by one ahead of it in the
-- list), or null. Errors: WF409 there is one and the definition says `reject`; WF422 a key cannot be made.
create or replace function workflow.take_start_keys(p_new workflow.starting[], p_starts jsonb, p_now timestamptz) returns uuid[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_keys      workflow.start_key[];
    v_existing  uuid[] := array_fill(null::uuid, array[cardinality(p_new)]);
    v_key       workflow.start_key;
    v_workflow  uuid;
begin
    v_keys := array(
        select row(n.position, n.id, n.name, k.key, k.on_conflict, k.expires_at)::workflow.start_key
        from (select (p_new[i]).*, i as position from generate_subscripts(p_new, 1) i) n
        cross join lateral (
            select v.idempotency, v.plan from workflow.definition_versions v where v.id = n.version_id offset 0) v
        cross join lateral (
            select workflow.render_key(v.idempotency -> 'key', n.input, v.plan -> 'vars', n.labels) as key,
                   v.idempotency ->> 'on_conflict' as on_conflict,
                   p_now + make_interval(secs => (v.idempotency ->> 'ttl')::double precision) as expires_at
            where v.idempotency is not null and not p_starts -> n.position - 1 ? 'rerun_of'  -- it is the same on purpose
            union all
            select p_starts -> n.position - 1 ->> 'once', 'return_existing', null
            where p_starts -> n.position - 1 ? 'once') k
        order by n.position);
    -- In one order, so that two batches wait for each other in one direction only.
    insert into workflow.start_keys as k (name, key, workflow_id, expires_at)
    select x.name, x.key, x.workflow_id, x.expires_at
    from (select distinct on (n.name, n.key) n.* from unnest(v_keys) n order by n.name, n.key, n.position) x
    order by x.name, x.key
    on conflict (name, key) do update set workflow_id = excluded.workflow_id, expires_at = excluded.expires_at
        where k.expires_at <= p_now;

    foreach v_key in array v_keys loop
        select k.workflow_id into v_workflow from workflow.start_keys k where k.name = v_key.name and k.key = v_key.key;
        continue when v_workflow = v_key.workflow_id;
        if v_key.on_conflict = 'reject' then
            raise exception 'A workflow of % with the key % was started before: %.', v_key.name, v_key.key, v_workflow using
                errcode = 'WF409', detail = 'already-started', constraint = v_workflow::text,
                hint = format('GET /api/v1/workflows/%s shows it.', v_workflow);
        end if;
        v_existing[v_key.position] := v_workflow;
    end loop;
    -- A key that was new, of a start that another key of it makes an earlier one.
    update workflow.start_keys k set workflow_id = v_existing[n.position]
    from unnest(v_keys) n
    where k.name = n.name and k.key = n.key and k.workflow_id = n.workflow_id and v_existing[n.position] is not null;
    return v_existing;
end
$$;
comment on function workflow.take_start_keys is 'Internal: which of some starts were made before';

-- A start that was made before, as workflow.start_many answers it.
create or replace function workflow.existing_start(p_workflow_id uuid) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return (
        select jsonb_build_object('id', w.id, 'name', w.name, 'version', w.version, 'status', w.status, 'existing', true)
        from workflow.workflows w where w.id = p_workflow_id);
end
$$;
comment on function workflow.existing_start is 'Internal: a start that was made before';

-- What definitions ask for when workflows of theirs have been started: places at concurrency keys, budgets. p_existing says
-- which of p_new were not started after all.
create or replace function workflow.apply_start_rules(
    p_new workflow.starting[], p_existing uuid[], p_starts jsonb, p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_places    workflow.place[];
    v_started   integer[];
begin
    v_places := array(
        select p
        from (select (p_new[i]).*, i as position from generate_subscripts(p_new, 1) i where p_existing[i] is null) n
        cross join lateral (
            select v.concurrency, v.plan from workflow.definition_versions v where v.id = n.version_id offset 0) v
        cross join lateral (
            select w.p, w.ord
            from unnest(workflow.wanted_places(n.id, n.input, n.labels, n.priority, v.concurrency, v.plan)) with ordinality
                as u(workflow_id, key, capacity, on_conflict, priority, ord)
            cross join lateral (
                select row(u.workflow_id, u.key, u.capacity, u.on_conflict, u.priority)::workflow.place as p, u.ord) w
            where v.concurrency is not null
            union all
            select row(n.id, s.key, s."limit", s.on_conflict, n.priority)::workflow.place, 0
            from jsonb_to_recordset(p_starts -> n.position - 1 -> 'places') as s(key text, "limit" integer, on_conflict text)) x
        order by n.position, x.ord);
    if v_places <> '{}' then
        perform workflow.take_places(v_places, p_now);
    end if;
    v_started := array(select i from generate_subscripts(p_new, 1) i where p_existing[i] is null order by i);
    if v_started <> '{}' then
        perform workflow.begin_budgets(
            array(select (p_new[i]).id from unnest(v_started) i order by i),
            array(select (p_starts -> i - 1 ->> 'parent_id')::uuid from unnest(v_started) i order by i));
    end if;
end
$$;
comment on function workflow.apply_start_rules is 'Internal: what definitions ask for at the start of their workflows';
