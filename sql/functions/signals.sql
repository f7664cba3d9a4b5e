-- Signals: what the world outside, or another workflow, tells a workflow. They are kept with it, so it does not matter whether
-- a signal or the wait for it comes first, and each is taken once.
--
-- A wait without a condition takes the oldest signals of its name that are free, in the transaction in which both are there;
-- of several such waits the one that has waited longest. A wait with a condition (`matches`) is woken by each signal, since
-- conditions are evaluated on workers: of several, the first whose worker says that it matches takes it. All of it happens
-- under the row of the workflow, so there are no ties.

-- How many signals of a workflow may wait for somebody to take them: a sender that nobody listens to must not fill the disk.
create or replace function workflow.max_signals() returns integer
language sql immutable parallel safe
as $$
    select 10000
$$;
comment on function workflow.max_signals is 'How many signals of a workflow may be free';

-- Sends a signal to a workflow, before, while or after it waits for it, also while it is paused. The transaction in which you
-- call this sends it.
--
-- p_key  of idempotency: with the same key again, it is the same signal.
--
-- Returns {"seq", "workflow_id", "name", "at", "repeated": bool}; seq counts the signals of all workflows.
-- Errors: WF404 no such workflow; WF409 it has ended, or has too many signals that nobody took; WF422 a name that is none, or a key that was used with another signal.
create or replace function workflow.signal(
    p_workflow_id uuid, p_name text, p_payload jsonb default null, p_by text default null, p_key text default null)
    returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_now       timestamptz;
    v_finished  timestamptz;
    v_status    text;
    v_signal    workflow.signals;
    v_repeated  boolean;
begin
    if not coalesce(p_name ~ '^[^\x01-\x1f\x7f]{1,200}$', false) then
        raise exception 'A signal has a name of 1 to 200 characters.' using errcode = 'WF422', detail = 'invalid-parameter';
    end if;
    select w.finished_at, w.status into v_finished, v_status
    from workflow.workflows w where w.id = p_workflow_id for no key update;
    if not found then
        raise exception 'There is no workflow %.', p_workflow_id using errcode = 'WF404', detail = 'workflow-not-found';
    end if;
    if p_key is not null then
        select s.* into v_signal from workflow.signals s where s.workflow_id = p_workflow_id and s.key = p_key;
    end if;
    v_repeated := v_signal.seq is not null;
    if v_repeated and (v_signal.name, v_signal.payload) is distinct from (p_name, p_payload) then
        raise exception 'This key was used with another signal.' using
            errcode = 'WF422', detail = 'idempotency-key-reused', hint = 'Use a new key for each signal.';
    elsif not v_repeated and v_finished is not null then
        raise exception 'The workflow has already %.', case v_status when 'cancelled' then 'been cancelled' else v_status end
            using errcode = 'WF409', detail = 'invalid-transition', hint = 'Nothing can wait for a signal any more.';
    elsif not v_repeated then
        if (select count(*) from (select from workflow.signals s
                                  where s.workflow_id = p_workflow_id and s.taken_by is null
                                  limit workflow.max_signals()) x) = workflow.max_signals() then
            raise exception 'The workflow has % signals that no step has taken.', workflow.max_signals() using
                errcode = 'WF409', detail = 'too-many-signals',
                hint = 'Find out why nothing takes them: GET /api/v1/workflows/' || p_workflow_id || '/why';
        end if;
        v_now := workflow.clock();
        insert into workflow.signals (workflow_id, name, payload, sent_by, key, at)
        values (p_workflow_id, p_name, p_payload, p_by, p_key, v_now)
        returning * into v_signal;
        insert into workflow.events (workflow_id, type, at, data)
        values (p_workflow_id, 'workflow.signalled', v_now,
                jsonb_strip_nulls(jsonb_build_object('name', p_name, 'seq', v_signal.seq, 'by', p_by)));
        perform workflow.hand_out_signals(p_workflow_id, p_name, v_now);
    end if;
    return jsonb_build_object(
        'seq', v_signal.seq, 'workflow_id', p_workflow_id, 'name', v_signal.name, 'at', v_signal.at,
        'repeated', v_repeated);
end
$$;
comment on function workflow.signal is 'Send a signal to a workflow; returns which it is';

