-- Pausing: the engine as a whole, or one workflow. The state is in Postgres, so all replicas answer the same and it
-- survives every restart. What is held back is parked (see park.sql), so that it costs claims nothing.

-- Whether the engine is paused now. A pause with an end is over when its time has come, whether or not a sweep has
-- cleared it away.
create or replace function workflow.is_paused() returns boolean
language plpgsql volatile  -- not sql: its plan would be made anew in every turn
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return exists (
        select 1 from workflow.engine e
        where e.only_row and e.paused_at is not null and (e.paused_until is null or e.paused_until > workflow.clock()));
end
$$;
comment on function workflow.is_paused is 'Whether the engine is paused';

-- {"paused", "since", "until", "by", "reason", "running"}: `running` counts what a drain waits for (workflow.moving).
create or replace function workflow.engine_state() returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_paused boolean := workflow.is_paused();
begin
    return (
        select jsonb_build_object(
            'paused', v_paused,
            'since', case when v_paused then e.paused_at end,
            'until', case when v_paused then e.paused_until end,
            'by', case when v_paused then e.paused_by end,
            'reason', case when v_paused then e.paused_reason end,
            'running', (select count(*) from workflow.moving()))
        from workflow.engine e);
end
$$;
comment on function workflow.engine_state is 'Whether the engine is paused, since and until when, and how many workflows run';

-- The workflows of which something runs, or goes on by itself: a task that runs, that a worker or a lock is about to
-- get, or that waits for the end of a backoff. A workflow whose open tasks all wait for the world outside does not move;
-- of a paused one only what runs already counts.
create or replace function workflow.moving() returns setof uuid
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    return query
    select w.id from workflow.workflows w
    where w.finished_at is null and w.status = 'running'
      and exists (
          select 1 from workflow.tasks t
          where t.workflow_id = w.id
            and (t.status = 'running' or w.paused_at is null and t.status in ('pending', 'scheduled'))
          offset 0);  -- a look at each; as a join it may be one at all tasks
end
$$;
comment on function workflow.moving is 'The workflows of which something runs or goes on by itself';

-- The same of one, as engines of the version before ask.
create or replace function workflow.is_moving(p_workflow_id uuid, p_paused_at timestamptz) returns boolean
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return exists (
        select 1 from workflow.tasks t
        where t.workflow_id = p_workflow_id
          and (t.status = 'running' or p_paused_at is null and t.status in ('pending', 'scheduled')));
end
$$;
comment on function workflow.is_moving is 'Internal: whether something of a live workflow runs or goes on by itself';

-- Stops the intake: until resumed, or for p_ttl, nothing new can be started (WF503), and workflows of which nothing was
-- claimed yet wait. Those that run go on to their end; reading, cancelling and retrying work as ever. Paused again it
-- stays paused since the first time; p_ttl, p_by and p_reason are those of the last call.
--
-- Returns workflow.engine_state().
create or replace function workflow.pause(
    p_ttl interval default null, p_by text default null, p_reason text default null) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    if p_ttl <= interval '0' then
        raise exception 'A pause takes some time.' using errcode = '22023', hint = 'Without a time it lasts until resumed.';
    end if;
    update workflow.engine e set
        paused_at = case when e.paused_at is null or e.paused_until <= v_now then v_now else e.paused_at end,
        paused_until = v_now + p_ttl,
        paused_by = p_by,
        paused_reason = p_reason;
    perform workflow.park_unstarted();
    return workflow.engine_state();
end
$$;
comment on function workflow.pause is 'Accept and start nothing new until resumed, or for a time; returns the state of the engine';

-- Opens the intake again; what was held back is pending at once (beyond some 10,000 tasks, by and by). Without effect when
-- the engine is not paused.
--
-- Returns workflow.engine_state().
create or replace function workflow.resume() returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_batch jsonb := '{}';
    v_count integer := 0;
begin
    -- Waits for the claims that are parking jobs right now (see park_paused), so that none is overlooked.
    update workflow.engine e set paused_at = null, paused_until = null, paused_by = null, paused_reason = null;
    for n in 1 .. 10 loop
        v_batch := workflow.unpark((v_batch ->> 'last')::bigint);
        v_count := v_count + (v_batch ->> 'unparked')::integer;
        exit when v_batch ->> 'last' is null or v_count >= 10000;
    end loop;
    return workflow.engine_state();
end
$$;
comment on function workflow.resume is 'End a pause of the engine; returns its state';

-- Holds one workflow back: nothing of it is claimed until it is resumed. What runs may end, and can be cancelled.
-- Without effect on one that is paused: who paused it first, and why, stays.
--
-- Returns {"id", "status", "paused_at", "by", "reason"}. Errors: WF404; WF409 it has ended.
create or replace function workflow.pause_workflow(
    p_workflow_id uuid, p_by text default null, p_reason text default null) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_workflow  workflow.workflows := workflow.live_workflow(p_workflow_id);
    v_lines     text[];
