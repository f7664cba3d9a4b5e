-- A worker's round trip: completions in, claims out, one transaction.
--
-- p_completions  JSON list of objects with the fields of workflow.completion, and `logs`: what the handler logged.
-- p_types        the task types this worker can run.
-- p_want         free slots; 0 claims nothing.
--
-- Returns {"stale": [positions], "claims": [...], "again": bool, "registered": bool, "next_due": seconds or null}
-- (see workflow.claim); next_due is when the next scheduled job of these queues becomes due.
create or replace function workflow.turn(
    p_worker_id bigint, p_completions jsonb, p_queues text[], p_types text[], p_want integer,
    p_lease_seconds double precision) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_stale     integer[] := '{}';
    v_claimed   jsonb := '{"claims": [], "again": false, "registered": true}';
    v_due       timestamptz;
begin
    if p_completions is not null then
        v_stale := workflow.settle(array(
            select c from jsonb_populate_recordset(null::workflow.completion, p_completions) c));
        if p_completions @? '$[*].logs' then
            perform workflow.keep_logs(p_completions, v_stale);
        end if;
    end if;
    if p_want > 0 then
        v_due := workflow.next_due(p_queues);
        if v_due <= workflow.clock() then
            perform workflow.wake_due(p_queues, 1000);
            v_due := workflow.next_due(p_queues);
        end if;
        v_claimed := workflow.claim(p_worker_id, p_queues, p_types, p_want, p_lease_seconds);
    end if;
    return v_claimed || jsonb_build_object(
        'stale', to_jsonb(v_stale),
        -- Not `greatest` alone: it passes over nulls, and 0 for "nothing is scheduled" has idle workers ask without end.
        'next_due', case when v_due is not null then greatest(extract(epoch from v_due - workflow.clock()), 0) end);
end
$$;
comment on function workflow.turn is 'A worker''s round trip: completions in, claims out, one commit';
