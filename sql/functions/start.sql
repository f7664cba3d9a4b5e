-- Starts workflows, all or none, in the caller's transaction: rows for the workflows and the tasks of their own steps, jobs
-- for the tasks that wait for nothing.
--
-- p_starts  JSON list of {"name", "version"?, "hash"?, "input"?, "labels"?, "priority"?, "awaited"?, "created_by"?, "audit"?,
--           "traceparent"?}. Without a version the pinned one, else the latest. With a hash only if the version has that content: the caller
--           remembers it, and another may be meant by now. The end of an awaited one is told by a notification. `created_by`
--           is the principal that starts it, p_principal unless it says so; `audit` the request's row of the audit log (see
--           workflow.add_audit), which gets the id of this workflow; `traceparent` the span of whoever starts it, by W3C Trace
--           Context: one that is malformed counts as none. The engine's own starts also have `once`, a key of the definition, and
--           `places`, a list of {"key", "limit", "on_conflict"}; those of children `parent_task_id`, `parent_id`, `root_id`,
--           `depth` and `on_parent_cancel` (see workflow.await_child).
-- p_key     idempotency key of the whole list; with the same p_fingerprint again the first answer is repeated.
--
-- Returns {"started": [{"id","name","version","status"}], "replayed": bool}, in order. A start that the definition's own
-- idempotency recognises is answered with the workflow that was started then, and "existing": true.
-- Errors: WF404 unknown definition or version; WF409 disabled definition, or what the definition rejects (idempotency,
-- concurrency); WF422 key used with another fingerprint, or a key of the definition cannot be made; WF503 the engine is paused
-- (an answer to an earlier request is repeated all the same).
create or replace function workflow.start_many(
    p_starts jsonb, p_key text default null, p_fingerprint text default '', p_principal text default '') returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_known     workflow.idempotency_keys;
    v_new       workflow.starting[];
    v_all       workflow.starting[];
    v_existing  uuid[];                 -- for each of v_all the workflow that it is already, or null
    v_ruled     boolean;                -- whether some definition says whether, when, or for how much its workflows run
    v_roots     workflow.ready_task[];
    v_jobs      bigint[];
    v_started   jsonb;