begin
    if v_workflow.paused_at is null then
        update workflow.workflows w set paused_at = workflow.clock(), paused_by = p_by, paused_reason = p_reason
        where w.id = p_workflow_id
        returning * into v_workflow;
        insert into workflow.events (workflow_id, type, at, data)
        values (p_workflow_id, 'workflow.paused', v_workflow.paused_at,
                nullif(jsonb_strip_nulls(jsonb_build_object('by', p_by, 'reason', p_reason)), '{}'));
        -- Its place in the lines for locks and limits is kept by the time since which each task is pending.
        v_lines := array(
            select distinct x.kind || ' ' || x.key from workflow.waits x where x.workflow_id = p_workflow_id);
        perform workflow.lock_resources(v_lines);
        delete from workflow.waits x where x.workflow_id = p_workflow_id;
        update workflow.jobs j set scheduled_at = workflow.never()
        where j.status <> 'doing' and j.id = any(array(
            select t.job_id from workflow.tasks t where t.workflow_id = p_workflow_id and t.status = 'pending'));
        perform workflow.wake_waiters(v_lines, workflow.clock());  -- who was woken passes it on
    end if;
    return jsonb_build_object(
        'id', v_workflow.id, 'status', v_workflow.status, 'paused_at', v_workflow.paused_at, 'by', v_workflow.paused_by,
        'reason', v_workflow.paused_reason);
end
$$;
comment on function workflow.pause_workflow is 'Claim nothing more of a workflow until it is resumed';

-- Lets a paused workflow go on. Without effect on one that is not paused.
--
-- Returns {"id", "status", "paused_at", "by", "reason"}, the last three null. Errors: WF404; WF409 it has ended.
create or replace function workflow.resume_workflow(p_workflow_id uuid) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_workflow  workflow.workflows;
    v_keys      text[];
begin
    -- A resume of the engine at the same time waits, or is waited for: else each would take the other's pause for standing.
    perform 1 from workflow.engine e where e.only_row for share;
    v_workflow := workflow.live_workflow(p_workflow_id);
    v_keys := array(select p.key from workflow.places p where p.workflow_id = p_workflow_id);
    if v_workflow.paused_at is not null then
        if v_workflow.budgets is not null and workflow.exceeded_budget(p_workflow_id) is not null then
            raise exception 'Its budget is used up: %.', workflow.budget_in_words(workflow.exceeded_budget(p_workflow_id)) using
                errcode = 'WF409', detail = 'budget-exceeded',
                hint = format('Raise it: POST /api/v1/workflows/%s/budget; then it goes on by itself.',
                              workflow.exceeded_budget(p_workflow_id) ->> 'workflow_id');
        end if;
        update workflow.workflows w set paused_at = null, paused_by = null, paused_reason = null where w.id = p_workflow_id;
        insert into workflow.events (workflow_id, type, at) values (p_workflow_id, 'workflow.resumed', workflow.clock());
        if v_workflow.queued_at is not null then
            perform workflow.lock_concurrency_keys(v_keys);
            perform workflow.enter_places(v_keys, workflow.clock());  -- it may be its turn by now
        elsif v_workflow.status = 'running' or not workflow.is_paused() then
            update workflow.jobs j set scheduled_at = null, woken_at = workflow.clock()
            where j.status <> 'doing' and j.id = any(array(
                select t.job_id from workflow.tasks t where t.workflow_id = p_workflow_id and t.status = 'pending'));
            perform workflow.wake_queues_of(p_workflow_id);
        end if;
    end if;
    return jsonb_build_object('id', v_workflow.id, 'status', v_workflow.status, 'paused_at', null, 'by', null, 'reason', null);
end
$$;
comment on function workflow.resume_workflow is 'Let a paused workflow go on';

-- A workflow that has not ended, its row locked. Errors: WF404; WF409 it has ended.
create or replace function workflow.live_workflow(p_workflow_id uuid) returns workflow.workflows
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_workflow workflow.workflows;
begin
    select * into v_workflow from workflow.workflows w where w.id = p_workflow_id for no key update;
    if not found then
        raise exception 'There is no workflow %.', p_workflow_id using errcode = 'WF404', detail = 'workflow-not-found';
    elsif v_workflow.finished_at is not null then
        raise exception 'The workflow has already %.',
                case v_workflow.status when 'cancelled' then 'been cancelled' else v_workflow.status end using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Only a workflow that has not ended allows this.';
    end if;
    return v_workflow;
end
$$;
comment on function workflow.live_workflow is 'Internal: a workflow that has not ended, its row locked';
