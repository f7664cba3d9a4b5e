-- How workflows end whose version has more to do when the outcome is certain: an output to render, steps to undo, handlers.
--
-- The outcome is certain when all steps have ended, or when the workflow failed at once, was cancelled, terminated or out of
-- time. From then on workflows.ending has the status it is going to have, and nothing but its ending runs, one task after the
-- other: `output` (if it succeeds), the compensations of what succeeded in reverse order of completion and then `on_failure`
-- (if not; on_failure only if it failed), `on_exit`. Their tasks are made when their turn comes. An ending only ever goes on to
-- what is next, so it ends.
--
-- A workflow that nothing was ever claimed of has nothing to end and is over at once, and so is one that is ended again during
-- its ending.

-- Notes where a version has the steps of its ending. Called once, when it is registered.
create or replace function workflow.note_handlers(p_version_id integer) returns void
language sql volatile
set search_path = public, pg_temp
as $$
    update workflow.definition_versions v set
        output_step = s.output_step, failure_step = s.failure_step, exit_step = s.exit_step, compensates = s.compensates,
        has_ending = s.has_ending, has_deadlines = s.has_deadlines
    from (select min(s.step_index) filter (where s.kind = 'output') as output_step,
                 min(s.step_index) filter (where s.kind = 'on_failure') as failure_step,
                 min(s.step_index) filter (where s.kind = 'on_exit') as exit_step,
                 bool_or(s.kind = 'compensation') as compensates,
                 bool_or(s.kind <> 'step') as has_ending,
                 bool_or(coalesce(s.timeouts, '{}') ?| '{schedule_to_start,schedule_to_close}') as has_deadlines
          from workflow.definition_steps s where s.version_id = p_version_id) s
    where v.id = p_version_id and (s.has_ending or s.has_deadlines)
$$;
comment on function workflow.note_handlers is 'Internal: note where a version has the steps of its ending';

-- Begins the endings of live workflows of which nothing runs any more; the caller holds their rows. Without p_status it
-- follows from whether the workflow has an error.
create or replace function workflow.begin_ending(
    p_workflows uuid[], p_status text, p_now timestamptz, p_error jsonb default null) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    -- One that was in line again after a retry has its ending all the same.
    delete from workflow.places p where p.workflow_id = any(p_workflows) and p.entered_at is null;
    with begun as (
        update workflow.workflows w set
            ending = coalesce(p_status, case when coalesce(w.error, p_error) is null then 'succeeded' else 'failed' end),
            error = case when p_status is distinct from 'succeeded' then coalesce(w.error, p_error) end,
            open_tasks = 0, queued_at = null,
            -- Whoever cancels what an operator had paused wants it to end.
            paused_at = case when p_status is distinct from 'cancelled' then w.paused_at end
        where w.id = any(p_workflows) and w.finished_at is null and w.ending is null
        returning w.id, w.ending, w.error
    ), event as (
        insert into workflow.events (workflow_id, type, at, data)
        select b.id, 'workflow.ending', p_now,
               jsonb_build_object('status', b.ending)
               || case when b.error is not null then jsonb_build_object('error', b.error) else '{}' end
        from begun b
    )
    insert into workflow.endings as e (workflow_id, base)
    select b.id, t.base
    from begun b
    cross join lateral (
        -- As it stands, the smallest id would invite a walk through the index of all tasks.
        select min(t.id + 0) - min(t.id + 0) % 65536 as base from workflow.tasks t where t.workflow_id = b.id offset 0) t
    on conflict (workflow_id) do update set base = excluded.base, phase = 0, position = 0;

    perform workflow.list_compensations(p_workflows);
    perform workflow.continue_ending(p_workflows, p_now);
end
$$;
comment on function workflow.begin_ending is 'Internal: begin the endings of workflows whose outcome is certain';

-- Lists what those of some workflows that do not succeed have to undo: steps that succeeded, in whatever scope, and have not been
-- undone since. What a rerun keeps was done by the workflow before, and stays.
create or replace function workflow.list_compensations(p_workflows uuid[]) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_workflows uuid[] := array(
        select w.id
        from workflow.workflows w
        cross join lateral (
            select v.compensates from workflow.definition_versions v where v.id = w.version_id offset 0) v
        where w.id = any(p_workflows) and w.ending <> 'succeeded' and v.compensates);
