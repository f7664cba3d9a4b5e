-- Starts a workflow again from a step: a new workflow that begins with the results of the steps that do not lie behind that
-- one. The old workflow stays as it is.
--
-- p_from      id of a step: it and all steps behind it run again. Null: all do.
-- p_input     of the new workflow; null: that of the old one.
-- p_version   of the definition; null: that of the old one.
-- p_dry_run   only say what would be done.
-- p_key       idempotency key, as for workflow.start_many; keys of different principals do not meet.
--
-- Returns {"id", "name", "version", "status", "replayed", "again": [{"step", "ran"}], "kept": [{"step", "status"}]}; `ran` says
-- that the old workflow began it, so that its effects repeat. `id` and `status` are null when p_dry_run.
-- Errors: WF404 no such workflow, version or step; WF409 it has not ended, or its definition was deleted; WF422, WF503 as
-- workflow.start_many.
create or replace function workflow.rerun(
    p_workflow_id uuid, p_from text default null, p_input jsonb default null, p_version integer default null,
    p_dry_run boolean default false, p_key text default null, p_fingerprint text default '', p_principal text default '')
    returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_old       workflow.workflows;
    v_version   workflow.definition_versions;
    v_plan      workflow.rerun_step[];
    v_answer    jsonb;
    v_start     jsonb;
    v_started   jsonb := jsonb_build_object('id', null, 'status', null);
begin
    select * into v_old from workflow.workflows w where w.id = p_workflow_id for no key update;
    if not found then
        raise exception 'There is no workflow %.', p_workflow_id using errcode = 'WF404', detail = 'workflow-not-found';
    elsif v_old.finished_at is null then
        raise exception 'The workflow has not ended.' using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Wait until it ends, or cancel it first.';
    end if;
    select * into v_version from workflow.definition_versions v
    where v.id = workflow.version_id(v_old.name, coalesce(p_version, v_old.version));
    v_plan := workflow.rerun_plan(v_old, v_version.id, p_from);
    select jsonb_build_object(
        'name', v_old.name, 'version', v_version.version, 'replayed', false,
        'again', coalesce(jsonb_agg(jsonb_build_object('step', s.step, 'ran', s.ran) order by s.step_index)
                              filter (where s.again), '[]'),
        'kept', coalesce(jsonb_agg(jsonb_build_object('step', s.step, 'status', s.status) order by s.step_index)
                             filter (where not s.again), '[]'))
    into v_answer
    from unnest(v_plan) s;

    if not p_dry_run then
        v_start := workflow.start_many(jsonb_build_array(jsonb_build_object(
            'name', v_old.name, 'version', v_version.version, 'hash', v_version.hash,
            'input', coalesce(p_input, v_old.input), 'labels', v_old.labels, 'priority', v_old.priority,
            'rerun_of', p_workflow_id)), p_key, p_fingerprint, p_principal);
        v_started := jsonb_build_object(
            'id', v_start -> 'started' -> 0 -> 'id', 'status', v_start -> 'started' -> 0 -> 'status',
            'replayed', v_start -> 'replayed');
        if not (v_start ->> 'replayed')::boolean then
            perform workflow.begin_rerun(
                (v_started ->> 'id')::uuid, p_workflow_id, p_from, v_plan, workflow.clock());
        end if;
    end if;
    return v_answer || v_started;
end
$$;
comment on function workflow.rerun is 'Start a workflow again from a step, with the results of the others';

-- What of a workflow that has ended would be kept, and what would run again: a row for each step of the version that is to run.
--
-- Kept is what succeeded; on the same version also what was skipped, and failures that are tolerated. Of another version a step
-- must have the same type. All that a kept step depends on is kept. What its compensation has undone runs again, and so
-- does what terminated the workflow. A step with steps inside is kept or run again as a whole.
create or replace function workflow.rerun_plan(p_old workflow.workflows, p_version_id integer, p_from text)
    returns workflow.rerun_step[]
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan  -- a wave must not be planned each time
as $$
declare
    v_plan      workflow.rerun_step[];
    v_again     boolean[];      -- by position
    v_wave      integer[];
    v_step      integer;
    v_base      bigint;
    v_undone    bigint[] := workflow.undone_tasks(p_old.id);
