-- Why a workflow does not go on, or what it does: one row for each of its tasks that has not ended, with the exact reason.
-- The view workflow.why is this for all live workflows; workflow.reason_in_words has the words and all reasons.
--
-- p_after, p_limit   a page of tasks, by id.
-- p_blocked          false leaves out tasks that wait for other steps: they are many and explain nothing.
--
-- One statement, so that everything is seen at one moment. Its cost follows the tasks of the workflow and the workers of
-- the last day; of a queue's backlog it reads the first 1,001 jobs. Look-ups are lateral; all other joins are of what was found,
-- of which Postgres expects one row: by nested loops a thousand tasks would be compared with a thousand.
create or replace function workflow.explain(
    p_workflow_id uuid, p_after bigint default -1, p_limit integer default null, p_blocked boolean default true)
    returns table (
        workflow_id uuid, task_id bigint, step text, status text, reason text, explanation text, since timestamptz,
        until timestamptz, command text, details jsonb)
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set jit = off
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    return query
    with flow as materialized (
        select w.id, w.status, w.paused_at, w.paused_by, w.paused_reason, w.queued_at,
               case when w.paused_at is not null and w.budgets is not null then workflow.exceeded_budget(w.id) end as budget,
               coalesce(w.started_at, w.created_at) as begun,
               e.paused_at as engine_paused_at, e.paused_until as engine_paused_until, e.paused_by as engine_paused_by,
               e.paused_reason as engine_paused_reason,
               w.status = 'pending' and e.paused_at is not null
                   and (e.paused_until is null or e.paused_until > v_now) as is_held_by_engine
        from workflow.workflows w cross join workflow.engine e
        where w.id = p_workflow_id and w.finished_at is null
    ), mine as materialized (
        select t.*, workflow.path_of(t.id, t.step_index, s.id, s.scope, s.body) as step, s.type, s.queue, s.dependencies,
               j.status as job_status, j.scheduled_at as job_due,
               (t.status in ('pending', 'scheduled') or t.status = 'waiting' and t.scheduled_at is not null)
                   and j.status is distinct from 'todo' as is_lost
        from flow f
        cross join lateral (
            select t.* from workflow.tasks t
            where t.workflow_id = f.id and t.id > p_after
              and t.status in ('blocked', 'pending', 'running', 'scheduled', 'waiting')
              and (p_blocked or t.status <> 'blocked')
            order by t.id + 0  -- as it stands, it would invite a walk through the index of all tasks
            limit p_limit) t
        cross join lateral (
            select s.id, s.type, s.queue, s.dependencies, s.scope, s.body from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        left join lateral (
            select j.status, j.scheduled_at from workflow.jobs j where j.id = t.job_id offset 0) j on true
    ),
    -- Blocked: by which steps.
    dependency as materialized (
        select m.id, count(*) as open,
               jsonb_agg(jsonb_build_object('step', d.id, 'status', d.status) order by d.position)
                   filter (where d.position <= 10) as steps
        from mine m
        cross join lateral (
            select s.id, p.status, row_number() over (order by x) as position
            from unnest(m.dependencies) x
            cross join lateral (
                select p.status from workflow.tasks p where p.id = m.id - m.step_index + x offset 0) p
            cross join lateral (
                select s.id from workflow.definition_steps s
                where s.version_id = m.version_id and s.step_index = x offset 0) s
            where p.status not in ('succeeded', 'failed', 'skipped', 'cancelled')) d
        where m.status = 'blocked'
        group by m.id
    ),
    -- Held: by which locks and limits, and who has their units.
    wait as materialized (
        select x.* from mine m
        cross join lateral (select x.* from workflow.waits x where x.task_id = m.id offset 0) x
        where m.status = 'pending' and m.job_due is not null  -- else it was woken, and waits for its claim only
    ), held as materialized (
        select k.kind, k.key, coalesce(sum(h.units), 0) as used,
               coalesce(jsonb_agg(jsonb_build_object(
                   'workflow_id', h.workflow_id, 'task_id', h.task_id::text, 'step', h.step, 'scope', h.scope,
                   'units', h.units, 'worker', h.worker, 'since', h.acquired_at) order by h.position)
                   filter (where h.position <= 5), '[]') as holders
        from (select distinct x.kind, x.key from wait x) k
        left join lateral (
            select h.*, s.id as step, o.name as worker, row_number() over (order by h.acquired_at, h.task_id) as position
            from workflow.holds h
            left join lateral (
                select t.version_id, t.step_index, t.worker_id, t.status
                from workflow.tasks t where t.id = h.task_id offset 0) t on true
            left join lateral (
                select s.id from workflow.definition_steps s
                where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s on true
            left join lateral (
                select o.name from workflow.workers o where o.id = t.worker_id and t.status = 'running' offset 0) o on true
            where h.kind = k.kind and h.key = k.key offset 0) h on true
        group by k.kind, k.key
    ), circle as materialized (
        select h.kind, h.key, workflow.lock_circle(p_workflow_id, h.key) as cycle
        from held h where h.kind = 'lock' and h.holders -> 0 ->> 'scope' = 'workflow'
    ), resource as materialized (
        -- The one it lacks; of several the first by name.
        select distinct on (x.task_id) x.task_id, x.since,
               case when f.is_spent then 'rate_reached'
                    when h.used + x.units <= x.capacity then 'resource_free'
                    when c.cycle is not null then 'deadlock'
                    when x.kind = 'lock' then 'lock_held' else 'limit_full' end as reason,
               jsonb_build_object('kind', x.kind, 'key', x.key, 'capacity', x.capacity, 'units', x.units,
                                  'used', h.used, 'holders', h.holders)
               || case when f.is_spent
                       then jsonb_build_object(
                           'rate', jsonb_build_object('units', x.rate_units, 'seconds', x.rate_seconds), 'spent', f.spent,
                           'due_at', workflow.units_due(x.key, x.rate_seconds, x.rate_units, x.units, v_now))
                       else '{}' end
               || case when c.cycle is not null then jsonb_build_object('cycle', c.cycle) else '{}' end as details
        from wait x join held h on h.kind = x.kind and h.key = x.key
        left join circle c on c.kind = x.kind and c.key = x.key
        cross join lateral (
            select s.spent, coalesce(s.spent + x.units > x.rate_units, false) as is_spent
            from (select case when x.rate_seconds is not null
                              then workflow.units_spent(x.key, x.rate_seconds, v_now) end as spent offset 0) s) f
        order by x.task_id, h.used + x.units <= x.capacity and not f.is_spent, c.cycle is null, x.kind desc, x.key
    ),
    -- To be claimed: by which workers.
    claimable as materialized (
        select m.* from mine m cross join flow f
        where m.status = 'pending' and not m.is_lost and m.job_due is null
          and not f.is_held_by_engine and f.paused_at is null and f.queued_at is null
    ), worker as materialized (
        select w.queues, w.task_types, w.concurrency, w.status_reason,
               coalesce(w.stopped_at, w.last_heartbeat_at) as last_seen,
               case when w.status <> 'stopped'
                         and w.last_heartbeat_at < v_now - make_interval(secs => 3 * w.heartbeat_seconds)
                    then 'dead' else w.status end as status,
               b.busy
        from workflow.workers w
        left join lateral (
            select count(*) as busy from workflow.jobs j
            where j.status = 'doing' and j.worker_id = w.queue_worker_id offset 0) b on w.status = 'active'
        where exists (select 1 from claimable)
    ), service as materialized (
        select c.queue, c.type,
               count(*) filter (where w.status = 'active') as live,
               count(*) filter (where w.status = 'active' and c.queue = any(w.queues)) as serving,
               count(*) filter (where w.status = 'draining' and c.queue = any(w.queues)) as draining,
               count(*) filter (where w.status = 'draining' and c.queue = any(w.queues)
                                  and w.status_reason = 'memory') as out_of_memory,
               count(*) filter (where w.status = 'active' and c.queue = any(w.queues) and c.type = any(w.task_types)) as able,
               sum(w.concurrency) filter (
                   where w.status = 'active' and c.queue = any(w.queues) and c.type = any(w.task_types)) as slots,
               sum(least(w.busy, w.concurrency)) filter (
                   where w.status = 'active' and c.queue = any(w.queues) and c.type = any(w.task_types)) as busy,
               max(w.last_seen) filter (
                   where w.status = 'active' and c.queue = any(w.queues) and c.type = any(w.task_types)) as able_seen,
               max(w.last_seen) filter (where w.status in ('dead', 'stopped') and c.queue = any(w.queues)) as last_seen,
               max(w.last_seen) filter (where w.status in ('dead', 'stopped')) as any_last_seen
        from (select distinct c.queue, c.type from claimable c) c left join worker w on true
        group by c.queue, c.type
    ), served as materialized (
        select coalesce(jsonb_agg(distinct q.queue order by q.queue), '[]') as queues
        from worker w cross join lateral unnest(w.queues) q(queue)
        where w.status = 'active'
    ), line as materialized (
        select q.queue, j.id, j.position
        from (select distinct s.queue from service s where s.able > 0 and s.busy >= s.slots) q
        cross join lateral unnest(workflow.front_of_queue(q.queue, 1001)) with ordinality as j(id, position)
    ), claiming as materialized (
        select c.id as task_id,
               case when s.live = 0 and s.draining = 0 then 'no_workers'
                    when s.serving = 0 and s.draining > 0 then 'workers_draining'
                    when s.serving = 0 then 'no_worker_for_queue'
                    when s.able = 0 then 'no_worker_for_type'
                    when s.busy >= s.slots then 'workers_busy'
                    else 'claimable' end as reason,
               case when s.live = 0 then s.any_last_seen else s.last_seen end as last_seen,
               jsonb_build_object(
                   'queue', c.queue, 'type', c.type, 'served_queues', v.queues,
                   'workers', case when s.able > 0 then s.able else s.serving end,
                   'draining', s.draining, 'out_of_memory', s.out_of_memory, 'slots', coalesce(s.slots, 0),
                   'busy', coalesce(s.busy, 0),
                   'last_worker_seen_at', case when s.live = 0 then s.any_last_seen else s.last_seen end)
               || case when s.able > 0 and s.busy >= s.slots  -- else nobody has looked at the line
                       then jsonb_build_object('ahead', coalesce(l.position - 1, 1000), 'more_ahead', l.id is null)
                       when s.able > 0 and c.pending_since < v_now - interval '5 seconds'  -- workers look each second
                       then jsonb_build_object('overdue_workers_seen_at', s.able_seen)
                       else '{}' end as details
        from claimable c
        join service s on s.queue = c.queue and s.type = c.type
        cross join served v
        left join line l on l.queue = c.queue and l.id = c.job_id
    ),
    -- Waiting for the world outside: for which signal, whose answer, and which workflow.
    outside as materialized (
        select m.id as task_id, null::timestamptz as since, jsonb_build_object(
                   'name', m.awaits ->> 'name', 'count', coalesce((m.awaits ->> 'count')::integer, 1),
                   'received', s.received) as details
        from mine m
        cross join lateral (
            select count(*) as received from workflow.signals s
            where s.taken_by = m.id and s.taken_at is null offset 0) s
        where m.status = 'waiting' and m.awaits ->> 'kind' = 'signal'
        union all
        select m.id, a.created_at, jsonb_build_object(
                   'approval_id', a.id, 'prompt', left(a.prompt, 200), 'assignees', to_jsonb(a.assignees),
                   'outcomes', to_jsonb(a.outcomes))
        from mine m
        cross join lateral (
            select a.id, a.created_at, a.prompt, a.assignees, a.outcomes
            from workflow.approvals a where a.task_id = m.id and a.status = 'open' offset 0) a
        where m.status = 'waiting' and m.awaits ->> 'kind' = 'approval'
        union all
        select m.id, w.created_at, jsonb_build_object(
                   'workflow_id', w.id, 'name', w.name, 'version', w.version, 'status', w.status)
        from mine m
        cross join lateral (
            select w.id, w.name, w.version, w.status, w.created_at from workflow.workflows w
            where w.id = (m.awaits ->> 'workflow_id')::uuid offset 0) w
        where m.status = 'waiting' and m.awaits ->> 'kind' = 'child'
    ),
    -- How many tries there are in all: by the step, the task type, the handler, the engine.
    policy as materialized (
        select v.version_id, p.position - 1 as step_index, (p.step -> 'retries' ->> 'max_attempts')::integer as tries
        from (select distinct m.version_id from mine m where m.status in ('scheduled', 'running')) v
        cross join lateral (select d.plan from workflow.definition_versions d where d.id = v.version_id offset 0) d
        cross join lateral jsonb_array_elements(d.plan -> 'steps') with ordinality as p(step, position)
    ), found as materialized (
        select m.*, f.begun,
               case
                   when m.status = 'blocked' then 'waiting_dependency'
                   when m.status = 'waiting' and not m.is_lost then case m.awaits ->> 'kind'
                       when 'signal' then 'waiting_signal' when 'approval' then 'waiting_approval'
                       when 'timer' then 'waiting_until' when 'child' then 'waiting_child' else 'waiting' end
                   when m.status = 'running' and m.lease_until < v_now then 'lease_expired'
                   when m.status = 'running' and o.status in ('dead', 'stopped') then 'worker_dead'
                   when m.status = 'running' then 'running'
                   when m.is_lost then 'lost_wakeup'
                   when m.status = 'scheduled' then 'scheduled'
                   when f.budget is not null then 'budget_exceeded'
                   when f.paused_at is not null then 'workflow_paused'
                   when f.queued_at is not null then 'queued'
                   when f.is_held_by_engine then 'engine_paused'
                   else coalesce(r.reason, c.reason, 'lost_wakeup')  -- parked, and nothing says why
               end as reason,
               coalesce(r.since, n.since) as waits_since, c.last_seen, f.paused_at, f.queued_at, f.engine_paused_at,
               f.engine_paused_until,
               case
                   when m.status = 'blocked' then jsonb_build_object('open', coalesce(d.open, 0), 'steps', d.steps)
                   when m.status = 'running' then jsonb_build_object(
                       'worker', o.name, 'worker_last_seen_at', o.last_seen, 'attempt', m.attempt, 'lease_until', m.lease_until)
                   when m.status = 'waiting' and not m.is_lost then coalesce(n.details, '{}')
                   when m.is_lost then jsonb_build_object('job_id', m.job_id::text)
                   when m.status = 'scheduled' then jsonb_build_object(
                       'error', case when m.error is not null then jsonb_build_object(
                           'type', m.error ->> 'type', 'message', left(m.error ->> 'message', 200)) end,
                       'tries', m.tries, 'max_attempts', coalesce(p.tries, y.max_attempts, y.handler_max_attempts, 3))
                   when f.budget is not null then f.budget
                   when f.paused_at is not null then jsonb_strip_nulls(
                       jsonb_build_object('by', f.paused_by, 'reason', f.paused_reason))
                   when f.queued_at is not null then workflow.place_in_line(f.id)
                   when f.is_held_by_engine then jsonb_build_object('by', f.engine_paused_by)
                       || jsonb_strip_nulls(jsonb_build_object('reason', f.engine_paused_reason))
                   else coalesce(r.details, c.details, jsonb_build_object('job_id', m.job_id::text))
               end as details
        from mine m cross join flow f
        left join dependency d on d.id = m.id
        left join resource r on r.task_id = m.id
        left join claiming c on c.task_id = m.id
        left join outside n on n.task_id = m.id
        left join policy p on p.version_id = m.version_id and p.step_index = m.step_index
        left join lateral (
            select y.max_attempts, y.handler_max_attempts
            from workflow.task_types y where y.name = m.type offset 0) y on m.status = 'scheduled'
        left join lateral (
            select o.name, coalesce(o.stopped_at, o.last_heartbeat_at) as last_seen,
                   case when o.status <> 'stopped'
                             and o.last_heartbeat_at < v_now - make_interval(secs => 3 * o.heartbeat_seconds)
                        then 'dead' else o.status end as status
            from workflow.workers o where o.id = m.worker_id offset 0) o on m.status = 'running'
    ), timed as (
        select x.*,
               case x.reason
                   when 'waiting_dependency' then x.begun
                   when 'workflow_paused' then greatest(x.paused_at, x.pending_since)
                   when 'budget_exceeded' then greatest(x.paused_at, x.pending_since)
                   when 'queued' then x.queued_at
                   when 'engine_paused' then greatest(x.engine_paused_at, x.pending_since)
                   when 'deadlock' then x.waits_since
                   when 'lock_held' then x.waits_since
                   when 'limit_full' then x.waits_since
                   when 'rate_reached' then x.waits_since
                   when 'resource_free' then x.waits_since
                   when 'waiting_approval' then coalesce(x.waits_since, x.started_at)
                   when 'waiting_child' then coalesce(x.waits_since, x.started_at)
                   when 'no_workers' then greatest(x.last_seen, x.pending_since)
                   when 'no_worker_for_queue' then greatest(x.last_seen, x.pending_since)
                   else case when x.status = 'pending' then x.pending_since else x.started_at end
               end as since,
               case x.reason
                   when 'engine_paused' then x.engine_paused_until
                   when 'scheduled' then x.scheduled_at
                   when 'waiting' then x.scheduled_at
                   when 'waiting_signal' then x.scheduled_at
                   when 'waiting_approval' then x.scheduled_at
                   when 'waiting_child' then x.scheduled_at
                   when 'waiting_until' then x.scheduled_at
                   when 'rate_reached' then (x.details ->> 'due_at')::timestamptz
                   when 'running' then x.lease_until
                   when 'worker_dead' then x.lease_until
               end as until
        from found x
    )
    select x.workflow_id, x.id, x.step, x.status, x.reason,
           workflow.reason_in_words(x.reason, x.since, x.until, x.details, v_now), x.since, x.until,
           workflow.helping_command(x.reason, x.workflow_id, x.id, x.details), x.details
    from timed x
    order by x.id;
end
$$;
comment on function workflow.explain is 'Why each task of a workflow that has not ended does not go on, and what helps';

-- The workflows of a circle in which each waits for a lock that the next holds to its end: from the one that waits for the
-- lock p_key back to itself. Null when there is none, or none within some hundred workflows.
create or replace function workflow.lock_circle(p_workflow_id uuid, p_key text) returns uuid[]
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_reached   uuid[];                 -- in the order they were met
    v_paths     jsonb := '{}';          -- how each was reached
    v_from      uuid;
    v_to        uuid;
    v_at        integer := 1;
begin
    if not exists (select 1 from workflow.holds h
                   where h.workflow_id = p_workflow_id and h.kind = 'lock' and h.scope = 'workflow') then
        return null;  -- nobody can wait for it without end
    end if;
    v_reached := array(
        select h.workflow_id from workflow.holds h
        where h.kind = 'lock' and h.key = p_key and h.scope = 'workflow' and h.workflow_id <> p_workflow_id);
    while v_at <= least(cardinality(v_reached), 500) loop
        v_from := v_reached[v_at];
        for v_to in
            select distinct h.workflow_id
            from workflow.waits x
            cross join lateral (
                select h.workflow_id from workflow.holds h
                where h.kind = 'lock' and h.key = x.key and h.scope = 'workflow' and h.workflow_id <> v_from offset 0) h
            where x.workflow_id = v_from and x.kind = 'lock' and x.woken_at is null
        loop
            if v_to = p_workflow_id then
                return array[p_workflow_id]
                    || array(select p::uuid from jsonb_array_elements_text(v_paths -> v_from::text) p)
                    || v_from || p_workflow_id;
            elsif not v_to = any(v_reached) then
                v_reached := v_reached || v_to;
                v_paths := v_paths || jsonb_build_object(
                    v_to, coalesce(v_paths -> v_from::text, '[]') || to_jsonb(v_from));
            end if;
        end loop;
        v_at := v_at + 1;
    end loop;
    return null;
end
$$;
comment on function workflow.lock_circle is 'Internal: workflows that wait for each other, this one among them';

-- The jobs of a queue that are claimed next, in their order.
create or replace function workflow.front_of_queue(p_queue text, p_limit integer) returns bigint[]
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return array(
        select j.id from workflow.jobs j
        where j.status = 'todo' and j.scheduled_at is null and j.queue_name = p_queue
        order by j.priority desc, j.id
        limit p_limit);
end
$$;
comment on function workflow.front_of_queue is 'Internal: the jobs of a queue that are claimed next';

-- The reason of a whole workflow in one word (with what it is about, after a colon): that of the task that has waited longest,
-- not counting tasks that wait for those inside of them.
-- Null when something of it runs or is about to be claimed, and when it has ended.
--
-- One of no_workers, no_worker_for_type:<type>, no_worker_for_queue:<queue>, workers_busy, paused, lock_held_by:<workflow>,
-- rate_limited, queued_behind:<workflow>, waiting_dependency, waiting_signal:<name>, waiting_approval:<approval>,
-- waiting_child:<workflow>, scheduled_until:<time>, lost_wakeup.
create or replace function workflow.pending_reason(p_workflow_id uuid) returns text
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_found record;
begin
    -- A look at the first hundred is enough: those that run are mostly among the first that are left.
    select x.reason, x.details, x.until into v_found
    from workflow.explain(p_workflow_id, -1, 100, false) x
    order by x.reason not in ('running', 'claimable', 'resource_free'), x.reason = 'waiting',
             x.reason in ('scheduled', 'waiting_until'), x.since, x.task_id
    limit 1;
    if not found then
        return (
            select 'waiting_dependency' from workflow.workflows w where w.id = p_workflow_id and w.finished_at is null);
    end if;
    return case v_found.reason
        when 'no_workers' then 'no_workers'
        when 'workers_draining' then 'no_worker_for_queue:' || (v_found.details ->> 'queue')
        when 'no_worker_for_queue' then 'no_worker_for_queue:' || (v_found.details ->> 'queue')
        when 'no_worker_for_type' then 'no_worker_for_type:' || (v_found.details ->> 'type')
        when 'workers_busy' then 'workers_busy'
        when 'workflow_paused' then 'paused'
        when 'budget_exceeded' then 'budget_exceeded:' || (v_found.details ->> 'bound')
        when 'engine_paused' then 'paused'
        when 'queued' then 'queued_behind:' || coalesce(v_found.details -> 'running' ->> 0, v_found.details ->> 'key')
        when 'deadlock' then 'lock_held_by:' || (v_found.details -> 'holders' -> 0 ->> 'workflow_id')
        when 'lock_held' then 'lock_held_by:' || (v_found.details -> 'holders' -> 0 ->> 'workflow_id')
        when 'limit_full' then 'rate_limited'
        when 'rate_reached' then 'rate_limited'
        when 'waiting' then 'waiting_dependency'
        when 'waiting_child' then 'waiting_child:' || (v_found.details ->> 'workflow_id')
        when 'waiting_signal' then 'waiting_signal:' || (v_found.details ->> 'name')
        when 'waiting_approval' then 'waiting_approval:' || (v_found.details ->> 'approval_id')
        when 'waiting_until' then 'scheduled_until:' || workflow.rfc3339(v_found.until)
        when 'scheduled' then 'scheduled_until:' || workflow.rfc3339(v_found.until)
        when 'lost_wakeup' then 'lost_wakeup'
    end;
end
$$;
comment on function workflow.pending_reason is 'Why a workflow does not go on, in one word; null when it does';