begin
    if p_key is not null then
        delete from workflow.idempotency_keys k
        where k.principal = p_principal and k.key = p_key and k.created_at < v_now - interval '24 hours';
        -- Waits for a concurrent request with the same key, so that fifty at once start one workflow.
        insert into workflow.idempotency_keys (principal, key, fingerprint, created_at)
        values (p_principal, p_key, p_fingerprint, v_now)
        on conflict do nothing;
        if not found then
            select * into v_known from workflow.idempotency_keys k where k.principal = p_principal and k.key = p_key;
            if v_known.fingerprint <> p_fingerprint then
                raise exception 'This idempotency key was used before with another request.' using
                    errcode = 'WF422', detail = 'idempotency-key-reused',
                    hint = 'Use a new key for a new request.';
            end if;
            return jsonb_build_object('started', v_known.response, 'replayed', true);
        end if;
    end if;

    if workflow.is_paused() and p_starts @? '$[*] ? (!exists(@.parent_task_id))' then  -- children wait until it is resumed
        raise exception 'The engine is paused: it accepts nothing new.' using
            errcode = 'WF503', detail = 'engine-paused',
            hint = 'Try again later, or resume it: POST /api/v1/resume, or select workflow.resume().';
    end if;

    v_new := array(
        select row(workflow.new_id(), nextval('workflow.task_base'), v.name, v.id, v.version, v.final_steps,
                   coalesce(s.input, '{}'), coalesce(v.plan -> 'labels', '{}') || coalesce(s.labels, '{}'),
                   coalesce(s.priority, (v.plan ->> 'priority')::integer, 0),
                   coalesce((v.plan ->> 'fail_fast')::boolean, true), v.has_ending,
                   v_now + make_interval(secs => (v.plan ->> 'timeout')::double precision), v.has_deadlines,
                   s.parent_task_id, s.parent_id, s.root_id, coalesce(s.depth, 0), s.on_parent_cancel,
                   coalesce(s.awaited, false), coalesce(s.created_by, nullif(p_principal, '')),
                   workflow.read_traceparent(s.traceparent))::workflow.starting
        from rows from (jsonb_to_recordset(p_starts) as (
            name text, version integer, hash text, input jsonb, labels jsonb, priority integer, parent_task_id bigint,
            parent_id uuid, root_id uuid, depth integer, on_parent_cancel text, awaited boolean, created_by text,
            traceparent text))
            with ordinality
            as s(name, version, hash, input, labels, priority, parent_task_id, parent_id, root_id, depth, on_parent_cancel,
                 awaited, created_by, traceparent, ord)
        join workflow.definitions d on d.name = s.name and d.disabled_at is null
        join workflow.definition_versions v
            on v.name = d.name and v.version = coalesce(s.version, d.pinned_version, d.latest_version)
            and v.hash = coalesce(s.hash, v.hash)
        order by s.ord);
    if cardinality(v_new) < jsonb_array_length(p_starts) then
        perform workflow.refuse_start(p_starts);
    end if;

    v_all := v_new;
    v_ruled := exists (
        select 1 from workflow.definition_versions v
        where v.id = any(array(select n.version_id from unnest(v_new) n))
          and (v.idempotency is not null or v.concurrency is not null or v.budget is not null))
        or p_starts @? '$[*] ? (exists(@.once) || exists(@.places) || exists(@.parent_id))';
    if v_ruled then
        v_existing := workflow.take_start_keys(v_all, p_starts, v_now);
        v_new := array(select v_all[i] from generate_subscripts(v_all, 1) i where v_existing[i] is null order by i);
    end if;

    insert into workflow.workflows
        (id, version_id, name, version, input, labels, priority, fail_fast, open_tasks, created_at, has_ending, deadline,
         parent_task_id, parent_id, root_id, depth, on_parent_cancel, awaited, created_by, traceparent)
    select n.id, n.version_id, n.name, n.version, n.input, n.labels, n.priority, n.fail_fast, n.final_steps, v_now,
           n.has_ending, n.deadline, n.parent_task_id, n.parent_id, n.root_id, n.depth, n.on_parent_cancel, n.awaited, n.created_by,
           n.traceparent
    from unnest(v_new) n;

    v_roots := array(
        select row(n.base + s.step_index, s.queue, s.type, s.priority + n.priority, null)::workflow.ready_task
        from unnest(v_new) with ordinality
            as n(id, base, name, version_id, version, final_steps, input, labels, priority, fail_fast, has_ending, deadline,
                 has_deadlines, parent_task_id, parent_id, root_id, depth, on_parent_cancel, awaited, created_by, traceparent,
                 ord)
        join workflow.definition_steps s on s.version_id = n.version_id and s.scope = 0 and s.kind = 'step'
        where workflow.runs_at_once(s.rule, s.dependencies, s.ordering)
        order by n.ord, s.step_index);
    v_jobs := workflow.enqueue(v_roots);

    -- A root finds its job by its number in their order, not by a join with v_roots: a plan that is kept knows nothing of how
    -- many there are, and with a nested loop 10,000 steps would be compared with 10,000 roots.
    insert into workflow.tasks
        (id, workflow_id, version_id, step_index, status, priority, open_dependencies, job_id, pending_since)
    select s.task_id, s.workflow_id, s.version_id, s.step_index,
           case when s.root is null then 'blocked' else 'pending' end, s.priority, s.open, v_jobs[s.root],
           case when s.root is not null then v_now end
    from (
        select n.base + s.step_index as task_id, n.id as workflow_id, n.version_id, s.step_index,
               s.priority + n.priority as priority, cardinality(s.dependencies) as open,
               case when r.root then count(*) filter (where r.root) over (order by n.ord, s.step_index) end as root
        from unnest(v_new) with ordinality
            as n(id, base, name, version_id, version, final_steps, input, labels, priority, fail_fast, has_ending, deadline,
                 has_deadlines, parent_task_id, parent_id, root_id, depth, on_parent_cancel, awaited, created_by, traceparent,
                 ord)
        join workflow.definition_steps s on s.version_id = n.version_id and s.scope = 0 and s.kind = 'step'
        cross join lateral (select workflow.runs_at_once(s.rule, s.dependencies, s.ordering) as root) r) s;

    if exists (select 1 from unnest(v_new) n where n.has_deadlines) then
        perform workflow.set_deadlines(array(select r.task_id from unnest(v_roots) r), v_now, true);
    end if;

    insert into workflow.events (workflow_id, type, at)
    select n.id, 'workflow.created', v_now from unnest(v_new) n;

    if p_starts @? '$[*].audit' then
        perform workflow.add_audit((
            select jsonb_agg(s.start -> 'audit' || jsonb_build_object(
                'workflow_id', coalesce(v_existing[s.ord], v_all[s.ord].id)) order by s.ord)
            from jsonb_array_elements(p_starts) with ordinality as s(start, ord)
            where s.start ? 'audit'));
    end if;

    if v_ruled then
        perform workflow.apply_start_rules(v_all, v_existing, p_starts, v_now);
    end if;

    select coalesce(jsonb_agg(
        case when v_existing[n.ord] is null
             then jsonb_build_object('id', n.id, 'name', n.name, 'version', n.version, 'status', 'pending')
             else workflow.existing_start(v_existing[n.ord]) end order by n.ord), '[]')
    into v_started
    from unnest(v_all) with ordinality
        as n(id, base, name, version_id, version, final_steps, input, labels, priority, fail_fast, has_ending, deadline,
             has_deadlines, parent_task_id, parent_id, root_id, depth, on_parent_cancel, awaited, created_by, traceparent, ord);

    if p_key is not null then
        update workflow.idempotency_keys k set response = v_started where k.principal = p_principal and k.key = p_key;
    end if;
    return jsonb_build_object('started', v_started, 'replayed', false);
