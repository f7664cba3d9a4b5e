-- Traces: what a `traceparent` (W3C Trace Context) says, and which trace a workflow belongs to.

-- A `traceparent` as it is stored, or null where it is malformed: whoever cannot read one acts as if there were none. What a version
-- after 00 adds behind the flags is left out.
create or replace function workflow.read_traceparent(p_text text) returns text
language sql immutable parallel safe
as $$
    select case when p_text ~ '^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|(?!00|ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?)$'
                 and p_text !~ '^..-0{32}-' and p_text !~ '^.{36}0{16}-'
                then '00' || substring(p_text from 3 for 53) end
$$;
comment on function workflow.read_traceparent is 'Internal: a traceparent as it is stored, or null where it is malformed';

-- The trace of a workflow: that of whoever started it, else its own, which has its id.
create or replace function workflow.trace_id(p_workflow_id uuid, p_traceparent text) returns text
language sql immutable parallel safe
as $$
    select coalesce(substring(p_traceparent from 4 for 32), replace(p_workflow_id::text, '-', ''))
$$;
comment on function workflow.trace_id is 'The id of the trace that a workflow belongs to, as 32 hexadecimal digits';

-- The id of a span follows from what it is the span of: "<task id>/<attempt>", or the id of a workflow without hyphens. As
-- observability/span_names.py makes it.
create or replace function workflow.span_id(p_of text) returns text
language sql immutable parallel safe
as $$
    select coalesce(nullif(left(encode(sha256(convert_to(p_of, 'UTF8')), 'hex'), 16), repeat('0', 16)), lpad('1', 16, '0'))
$$;
comment on function workflow.span_id is 'The id of the span of an attempt ("<task id>/<attempt>") or a workflow (its id without hyphens)';

-- The spans that no worker can write: of workflows, which have ended, and of attempts that nobody came back from (lost, cancelled). They
-- are read from the events after p_after that are not in p_told, at most p_most; see workflow.narrate for what `top`, `xmin` and `xmax`
-- mean to whoever goes on from there. Without p_after it begins p_back events before the end, with what is younger than 15 seconds.
--
-- Returns {"top", "xmin", "xmax", "seqs", "more": whether there may be more now, "workflows": [...], "attempts": [...]}. A workflow that
-- had ended before and was retried has `again`, the event's seq, and begins with the retry.
create or replace function workflow.ended_spans(
    p_after bigint, p_told bigint[], p_most integer default 2000, p_back bigint default 100000) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_top       bigint := coalesce(pg_sequence_last_value('workflow.event_seq'), 0);
    v_snapshot  pg_snapshot := pg_current_snapshot();
    v_since     timestamptz := case when p_after is null then workflow.clock() - interval '15 seconds' else '-infinity' end;
    v_found     jsonb;
begin
    execute $events$
        with fresh as materialized (
            select e.seq, e.at, e.type, e.workflow_id, e.task_id, e.attempt, e.data
            from workflow.events e
            where e.seq > $1 and e.type = any('{workflow.succeeded,workflow.failed,workflow.cancelled,task.lost,task.cancelled}')
              and e.at >= $4 and e.seq <> all($2)
            order by e.seq limit $3
        ), named as materialized (
            select f.*, w.name, w.version, w.traceparent, w.created_at
            from fresh f
            cross join lateral (
                select w.name, w.version, w.traceparent, w.created_at from workflow.workflows w
                where w.id = f.workflow_id offset 0) w
        )
        select jsonb_build_object(
            'last', (select max(f.seq) from fresh f), 'count', (select count(*) from fresh f),
            'seqs', coalesce((select jsonb_agg(f.seq) from fresh f), '[]'),
            'workflows', (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'workflow_id', n.workflow_id, 'name', n.name, 'version', n.version, 'traceparent', n.traceparent,
                    'status', substring(n.type from 10), 'error', n.data -> 'error', 'ended_at', n.at,
                    'started_at', case when b.ended then coalesce(b.retried_at, n.created_at) else n.created_at end,
                    'again', case when b.ended then n.seq end) order by n.seq), '[]')
                from named n
                cross join lateral (
                    select bool_or(b.type <> 'workflow.retried') as ended,
                           max(b.at) filter (where b.type = 'workflow.retried') as retried_at
                    from workflow.events b
                    where b.workflow_id = n.workflow_id and b.seq < n.seq
                      and b.type = any('{workflow.succeeded,workflow.failed,workflow.cancelled,workflow.retried}') offset 0) b
                where n.task_id is null),
            'attempts', (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'workflow_id', n.workflow_id, 'name', n.name, 'version', n.version, 'traceparent', n.traceparent,
                    'task_id', n.task_id, 'step', s.id, 'path', workflow.path_of(n.task_id, t.step_index, s.id, s.scope, s.body),
                    'type', s.type, 'queue', s.queue, 'attempt', n.attempt, 'outcome', h.outcome, 'worker', k.name,
                    'pending_since', h.pending_since, 'started_at', h.started_at, 'ended_at', h.ended_at,
                    'error', n.data -> 'error') order by n.seq), '[]')
                from named n
                cross join lateral (
                    select t.version_id, t.step_index from workflow.tasks t where t.id = n.task_id offset 0) t
                cross join lateral (
                    select s.id, s.type, s.queue, s.scope, s.body from workflow.definition_steps s
                    where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
                cross join lateral (
                    select h.outcome, h.worker_id, h.pending_since, h.started_at, h.ended_at from workflow.attempt_history h
                    where h.workflow_id = n.workflow_id and h.task_id = n.task_id and h.attempt = n.attempt
                      and h.outcome = any('{lost,cancelled}') offset 0) h
                left join lateral (select k.name from workflow.workers k where k.id = h.worker_id offset 0) k on true))
    $events$
    into v_found using coalesce(p_after, v_top - p_back), p_told, p_most, v_since;
    return v_found - '{last,count}'::text[] || jsonb_build_object(
        'more', (v_found ->> 'count')::integer = p_most,
        'top', case when (v_found ->> 'count')::integer = p_most then (v_found ->> 'last')::bigint else v_top end,
        'xmin', pg_snapshot_xmin(v_snapshot)::text::bigint, 'xmax', pg_snapshot_xmax(v_snapshot)::text::bigint);
end
$$;
comment on function workflow.ended_spans is 'Spans of workflows that ended and of attempts that nobody came back from, for the exporter of traces';
