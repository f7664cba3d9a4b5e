-- Gives a worker up to p_want pending tasks: each gets its next attempt number, a new lease token and a lease, before
-- any handler starts. Nothing here waits for a lock (SKIP LOCKED throughout), so it may follow settle in one transaction
-- although it locks jobs before tasks before workflows.
--
-- Returns claims as JSON objects separated by commas, or null for none, and the jobs that were looked at for them. `again` says that something claimable was locked by
-- another transaction, so that an idle worker asks again soon instead of waiting for the next wake-up; not `registered`: it
-- must register first, and nothing is claimed.
create or replace function workflow.claim(
    p_worker_id bigint, p_queues text[], p_types text[], p_want integer, p_lease_seconds double precision,
    out claims text, out jobs bigint[], out again boolean, out registered boolean)
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_nestloop = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_names     text[];
    v_tasks     bigint[];
    v_workflows uuid[];
    v_starting  uuid[];
    v_count     bigint;
    v_queue_worker_id bigint;
    v_drained   boolean;    -- by an operator: it stays, and claims nothing
    v_paused    boolean;
    v_limited   boolean;    -- some definition names a lock or limit
    v_unstarted boolean;
begin
    -- procrastinate's own tools may have pruned its row of a worker that stalled.
    select p.id, k.drained_at is not null, array(select 'workflow:' || t from unnest(p_types) t)
    into v_queue_worker_id, v_drained, v_names
    from workflow.workers k
    cross join lateral (select p.id from procrastinate_workers p where p.id = k.queue_worker_id offset 0) p
    where k.id = p_worker_id and (k.status = 'active' or k.status = 'draining' and k.drained_at is not null);
    registered := found;
    again := false;
    jobs := '{}';
    if not registered or v_drained then
        return;
    end if;

    jobs := workflow.ready_jobs(p_queues, v_names, p_want);
    if jobs = '{}' then
        return;
    end if;

    select coalesce(array_agg(t.id), '{}'), array_agg(t.workflow_id) into v_tasks, v_workflows
    from (
        select t.id, t.workflow_id from workflow.tasks t
        where t.id = any(array(
                  select (j.args ->> 'task_id')::bigint from workflow.jobs j where j.id = any(jobs)))
          and t.job_id = any(jobs) and t.status = 'pending'
        for no key update skip locked) t;
    -- As workflow.is_paused, which is a statement more.
    select exists (
               select 1 from workflow.engine e
               where e.only_row and e.paused_at is not null and (e.paused_until is null or e.paused_until > v_now)),
           exists (select 1 from workflow.resources),
           exists (select 1 from workflow.workflows w where w.id = any(v_workflows) and w.status = 'pending')
    into v_paused, v_limited, v_unstarted;
    if v_limited then
        v_tasks := workflow.take_resources(v_tasks, jobs, v_paused, v_now);
    end if;

    -- The first claim of a workflow starts it, unless the engine is paused; one that is being cancelled or started right
    -- now is left for later.
    if v_unstarted and not v_paused then
        v_starting := array(
            select w.id from workflow.workflows w
            where w.id = any(case when v_limited then array(
                      select t.workflow_id from workflow.tasks t where t.id = any(v_tasks)) else v_workflows end)
              and w.status = 'pending' and w.paused_at is null and w.queued_at is null
            for no key update skip locked);
        if v_starting <> '{}' then
            update workflow.workflows w set status = 'running', started_at = v_now where w.id = any(v_starting);
            insert into workflow.events (workflow_id, type, at)
            select s, 'workflow.started', v_now from unnest(v_starting) s;
        end if;
    end if;

    with claimed as (
        update workflow.tasks t set
            status = 'running',
            attempt = t.attempt + 1,
            worker_id = p_worker_id,
            lease_token = gen_random_uuid(),
            lease_until = v_now + make_interval(secs => p_lease_seconds),
            started_at = greatest(v_now, t.pending_since),
            first_started_at = coalesce(t.first_started_at, v_now),
            error = null
        from workflow.workflows w
        where t.id = any(v_tasks) and w.id = any(v_workflows) and w.id = t.workflow_id and w.status = 'running'
          and w.paused_at is null and w.queued_at is null
        returning t.id, t.workflow_id, t.version_id, t.step_index, t.attempt, t.tries, t.job_id, t.lease_token,
                  t.timeout_override, t.pending_since, t.started_at, t.first_started_at, t.awaits, t.crashes,
                  w.name, w.version, w.labels, w.input, w.started_at as workflow_started_at, w.parent_id, w.ending,
                  w.error as workflow_error, w.traceparent
    ), job as (
        update workflow.jobs j set status = 'doing', worker_id = v_queue_worker_id
        where j.id = any(array(select c.job_id from claimed c))
    ), event as (
        insert into workflow.events (workflow_id, type, task_id, attempt, at)
        select c.workflow_id, 'task.started', c.id, c.attempt, v_now from claimed c
    )
    -- Written as text in one go: as jsonb it would be copied for each part that is added, and once more for each wrapping.
    select string_agg(concat(
        '{"task_id":', c.id,
        ',"workflow_id":"', c.workflow_id,
        '","workflow_name":', to_json(c.name),
        ',"workflow_version":', c.version,
        ',"version_id":', c.version_id,
        ',"step_index":', c.step_index,
        ',"attempt":', c.attempt,
        ',"tries":', c.tries,
        ',"lease_token":"', c.lease_token,
        '","wait_seconds":', coalesce(extract(epoch from c.started_at - c.pending_since)::text, 'null'),
        ',"elapsed_seconds":', extract(epoch from v_now - c.first_started_at),
        ',"timeout":', coalesce(coalesce(c.timeout_override, y.timeout)::text, 'null'),
        ',"timeout_is_override":', case when c.timeout_override is null then 'false' else 'true' end,
        ',"labels":', c.labels,
        ',"workflow_started_at":', to_json(c.workflow_started_at),
        ',"input":', case when s.uses_input then c.input else 'null' end,
        case when s.scope > 0 then workflow.more_fields(workflow.scope_of_claim(c.id, c.step_index))
             when s.refs = '{}' then ',"steps":null'
             else concat(',"steps":', coalesce(workflow.step_results(c.id - c.step_index, c.version_id, s.refs), 'null')) end,
        -- Absent, not null: workers of the version before know no such field.
        case when y.max_attempts is not null then concat(',"max_attempts":', y.max_attempts) end,
        case when c.awaits is not null then workflow.more_fields(workflow.resumption(c.id)) end,
        case when c.crashes > 0 then concat(',"crashes":', c.crashes) end,
        case when c.parent_id is not null then concat(',"workflow_parent_id":"', c.parent_id, '"') end,
        case when c.traceparent is not null then concat(',"traceparent":"', c.traceparent, '"') end,
        case when c.ending is not null then concat(',"workflow_status":"', c.ending, '"') end,
        case when c.ending is not null and c.workflow_error is not null
             then concat(',"workflow_error":', c.workflow_error) end,
        '}'), ','), count(*)
    into claims, v_count
    from claimed c
    cross join lateral (
        select s.type, s.uses_input, s.refs, s.scope from workflow.definition_steps s
        where s.version_id = c.version_id and s.step_index = c.step_index offset 0) s
    left join lateral (
        select y.timeout, y.max_attempts from workflow.task_types y where y.name = s.type offset 0) y on true;

    again := v_count < cardinality(jobs);
    if again then
        if v_paused or exists (
            select 1 from workflow.workflows w
            where w.id = any(v_workflows) and (w.paused_at is not null or w.queued_at is not null)) then
            perform workflow.park_paused(jobs);
        end if;
        perform workflow.mend_jobs(jobs);
    end if;