end
$$;
comment on function workflow.start_many is 'Start workflows, all or none';

-- Says why one of some starts cannot be made: raises WF404, WF409, or 40001 when it can be by now.
create or replace function workflow.refuse_start(p_starts jsonb) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_fault     record;
begin
    select s.name, s.version, d.disabled_at is not null as disabled into v_fault
    from jsonb_to_recordset(p_starts) as s(name text, version integer, hash text)
    left join workflow.definitions d on d.name = s.name
    left join workflow.definition_versions v
        on v.name = d.name and v.version = coalesce(s.version, d.pinned_version, d.latest_version)
        and v.hash = coalesce(s.hash, v.hash)
    where v.id is null or d.disabled_at is not null
    limit 1;
    if not found then  -- it was registered, or enabled again, in this moment
        raise exception 'The definitions have just changed.' using errcode = '40001', hint = 'Try again.';
    elsif v_fault.disabled then
        raise exception 'The definition % was deleted.', v_fault.name using
            errcode = 'WF409', detail = 'definition-disabled', hint = 'Register it again to start it.';
    end if;
    perform workflow.version_id(v_fault.name, v_fault.version);  -- says what is not found
    raise exception 'Workflow definition not found: % with that content.', v_fault.name using
        errcode = 'WF404', detail = 'definition-not-found', hint = 'Submit it with its steps.';
end
$$;
comment on function workflow.refuse_start is 'Internal: why a start cannot be made';

-- Starts one workflow inside the caller's own transaction: it exists if and only if that commits.
--     select workflow.start('data-pipeline', '{"x": 1}');
-- p_traceparent is the span of the caller: the workflow then belongs to its trace.
create or replace function workflow.start(
    p_name text, p_input jsonb default '{}', p_version integer default null, p_key text default null,
    p_traceparent text default null) returns uuid
language sql volatile
as $$
    select (workflow.start_many(
        jsonb_build_array(jsonb_build_object(
            'name', p_name, 'input', p_input, 'version', p_version, 'traceparent', p_traceparent)), p_key,
        md5(jsonb_build_array(p_name, p_version, p_input)::text), 'sql')
        -> 'started' -> 0 ->> 'id')::uuid
$$;
comment on function workflow.start(text, jsonb, integer, text, text) is 'Start a workflow; returns its id';
