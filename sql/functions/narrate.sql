-- What the engine's log is to tell: the events after p_after that are of interest to people and not in p_told, at most
-- p_failures with an error and p_others without. Steps that merely went well are not told; their workflow's end is.
--
-- `seq` is handed out before its transaction commits, so a row may appear behind others that were told already. A caller
-- therefore reads some rows again and remembers what it told. How far back is decided by transactions: all up to `top` is
-- final once no transaction older than `xmax` runs, which a later call says by its `xmin`.
--
-- Returns {"top", "xmin", "xmax", "lines": [...], "seqs": [those taken, told or left out], "left_out": count}. Without
-- p_after it begins p_back rows before the end, with what is younger than ten seconds.
--
-- The events are found by the BRIN index of seq, a range of pages at a time. That statement is planned anew each time: a
-- plan from the time when the table was small would walk the primary key.
create or replace function workflow.narrate(
    p_after bigint, p_told bigint[], p_failures integer default 500, p_others integer default 200,
    p_back bigint default 2000) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_top       bigint := coalesce(pg_sequence_last_value('workflow.event_seq'), 0);
    v_snapshot  pg_snapshot := pg_current_snapshot();
    v_since     timestamptz := case when p_after is null then workflow.clock() - interval '10 seconds' else '-infinity' end;
    v_told      jsonb;
begin
    execute $events$
        with fresh as materialized (
            select e.*, coalesce(e.data -> 'error' ->> 'type' <> 'upstream_failed', false) as failure
            from workflow.events e
            where e.seq > $1 and e.type <> all('{task.started,task.succeeded,task.skipped}') and e.at >= $5
              and e.seq <> all($2)
        ), counted as (
            select f.*, row_number() over (partition by f.failure order by f.seq)
                        <= case when f.failure then $3 else $4 end as told
            from fresh f
        )
        select jsonb_build_object(
            'seqs', coalesce(jsonb_agg(c.seq), '[]'),
            'left_out', count(*) filter (where not c.told),
            'lines', coalesce(jsonb_agg(jsonb_build_object(
                'at', c.at, 'type', c.type, 'data', c.data, 'workflow_id', c.workflow_id, 'task_id', c.task_id,
                'attempt', c.attempt, 'traceparent', w.traceparent, 'step', workflow.path_of(c.task_id, t.step_index, s.id, s.scope, s.body),
                'step_type', s.type, 'worker', k.name, 'outcome', h.outcome,
                'seconds', extract(epoch from h.ended_at - h.started_at)) order by c.seq) filter (where c.told), '[]'))
        from counted c
        left join lateral (
            select t.version_id, t.step_index from workflow.tasks t where t.id = c.task_id and c.told offset 0) t on true
        left join lateral (
            select s.id, s.type, s.scope, s.body from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s on true
        left join lateral (
            select h.outcome, h.worker_id, h.started_at, h.ended_at from workflow.attempt_history h
            where h.workflow_id = c.workflow_id and h.task_id = c.task_id and h.attempt = c.attempt and c.told offset 0) h on true
        left join lateral (select k.name from workflow.workers k where k.id = h.worker_id offset 0) k on true
        left join lateral (
            select w.traceparent from workflow.workflows w where w.id = c.workflow_id and c.told offset 0) w on true
    $events$
    into v_told using coalesce(p_after, v_top - p_back), p_told, p_failures, p_others, v_since;
    return v_told || jsonb_build_object(
        'top', v_top, 'xmin', pg_snapshot_xmin(v_snapshot)::text::bigint,
        'xmax', pg_snapshot_xmax(v_snapshot)::text::bigint);
end
$$;
comment on function workflow.narrate is 'Recent events for the engine''s log';