end
$$;
comment on function workflow.claim is 'Internal: lease pending tasks to a worker';

-- The fields of an object, to be added to the text of another one.
create or replace function workflow.more_fields(p_object jsonb) returns text
language sql immutable parallel safe
as $$
    select case when p_object = '{}' then '' else ',' || substring(p_object::text from 2 for length(p_object::text) - 2) end
$$;
comment on function workflow.more_fields is 'Internal: the fields of an object, to be added to the text of another one';

-- What expressions may see of other steps: {"<step id>": {"status", "output"?, "error"?, ...}}. What a step has not got
-- is absent, not null. p_base is the base of the scope (see workflow.task_base).
create or replace function workflow.step_results(p_base bigint, p_version_id integer, p_refs integer[]) returns jsonb
language plpgsql stable  -- not sql: its plan would be made anew in every turn
set search_path = public, pg_temp
as $$
begin
    return (
        select jsonb_object_agg(s.id,
            jsonb_build_object('status', t.status, 'attempt', t.attempt)
            || case when t.output is not null then jsonb_build_object('output', t.output) else '{}' end
            || case when t.error is not null then jsonb_build_object('error', t.error) else '{}' end
            || case when t.started_at is not null then jsonb_build_object('started_at', t.started_at) else '{}' end
            || case when t.finished_at is not null then jsonb_build_object('finished_at', t.finished_at) else '{}' end)
        from unnest(p_refs) r
        cross join lateral (
            select t.status, t.attempt, t.output, t.error, t.started_at, t.finished_at
            from workflow.tasks t where t.id = p_base + r offset 0) t
        cross join lateral (
            select s.id from workflow.definition_steps s
            where s.version_id = p_version_id and s.step_index = r offset 0) s);
end
$$;
comment on function workflow.step_results is 'Internal: results of steps, as expressions see them';
