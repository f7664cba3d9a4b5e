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
set plan_cache_mode = force_generic_plan  -- of all that a turn calls: planning anew is a fifth of a small turn
as $$
declare
    v_stale     integer[] := '{}';
    v_claimed   record;
    v_claims    text;
    v_jobs      bigint[] := '{}';
    v_again     boolean := false;
    v_registered boolean := true;
    v_made      bigint[];   -- jobs
    v_due       timestamptz;
    v_told      text;       -- what nobody asks for: an assignment is no statement, as `perform` is
begin
    if p_completions is not null then
        v_told := set_config('workflow.made', '{}', true);
        v_stale := workflow.settle(array(
            select c from jsonb_populate_recordset(null::workflow.completion, p_completions) c));
        if p_completions @? '$[*].logs' then
            perform workflow.keep_logs(p_completions, v_stale);
        end if;
        v_made := current_setting('workflow.made');
        v_told := set_config('workflow.made', '', true);
    end if;
    if p_want > 0 then
        v_due := workflow.next_due(p_queues);
        if v_due <= workflow.clock() then
            perform workflow.wake_due(p_queues, 1000);
            v_due := workflow.next_due(p_queues);
        end if;
        v_claimed := workflow.claim(p_worker_id, p_queues, p_types, p_want, p_lease_seconds);
        v_claims := v_claimed.claims;
        v_again := v_claimed.again;
        v_registered := v_claimed.registered;
        v_jobs := case when not v_again then v_claimed.jobs end;
    end if;
    if v_made <> '{}' and v_made is distinct from v_jobs then
        perform workflow.wake_others(v_made, v_jobs);
    end if;
    return concat(
        '{"claims":[', v_claims,
        '],"again":', to_json(v_again),
        ',"registered":', to_json(v_registered),
        ',"stale":', to_json(v_stale),
        -- Not `greatest` alone: it passes over nulls, and 0 for "nothing is scheduled" has idle workers ask without end.
        ',"next_due":', coalesce(case when v_due is not null
            then greatest(extract(epoch from v_due - workflow.clock()), 0) end::text, 'null'),
        '}');
end
$$;
comment on function workflow.take_turn is 'A worker''s round trip: completions in, claims out, one commit';

-- Wakes workers for jobs that a turn made, except those that it claimed itself. Transactions that notify commit one after
-- the other, and who is woken in vain takes an empty turn: of a chain, for each step.
create or replace function workflow.wake_others(p_made bigint[], p_claimed bigint[]) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_queue text;
begin
    if p_claimed <> '{}' then
        p_made := array(select m from unnest(p_made) m except select c from unnest(p_claimed) c);
    end if;
    if p_made <> '{}' then
        for v_queue in select distinct j.queue_name from workflow.jobs j where j.id = any(p_made) loop
            perform workflow.wake_queue(v_queue);
        end loop;
    end if;
end
$$;
comment on function workflow.wake_others is 'Internal: wake workers for jobs that a turn made and did not claim';

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
