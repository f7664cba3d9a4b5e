-- What workers held when they were last heard of, and what became of it: what they still hold, and what was taken back from
-- them since (recorded as lost). Of dead ones that is what they took with them; see the view worker_list.
--
-- p_limit  so many that were taken back from each worker, and so many in all that they still hold; the first by task id.
--
-- taken_back_at is null as long as the attempt is theirs. attempt is the one they had; status, now_attempt, worker and error
-- are those of the task now, null where it is gone with its workflow or was replaced by another version.
create or replace function workflow.tasks_of_workers(p_workers bigint[], p_limit integer default 1000)
    returns table (
        worker_id bigint, task_id bigint, attempt integer, taken_back_at timestamptz, workflow_id uuid, workflow_name text,
        workflow_status text, path text, type text, status text, now_attempt integer, worker text, error jsonb)
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
begin
    return query
    with held as materialized (
        select k.id as worker_id, h.task_id, h.attempt, h.ended_at as taken_back_at, h.workflow_id
        from workflow.workers k
        cross join lateral (
            select a.task_id, a.attempt, a.ended_at, a.workflow_id from workflow.attempt_history a
            where a.outcome = 'lost' and a.worker_id = k.id and a.ended_at >= k.last_heartbeat_at
            order by a.task_id, a.attempt limit p_limit) h
        where k.id = any(p_workers)
        union all
        (select t.worker_id, t.id, t.attempt, null, t.workflow_id
         from workflow.tasks t
         where t.id = any(array(select (j.args ->> 'task_id')::bigint from workflow.jobs j where j.status = 'doing'))
           and t.status = 'running' and t.worker_id = any(p_workers)
         order by t.id limit p_limit)
    )
    select h.worker_id, h.task_id, h.attempt, h.taken_back_at, h.workflow_id, w.name, w.status,
           workflow.path_of(t.id, t.step_index, s.id, s.scope, s.body), s.type, t.status, t.attempt, k.name, t.error
    from held h
    left join lateral (
        select w.name, w.status from workflow.workflows w where w.id = h.workflow_id offset 0) w on true
    left join lateral (
        select t.id, t.step_index, t.version_id, t.status, t.attempt, t.worker_id, t.error
        from workflow.tasks t where t.id = h.task_id offset 0) t on true
    left join lateral (
        select s.id, s.scope, s.body, s.type from workflow.definition_steps s
        where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s on true
    left join lateral (
        select k.name from workflow.workers k where k.id = t.worker_id offset 0) k on true
    order by h.worker_id, h.task_id, h.attempt;
end
$$;
comment on function workflow.tasks_of_workers is 'What workers held when they were last heard of, and what became of it';
