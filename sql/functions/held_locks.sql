-- Which workflows hold locks, and who to ask about it: what the leader shows as `workflow:lock:<workflow_id>` in Redis.
--
-- p_limit  at most so many holds are looked at.
--
-- Returns one row per workflow: `holder`, the worker that runs the task under its oldest lock, or `workflow` when the lock
-- is the workflow's own; since when; `what` in words; `seconds` for which it is certain, by the leases (null: as long as
-- the workflow lives).
create or replace function workflow.held_locks(p_limit integer default 10000)
    returns table (workflow_id uuid, holder text, acquired_at timestamptz, what text, seconds double precision)
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    return query
    select l.workflow_id, (array_agg(l.holder order by l.acquired_at, l.key))[1], min(l.acquired_at),
           (array_agg(l.what order by l.acquired_at, l.key))[1]
               || case when count(*) > 1 then format(' and %s more', count(*) - 1) else '' end,
           case when bool_or(l.scope = 'workflow') then null else max(l.seconds) end
    from (
        select h.workflow_id, h.acquired_at, h.key, h.scope,
               case when h.scope = 'workflow' then 'workflow' else coalesce(w.name, 'unknown') end as holder,
               format('lock %s (task %s, step %s)', h.key, h.task_id, coalesce(s.id, '?')) as what,
               coalesce(extract(epoch from t.lease_until - v_now), 0)::double precision as seconds
        from (select * from workflow.holds x where x.kind = 'lock' order by x.kind, x.key, x.task_id limit p_limit) h
        left join lateral (
            select * from workflow.tasks x where x.id = h.task_id offset 0) t on true
        left join lateral (
            select x.id from workflow.definition_steps x
            where x.version_id = t.version_id and x.step_index = t.step_index offset 0) s on true
        left join lateral (select x.name from workflow.workers x where x.id = t.worker_id offset 0) w on true
    ) l
    group by l.workflow_id;
end
$$;
comment on function workflow.held_locks is 'Which workflows hold locks, and who to ask about it';
