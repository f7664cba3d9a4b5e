-- A worker's round trip: completions in, claims out, one transaction.
--
-- p_completions  JSON list of objects with the fields of workflow.completion, and `logs`: what the handler logged.
-- p_types        the task types this worker can run.
-- p_want         free slots; 0 claims nothing.
--
-- Returns the text of {"stale": [positions], "claims": [...], "again": bool, "registered": bool, "next_due": seconds or null}
-- (see workflow.claim); next_due is when the next scheduled job of these queues becomes due. Text, as checking or converting
-- it would cost more than writing it.
create or replace function workflow.take_turn(
    p_worker_id bigint, p_completions jsonb, p_queues text[], p_types text[], p_want integer,
    p_lease_seconds double precision) returns text
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_stale     integer[] := '{}';
    v_claimed   record;
    v_made      bigint[];   -- jobs
    v_due       timestamptz;
begin
    select null::text as claims, '{}'::bigint[] as jobs, false as again, true as registered into v_claimed;
    if p_completions is not null then
        perform set_config('workflow.made', '{}', true);
        v_stale := workflow.settle(array(
            select c from jsonb_populate_recordset(null::workflow.completion, p_completions) c));
        if p_completions @? '$[*].logs' then
            perform workflow.keep_logs(p_completions, v_stale);
        end if;
        v_made := current_setting('workflow.made');
        perform set_config('workflow.made', '', true);
    end if;
    if p_want > 0 then
        v_due := workflow.next_due(p_queues);
        if v_due <= workflow.clock() then
            perform workflow.wake_due(p_queues, 1000);
            v_due := workflow.next_due(p_queues);
        end if;
        select c.* into v_claimed from workflow.claim(p_worker_id, p_queues, p_types, p_want, p_lease_seconds) c;
    end if;
    if v_made <> '{}' then
        -- Others are woken for what is left only. Transactions that notify commit one after the other, and a worker that is
        -- woken in vain costs a turn: of a chain each step would.
        if not v_claimed.again then
            v_made := array(select m from unnest(v_made) m except all select c from unnest(v_claimed.jobs) c);
        end if;
        perform workflow.wake_queue(q.queue_name)
        from (select distinct j.queue_name from workflow.jobs j where j.id = any(v_made)) q;
    end if;
    return concat(
        '{"claims":[', v_claimed.claims,
        '],"again":', to_json(v_claimed.again),
        ',"registered":', to_json(v_claimed.registered),
        ',"stale":', to_json(v_stale),
        -- Not `greatest` alone: it passes over nulls, and 0 for "nothing is scheduled" has idle workers ask without end.
        ',"next_due":', coalesce(case when v_due is not null
            then greatest(extract(epoch from v_due - workflow.clock()), 0) end::text, 'null'),
        '}');
end
$$;
comment on function workflow.take_turn is 'A worker''s round trip: completions in, claims out, one commit';

-- The same for workers of the version before.
create or replace function workflow.turn(
    p_worker_id bigint, p_completions jsonb, p_queues text[], p_types text[], p_want integer,
    p_lease_seconds double precision) returns jsonb
language plpgsql volatile  -- not sql: its plan would be made anew in every turn
set search_path = public, pg_temp
as $$
begin
    return workflow.take_turn(p_worker_id, p_completions, p_queues, p_types, p_want, p_lease_seconds)::jsonb;
end
$$;
comment on function workflow.turn is 'As take_turn, for workers of the version before';
