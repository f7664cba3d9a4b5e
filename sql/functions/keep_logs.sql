-- Keeps what handlers logged: the `logs` of those completions of a turn that were not stale. It is beside what settles an
-- attempt, so that no transition depends on it.
create or replace function workflow.keep_logs(p_completions jsonb, p_stale integer[]) returns void
language sql volatile
set search_path = public, pg_temp
as $$
    insert into workflow.task_logs (task_id, attempt, lines)
    select (c.completion ->> 'task_id')::bigint, (c.completion ->> 'attempt')::integer, c.completion -> 'logs'
    from jsonb_array_elements(p_completions) with ordinality c(completion, ord)
    where c.completion ? 'logs' and (c.ord - 1)::integer <> all(p_stale)
    on conflict do nothing  -- a completion that was delivered twice
$$;
comment on function workflow.keep_logs is 'Internal: keep what handlers logged';