-- Gives free signals of a name to those who wait for them, in the order of both, and wakes who has all it waits for or has
-- something to look at. The caller holds the workflow row. Its cost follows the waits it wakes.
create or replace function workflow.hand_out_signals(p_workflow_id uuid, p_name text, p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set plan_cache_mode = force_generic_plan  -- a loop
set jit = off
as $$
declare
    v_wait  workflow.signal_waits;
    v_last  bigint;                 -- the newest free signal
    v_kept  integer;
    v_taken integer;
    v_ready bigint[] := '{}';
begin
    select s.seq into v_last from workflow.signals s
    where s.workflow_id = p_workflow_id and s.name = p_name and s.taken_by is null
    order by s.workflow_id desc, s.name desc, s.seq desc limit 1;
    for v_wait in
        select x.* from workflow.signal_waits x
        where x.workflow_id = p_workflow_id and x.name = p_name and not x.woken
        order by x.workflow_id, x.name, x.place
    loop
        exit when v_last is null;
        if v_wait.matches then
            if v_last > v_wait.after then
                v_ready := v_ready || v_wait.task_id;
            end if;
            continue;
        end if;
        v_kept := (select count(*) from workflow.signals s where s.taken_by = v_wait.task_id and s.taken_at is null);
        update workflow.signals s set taken_by = v_wait.task_id
        where s.seq = any(array(
            select f.seq from workflow.signals f
            where f.workflow_id = p_workflow_id and f.name = p_name and f.taken_by is null
            order by f.workflow_id, f.name, f.seq
            limit greatest(v_wait.count - v_kept, 0)));
        get diagnostics v_taken = row_count;
        if v_kept + v_taken >= v_wait.count then
            v_ready := v_ready || v_wait.task_id;
        else
            v_last := null;  -- it took the last one
        end if;
    end loop;
    if v_ready <> '{}' then
        update workflow.signal_waits x set woken = true where x.task_id = any(v_ready);
        perform workflow.resume_waiting(v_ready, p_now);
    end if;
end
$$;
comment on function workflow.hand_out_signals is 'Internal: give free signals of a name to those who wait for them';

-- Begins waits for signals. Each keeps its place in the line if it has waited before. What is there already is handed out at
-- once.
create or replace function workflow.await_signal(p_tasks workflow.waiting_task[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    insert into workflow.signal_waits (task_id, workflow_id, name, count, matches, after)
    select w.task_id, w.workflow_id, w.awaits ->> 'name', coalesce((w.awaits ->> 'count')::integer, 1),
           coalesce((w.awaits ->> 'matches')::boolean, false), coalesce((w.awaits ->> 'after')::bigint, 0)
    from unnest(p_tasks) w
    order by w.task_id
    on conflict (task_id) do update set
        workflow_id = excluded.workflow_id, name = excluded.name, count = excluded.count, matches = excluded.matches,
        after = excluded.after, woken = false;
    perform workflow.hand_out_signals(x.workflow_id, x.name, p_now)
    from (select distinct w.workflow_id, w.awaits ->> 'name' as name from unnest(p_tasks) w) x;
end
$$;
comment on function workflow.await_signal is 'Internal: begin waits for signals';

-- What a claim tells of signals: {"events": [{"seq", "name", "payload", "at", "by", "taken"}]}, in their order: those that are
-- kept for this task (`taken`), and with `matches` those that are free and were not looked at, up to 100 or 1 MiB at a time.
create or replace function workflow.signal_resumption(p_task workflow.tasks) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return jsonb_build_object('events', coalesce((
        select jsonb_agg(jsonb_build_object(
            'seq', e.seq, 'name', e.name, 'payload', e.payload, 'at', e.at, 'by', e.sent_by, 'taken', e.taken) order by e.seq)
        from (
            select s.seq, s.name, s.payload, s.at, s.sent_by, true as taken
            from workflow.signals s where s.taken_by = p_task.id and s.taken_at is null
            union all
            select f.seq, f.name, f.payload, f.at, f.sent_by, false
            from (select s.*, sum(octet_length(s.payload::text)) over (order by s.seq) as size,
                         row_number() over (order by s.seq) as position
                  from (select s.* from workflow.signals s
                        where s.workflow_id = p_task.workflow_id and s.name = p_task.awaits ->> 'name'
                          and s.taken_by is null and s.seq > coalesce((p_task.awaits ->> 'after')::bigint, 0)
                          and (p_task.awaits ->> 'matches')::boolean
                        order by s.seq limit 100) s) f
            where f.position = 1 or f.size <= 1048576) e), '[]'));
end
$$;
comment on function workflow.signal_resumption is 'Internal: what a claim tells of the signals that a task waited for';

-- Takes signals for the tasks whose attempts ended with them (`taken`: their seqs): for good if the task has ended, else they
-- are kept for it. workflow.refuse_unfounded has seen to it that they may.
create or replace function workflow.take_signals(p_effects workflow.effect[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_effect workflow.effect;
begin
    foreach v_effect in array p_effects loop
        continue when not v_effect.data ? 'taken';
        update workflow.signals s set
            taken_by = v_effect.task_id,
            taken_at = (select p_now from workflow.tasks t where t.id = v_effect.task_id and t.finished_at is not null)
        where s.seq = any(array(select q::bigint from jsonb_array_elements_text(v_effect.data -> 'taken') q))
          and s.workflow_id = v_effect.workflow_id and (s.taken_by is null or s.taken_by = v_effect.task_id);
    end loop;
end
$$;
comment on function workflow.take_signals is 'Internal: take signals for the tasks whose attempts ended with them';

-- Ends waits for signals. What was kept for one and not taken is free again, and goes to who waits for it next.
create or replace function workflow.stop_awaiting_signal(p_tasks bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_workflow  uuid;
    v_name      text;
begin
    delete from workflow.signal_waits x where x.task_id = any(p_tasks);
    for v_workflow, v_name in
        with freed as (
            update workflow.signals s set taken_by = null
            where s.taken_by = any(p_tasks) and s.taken_at is null
            returning s.workflow_id, s.name
        )
        select distinct f.workflow_id, f.name from freed f order by 1, 2
    loop
        perform workflow.hand_out_signals(v_workflow, v_name, p_now);
    end loop;
end
$$;
comment on function workflow.stop_awaiting_signal is 'Internal: end waits for signals';
