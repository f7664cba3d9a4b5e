-- Records how attempts ended and everything that follows from it, in the caller's transaction. The heart of the engine:
-- turns, released work, lost leases and transactional steps all end here, so there is one way for an attempt to end.
--
-- The fence: a completion counts only while its task is running under exactly its (attempt, lease token). Two attempts
-- of one task in one batch therefore cannot be taken for each other. A stale completion changes nothing.
--
-- workflow.advance says how the plans are kept flat.
--
-- Returns the positions (from 0) of the stale completions. A repeated completion whose first delivery was recorded, as
-- after a connection lost in COMMIT, is not stale.
create or replace function workflow.settle(p_completions workflow.completion[]) returns integer[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now       timestamptz;
    v_tasks     bigint[];
    v_workflows uuid[];
    v_settled   integer;
    v_again     workflow.ready_task[];
    v_ended     workflow.ended_task[];
    v_waiting   workflow.waiting_task[];
    v_left      bigint[];   -- tasks that were resumed and now go on without what they waited for
    v_linked    boolean;    -- some that ended have successors
    v_raised    bigint[];   -- lost once too often: their steps may catch that
    v_effects   workflow.effect[];
    v_given     workflow.completion[];  -- where some were refused: as they came
    v_timed     bigint[];   -- tasks that go on and have deadlines
    v_rests     boolean;    -- some say what they rest on
    v_budgeted  boolean;    -- some definition has a budget
    v_limited   boolean;    -- some definition names a lock, limit or concurrency key
begin
    select coalesce(array_agg(c.task_id), '{}'), bool_or(c.effects ?| '{taken,expired}') into v_tasks, v_rests
    from unnest(p_completions) c;
    -- Workflows first, by id: whoever holds a workflow row owns every transition of its tasks but the claim.
    v_workflows := array(
        select w.id from workflow.workflows w
        where w.id = any(array(select t.workflow_id from workflow.tasks t where t.id = any(v_tasks)))
        order by w.id
        for no key update);

    v_now := workflow.clock();
    if v_rests then
        v_given := p_completions;
        p_completions := workflow.refuse_unfounded(p_completions);
    end if;

    with done as (
        update workflow.tasks t set
            status = n.status,
            tries = t.tries + (c.outcome in ('succeeded', 'failed', 'retried', 'skipped'))::integer,
            crashes = t.crashes + (c.outcome = 'lost')::integer,
            output = case when n.status = 'succeeded' then coalesce(c.output, 'null') end,
            error = c.error,
            awaits = case when n.status in ('waiting', 'pending') and c.awaits is not null
                          then c.awaits - 'instances' else t.awaits end,
            lease_token = null,
            lease_until = null,
            timeout_override = case when not n.terminal then t.timeout_override end,
            scheduled_at = case when n.status = 'scheduled' then v_now + make_interval(secs => coalesce(c.delay, 0)) end,
            finished_at = case when n.terminal then greatest(v_now, t.started_at) end
        from unnest(p_completions) c
        cross join lateral (
            select s.status, s.status in ('succeeded', 'failed', 'skipped', 'cancelled') as terminal
            from (select coalesce(c.next, case c.outcome
                when 'retried' then 'scheduled' when 'released' then 'pending' when 'lost' then 'pending'
                else c.outcome end) as status) s
        ) n
        where t.id = any(v_tasks) and t.id = c.task_id and t.attempt = c.attempt and t.lease_token = c.lease_token
          and t.status = 'running'
        returning t.id, t.workflow_id, t.version_id, t.step_index, t.status, t.attempt, t.job_id, t.worker_id,
                  t.priority, t.pending_since, t.started_at, t.scheduled_at, t.error, t.awaits, c.outcome, c.lease_token, c.record,
                  c.awaits as wanted, c.effects, n.terminal
    ), history as (
        insert into workflow.attempt_history
            (task_id, attempt, workflow_id, outcome, worker_id, lease_token, pending_since, started_at, ended_at, error)
        select d.id, d.attempt, d.workflow_id, d.outcome, d.worker_id, d.lease_token, d.pending_since, d.started_at,
               greatest(v_now, d.started_at), d.error
        from done d
    ), event as (
        insert into workflow.events (workflow_id, type, task_id, attempt, at, data)
        select d.workflow_id, 'task.' || d.outcome, d.id, d.attempt, v_now,
               case when d.error is not null then jsonb_build_object('error', d.error) end
        from done d
    ), record as (
        insert into workflow.records (workflow_id, task_id, step, data, created_at)
        select d.workflow_id, d.id, s.id, d.record, v_now
        from done d
        cross join lateral (
            select s.id from workflow.definition_steps s
            where s.version_id = d.version_id and s.step_index = d.step_index offset 0) s
        where d.record is not null and d.status = 'succeeded'
    ), job as (
        delete from workflow.jobs j where j.id = any(array(select d.job_id from done d))
    )
    select count(*),
           array_agg(row(d.id, s.queue, s.type, d.priority, d.scheduled_at)::workflow.ready_task)
               filter (where not d.terminal and d.status <> 'waiting'),
           array_agg(row(d.id, d.workflow_id, d.version_id, d.step_index, d.status, d.error)::workflow.ended_task)
               filter (where d.terminal),
           array_agg(row(d.id, d.workflow_id, d.version_id, d.step_index, d.attempt, s.queue, s.type, d.priority, d.wanted)
                     ::workflow.waiting_task) filter (where d.status = 'waiting'),
           array_agg(d.id) filter (where d.awaits is not null and (d.terminal or d.outcome = 'retried')),
           array_agg(row(d.id, d.workflow_id, d.version_id, d.step_index, d.effects)::workflow.effect)
               filter (where d.effects is not null),
           array_agg(d.id) filter (where s.timeouts is not null and d.status in ('pending', 'scheduled')),
           array_agg(d.id) filter (where d.outcome = 'lost' and d.wanted is not null),
           bool_or(d.terminal and s.successors is distinct from '{}')
    into v_settled, v_again, v_ended, v_waiting, v_left, v_effects, v_timed, v_raised, v_linked
    from done d
    left join lateral (
        select s.queue, s.type, s.timeouts, s.successors from workflow.definition_steps s
        where s.version_id = d.version_id and s.step_index = d.step_index offset 0) s on true;

    if v_again is not null then
        update workflow.tasks t set
            job_id = a.job_id,
            pending_since = case when t.status = 'pending' then v_now else t.scheduled_at end
        from unnest(v_again, workflow.enqueue(v_again))
            as a(task_id, queue, type, priority, scheduled_at, job_id)
        where t.id = any(v_tasks) and t.id = a.task_id;
    end if;

    if v_timed is not null then
        perform workflow.set_deadlines(v_timed, v_now, false);
    end if;
    if v_effects is not null then
        perform workflow.take_signals(v_effects, v_now);  -- before what is not taken goes to others
    end if;
    if v_left is not null then
        v_tasks := v_tasks || workflow.stop_awaiting(v_left, v_now);
    end if;
    if v_raised is not null then
        v_tasks := v_tasks || workflow.stop_awaiting_scope(v_raised, v_now);
        perform workflow.forget_waits(v_raised, v_now);
    end if;
    if v_waiting is not null and (v_left is not null or v_raised is not null) then
        -- Not those that were cancelled just now, inside of what these have left.
        v_waiting := (
            select array_agg(w) from unnest(v_waiting) w
            where w.task_id = any(array(
                select t.id from workflow.tasks t where t.id = any(v_tasks) and t.status = 'waiting')));
    end if;
    if v_waiting is not null then
        perform workflow.begin_waiting(v_waiting, v_now);
    end if;
    if v_effects is not null then
        perform workflow.take_effects(v_effects, v_now);
    end if;
    if v_ended is not null then
        v_tasks := v_tasks || workflow.advance(v_ended, v_now, v_linked);
    end if;
    select exists (select 1 from workflow.budgets),
           exists (select 1 from workflow.resources) or exists (select 1 from workflow.concurrency_keys)
    into v_budgeted, v_limited;
    if v_budgeted then
        perform workflow.count_steps(p_completions, v_workflows, v_now);
    end if;
    if v_limited then
        perform workflow.free_resources(v_workflows, v_tasks, v_now);
    end if;

    if v_settled = cardinality(p_completions) and v_given is null then
        return '{}';
    end if;
    return array(
        select (c.ord - 1)::integer
        from unnest(coalesce(v_given, p_completions)) with ordinality
            as c(task_id, attempt, lease_token, outcome, next, delay, output, error, record, awaits, effects, ord)
        where not exists (
            select 1 from workflow.attempt_history h
            where h.task_id = c.task_id and h.attempt = c.attempt and h.lease_token = c.lease_token
              and h.outcome = c.outcome offset 0)
        order by c.ord);
end
$$;
comment on function workflow.settle is 'Internal: record how attempts ended and what follows; returns the positions of stale ones';