begin
    if v_workflows = '{}' then
        return;
    end if;
    delete from workflow.compensations c where c.workflow_id = any(v_workflows);
    insert into workflow.compensations (workflow_id, position, task_id, step_index)
    select t.workflow_id, row_number() over (partition by t.workflow_id order by t.finished_at desc, t.id desc),
           t.id - t.step_index + s.compensation, s.compensation
    from workflow.tasks t
    cross join lateral (
        select s.compensation from workflow.definition_steps s
        where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
    left join lateral (
        select c.finished_at from workflow.tasks c
        where c.id = t.id - t.step_index + s.compensation and c.status = 'succeeded' offset 0) c on true
    where t.workflow_id = any(v_workflows) and t.status = 'succeeded' and s.compensation is not null
      and t.output_from is distinct from 'rerun'
      and (c.finished_at is null or c.finished_at < t.finished_at);
end
$$;
comment on function workflow.list_compensations is 'Internal: list what workflows that do not succeed have to undo';

-- Makes the next task of each of these endings, or finishes the workflow when nothing is next. The caller holds the workflow
-- rows; nothing of these workflows is open.
create or replace function workflow.continue_ending(p_workflows uuid[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_next  workflow.handler[];
    v_over  uuid[];
    v_ready workflow.ready_task[];
begin
    with next as materialized (
        select w.id as workflow_id, w.version_id, w.priority, n.phase, n.position, n.task_id, n.step_index
        from unnest(p_workflows) x
        cross join lateral (
            select w.id, w.version_id, w.ending, w.output, w.priority from workflow.workflows w
            where w.id = x and w.ending is not null offset 0) w
        cross join lateral (
            select e.base, e.phase, e.position from workflow.endings e where e.workflow_id = x offset 0) e
        cross join lateral (
            select v.output_step, v.failure_step, v.exit_step from workflow.definition_versions v
            where v.id = w.version_id offset 0) v
        cross join lateral (
            select o.* from (
                select 1 as phase, 0 as position, e.base + v.output_step as task_id, v.output_step as step_index
                where e.phase < 1 and w.ending = 'succeeded' and w.output is null and v.output_step is not null
                union all (
                select 2, c.position, c.task_id, c.step_index from workflow.compensations c
                where c.workflow_id = x and e.phase <= 2 and w.ending <> 'succeeded' and c.position > e.position
                order by c.position limit 1)
                union all
                select 3, 0, e.base + v.failure_step, v.failure_step
                where e.phase < 3 and w.ending = 'failed' and v.failure_step is not null
                union all
                select 4, 0, e.base + v.exit_step, v.exit_step where e.phase < 4 and v.exit_step is not null
                union all
                select 5, 0, null, null) o
            order by o.phase limit 1) n
    ), moved as (
        update workflow.endings e set phase = n.phase, position = n.position
        from next n where e.workflow_id = any(p_workflows) and e.workflow_id = n.workflow_id
    )
    select array_agg(row(n.workflow_id, n.version_id, n.phase, n.position, n.task_id, n.step_index, s.queue, s.type,
                         s.priority + n.priority)::workflow.handler order by n.task_id) filter (where n.phase < 5),
           array_agg(n.workflow_id) filter (where n.phase = 5)
    into v_next, v_over
    from next n
    left join lateral (
        select s.queue, s.type, s.priority from workflow.definition_steps s
        where s.version_id = n.version_id and s.step_index = n.step_index offset 0) s on true;

    if v_next is not null then
        v_ready := array(
            select row(n.task_id, n.queue, n.type, n.priority, null)::workflow.ready_task from unnest(v_next) n);
        -- A workflow that was retried may have had this task before: it is made again under its id, and its attempts go on.
        insert into workflow.events (workflow_id, type, task_id, at)
        select t.workflow_id, 'task.reopened', t.id, p_now from workflow.tasks t
        where t.id = any(array(select n.task_id from unnest(v_next) n)) and t.status = 'succeeded';
        insert into workflow.tasks as t
            (id, workflow_id, version_id, step_index, status, priority, open_dependencies, job_id, pending_since)
        select n.task_id, n.workflow_id, n.version_id, n.step_index, 'pending', n.priority, 0, n.job_id, p_now
        from unnest(v_next, workflow.enqueue(v_ready))
            as n(workflow_id, version_id, phase, position, task_id, step_index, queue, type, priority, job_id)
        on conflict (id) do update set
            status = 'pending', priority = excluded.priority, job_id = excluded.job_id, pending_since = p_now, tries = 0,
            crashes = 0, timeout_override = null, scheduled_at = null, first_started_at = null, finished_at = null,
            output = null, error = null, awaits = null;
        perform workflow.replace_scopes(array(select n.task_id from unnest(v_next) n));
        update workflow.workflows w set open_tasks = 1
        where w.id = any(array(select n.workflow_id from unnest(v_next) n));
        perform workflow.set_deadlines(array(select n.task_id from unnest(v_next) n), p_now, true);
    end if;
    if v_over is not null then
        perform workflow.finish_workflows(v_over, null, p_now);
    end if;
end
$$;
comment on function workflow.continue_ending is 'Internal: make the next task of endings, or finish the workflows';

-- What follows when tasks of endings have ended (see workflow.advance): what they say about the workflow, and what is next. A
-- compensation or an on_failure that failed is seen in its task and changes nothing else.
create or replace function workflow.end_handlers(p_ended workflow.ended_task[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_workflows uuid[] := array(select distinct e.workflow_id from unnest(p_ended) e);
    v_failed    uuid[];
begin
    with said as (
        update workflow.workflows w set
            open_tasks = 0,
            output = case when s.kind = 'output' and e.status = 'succeeded'
                          then (select t.output from workflow.tasks t where t.id = e.task_id) else w.output end,
            ending = case when f.fails then 'failed' else w.ending end,
            error = case when f.fails and w.ending <> 'failed'
                         then coalesce(e.error, '{}') || jsonb_build_object('step', s.id, 'task_id', e.task_id::text)
                         else w.error end
        from unnest(p_ended) e
        cross join lateral (
            select s.id, s.kind from workflow.definition_steps s
            where s.version_id = e.version_id and s.step_index = e.step_index offset 0) s
        cross join lateral (select s.kind in ('output', 'on_exit') and e.status = 'failed' as fails) f
        where w.id = any(v_workflows) and w.id = e.workflow_id and w.ending is not null
        returning w.id, f.fails and s.kind = 'output' as failed
    )
    select array_agg(s.id) filter (where s.failed) into v_failed from said s;
    if v_failed is not null then
        perform workflow.list_compensations(v_failed);
    end if;
    perform workflow.continue_ending(v_workflows, p_now);
end
$$;
comment on function workflow.end_handlers is 'Internal: what follows when tasks of endings have ended';

-- Makes live workflows of which nothing runs terminal. Without p_status they get the status that their endings came to; with
-- it, one that was going to fail fails all the same.
create or replace function workflow.finish_workflows(
    p_workflows uuid[], p_status text, p_now timestamptz, p_error jsonb default null) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_ended     uuid[];
    v_related   uuid[];
begin
    if p_workflows = '{}' then
        return;  -- of no workflow the planner thinks that any partial index has it, and walks one
    end if;
    with done as (
        update workflow.workflows w set
            status = case when w.ending = 'failed' then 'failed' else coalesce(p_status, w.ending) end,
            finished_at = p_now, open_tasks = 0, ending = null,
            error = case when coalesce(p_status, w.ending) = 'succeeded' and w.ending is distinct from 'failed' then null
                         else coalesce(w.error, p_error) end
        where w.id = any(p_workflows) and w.finished_at is null
        returning w.id, w.status, w.error, w.has_ending, w.parent_task_id
    ), event as (
        insert into workflow.events (workflow_id, type, at, data)
        select d.id, 'workflow.' || d.status, p_now,
               case when d.error is not null then jsonb_build_object('error', d.error) end
        from done d
    )
    select array_agg(d.id) filter (where d.has_ending), array_agg(d.id) filter (where d.parent_task_id is not null)
    into v_ended, v_related
    from done d;
    if v_ended is not null then
        delete from workflow.endings e where e.workflow_id = any(v_ended);
        delete from workflow.compensations c where c.workflow_id = any(v_ended);
    end if;
    if v_related is not null then
        perform workflow.after_end(v_related, p_now);
    end if;
end
$$;
comment on function workflow.finish_workflows is 'Internal: make workflows of which nothing runs terminal';