begin
    select t.id - t.step_index into v_base
    from workflow.tasks t
    cross join lateral (
        select s.scope from workflow.definition_steps s
        where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
    where t.workflow_id = p_old.id and s.scope = 0
    limit 1;
    v_plan := array(
        with was as materialized (
            select b.id, b.type, t.id as task_id, t.status, t.attempt > 0 as ran,
                   (t.status = 'succeeded'
                        or b.version_id = p_version_id and (t.status = 'skipped' or t.status = 'failed' and b.tolerated))
                   and not t.id = any(v_undone) as keeps
            from workflow.definition_steps b
            cross join lateral (
                select t.id, t.status, t.attempt from workflow.tasks t where t.id = v_base + b.step_index offset 0) t
            where b.version_id = p_old.version_id and b.scope = 0 and b.kind = 'step'
        )
        select row(s.step_index, s.id, o.task_id, o.status, coalesce(o.ran, false),
                   p_from is null or s.id = p_from or not coalesce(o.keeps, false))::workflow.rerun_step
        from workflow.definition_steps s
        left join was o on o.id = s.id and o.type = s.type
        where s.version_id = p_version_id and s.scope = 0 and s.kind = 'step'
        order by s.step_index);
    if p_from is not null and not exists (select 1 from unnest(v_plan) s where s.step = p_from) then
        raise exception 'There is no step %.', p_from using
            errcode = 'WF404', detail = 'task-not-found',
            hint = 'Name one of the workflow''s own steps; what is inside another runs again with that one.';
    end if;

    v_wave := array(select s.step_index from unnest(v_plan) s where s.again);
    v_again := array(
        select coalesce(s.again, true)
        from generate_series(0, (select max(x.step_index) from unnest(v_plan) x)) i
        left join unnest(v_plan) s on s.step_index = i
        order by i);
    loop
        v_wave := array(
            select distinct x
            from unnest(v_wave) y
            cross join lateral (
                select s.successors from workflow.definition_steps s
                where s.version_id = p_version_id and s.step_index = y offset 0) s
            cross join lateral unnest(s.successors) x
            where not v_again[x + 1]);
        exit when v_wave = '{}';
        foreach v_step in array v_wave loop
            v_again[v_step + 1] := true;
        end loop;
    end loop;
    return array(
        select row(s.step_index, s.step, s.task_id, s.status, s.ran, v_again[s.step_index + 1])::workflow.rerun_step
        from unnest(v_plan) s order by s.step_index);
end
$$;
comment on function workflow.rerun_plan is 'Internal: what of a workflow would be kept and what would run again';

-- Gives a workflow that was just started the results it is to begin with. Nobody else has seen it yet.
create or replace function workflow.begin_rerun(
    p_workflow_id uuid, p_rerun_of uuid, p_from text, p_plan workflow.rerun_step[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_base  bigint;
    v_tasks bigint[];
begin
    select min(t.id - t.step_index), array_agg(t.id) into v_base, v_tasks
    from workflow.tasks t where t.workflow_id = p_workflow_id;
    delete from workflow.jobs j
    where j.id = any(array(select t.job_id from workflow.tasks t where t.id = any(v_tasks) and t.job_id is not null));
    with kept as materialized (
        select v_base + s.step_index as id, o.status, o.output, o.error, o.started_at, o.finished_at
        from unnest(p_plan) s
        cross join lateral (
            select o.status, o.output, o.error, o.started_at, o.finished_at from workflow.tasks o
            where o.id = s.task_id offset 0) o
        where not s.again
    )
    update workflow.tasks t set
        status = k.status, output = k.output, error = k.error, output_from = 'rerun', job_id = null, pending_since = null,
        open_dependencies = 0, started_at = k.started_at, finished_at = k.finished_at
    from kept k
    where t.id = any(v_tasks) and t.id = k.id;
    update workflow.workflows w set rerun_of = p_rerun_of where w.id = p_workflow_id;
    insert into workflow.events (workflow_id, type, at, data) values
        (p_workflow_id, 'workflow.began_as_rerun', p_now, jsonb_strip_nulls(jsonb_build_object(
            'of', p_rerun_of, 'from', p_from, 'kept', (select count(*) from unnest(p_plan) s where not s.again)))),
        (p_rerun_of, 'workflow.rerun', p_now, jsonb_strip_nulls(jsonb_build_object('as', p_workflow_id, 'from', p_from)));
    -- What is kept counts as ended for what is not.
    perform workflow.reopen(
        p_workflow_id, array(select v_base + s.step_index from unnest(p_plan) s where s.again), p_now);
end
$$;
comment on function workflow.begin_rerun is 'Internal: give a workflow the results it is to begin with';
