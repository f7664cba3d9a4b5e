-- Lets a workflow go on with another version of its definition, from what it has done so far. The caller holds the workflow
-- row; the workflow is pending or has ended, so none of its tasks runs.
--
-- It gets new tasks under a new base (see workflow.task_base), one for each step of the version. A task that succeeded stays
-- as it is, with its attempts, logs and events, if its step is in the version with the same type, it was not undone
-- and all that it depends on there stays too; what was in its scopes is not shown any more. All others start anew; attempts at them and events of them stay under their old ids
-- (workflow.replaced_tasks). A workflow of which everything stays has succeeded.
--
-- Returns how many tasks start anew.
create or replace function workflow.switch_version(p_workflow_id uuid, p_version_id integer) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_base      bigint := nextval('workflow.task_base');
    v_workflow  workflow.workflows;
    v_version   workflow.definition_versions;
    v_tasks     bigint[];   -- of before
    v_undone    bigint[] := workflow.undone_tasks(p_workflow_id);
    v_lines     text[];     -- locks and limits they wait for
    v_same      bigint[];   -- by position in the new version: the task of before that may stay, or null
    v_stays     boolean[];
    v_wave      integer[];
    v_step      integer;
    v_old       bigint[];   -- those that stay: ids of before and ids of now
    v_new       bigint[];
    v_anew      integer;
    v_since     timestamptz;
begin
    select * into v_workflow from workflow.workflows w where w.id = p_workflow_id;
    select * into v_version from workflow.definition_versions v where v.id = p_version_id;
    -- From here on no claim is under way; one that began before us and finds the workflow locked leaves it alone.
    v_tasks := array(select t.id from workflow.tasks t where t.workflow_id = p_workflow_id for update);

    -- What waited keeps its place in every line, and its age for those who watch it.
    v_since := coalesce((
        select min(t.pending_since) from workflow.tasks t where t.id = any(v_tasks) and t.status = 'pending'), v_now);

    v_same := array(
        select o.task_id
        from workflow.definition_steps s
        left join (
            select b.id, b.type, t.id as task_id
            from workflow.tasks t
            join workflow.definition_steps b on b.version_id = v_workflow.version_id and b.step_index = t.step_index
            where t.id = any(v_tasks) and t.status = 'succeeded' and b.scope = 0 and b.kind = 'step'
              and not t.id = any(v_undone)) o
            on o.id = s.id and o.type = s.type and s.scope = 0 and s.kind = 'step'
        where s.version_id = p_version_id
        order by s.step_index);
    v_stays := array(select x is not null from unnest(v_same) with ordinality as s(x, position) order by position);
    v_wave := array(
        select (position - 1)::integer from unnest(v_stays) with ordinality as s(stays, position) where not stays);
    loop
        v_wave := array(
            select distinct x
            from unnest(v_wave) y
            cross join lateral (
                select s.successors from workflow.definition_steps s
                where s.version_id = p_version_id and s.step_index = y offset 0) s
            cross join lateral unnest(s.successors) x
            where v_stays[x + 1]);
        exit when v_wave = '{}';
        foreach v_step in array v_wave loop
            v_stays[v_step + 1] := false;
        end loop;
    end loop;
    select coalesce(array_agg(x order by position) filter (where v_stays[position]), '{}'),
           coalesce(array_agg(v_base + position - 1 order by position) filter (where v_stays[position]), '{}'),
           count(*) filter (where not v_stays[position] and d.scope = 0 and d.kind = 'step')
    into v_old, v_new, v_anew
    from unnest(v_same) with ordinality as s(x, position)
    join workflow.definition_steps d on d.version_id = p_version_id and d.step_index = position - 1;

    insert into workflow.tasks
        (id, workflow_id, version_id, step_index, status, priority, open_dependencies, attempt, tries, crashes,
         worker_id, pending_since, first_started_at, started_at, finished_at, output,
         output_from)
    select v_base + s.step_index, p_workflow_id, p_version_id, s.step_index,
           case when o.id is not null then 'succeeded' else 'blocked' end,
           s.priority + v_workflow.priority, cardinality(s.dependencies), coalesce(o.attempt, 0), coalesce(o.tries, 0),
           coalesce(o.crashes, 0), o.worker_id, o.pending_since, o.first_started_at, o.started_at, o.finished_at, o.output,
           o.output_from
    from workflow.definition_steps s
    left join workflow.tasks o on o.id = any(v_old) and o.id = case when v_stays[s.step_index + 1] then v_same[s.step_index + 1] end
    where s.version_id = p_version_id and s.scope = 0 and s.kind = 'step';

    update workflow.attempt_history h set task_id = m.new
    from unnest(v_old, v_new) m(old, new)
    where h.workflow_id = p_workflow_id and h.task_id = any(v_old) and h.task_id = m.old;
    update workflow.task_logs l set task_id = m.new
    from unnest(v_old, v_new) m(old, new) where l.task_id = any(v_old) and l.task_id = m.old;
    update workflow.events e set task_id = m.new
    from unnest(v_old, v_new) m(old, new)
    where e.workflow_id = p_workflow_id and e.task_id = any(v_old) and e.task_id = m.old;
    update workflow.records r set task_id = m.new
    from unnest(v_old, v_new) m(old, new)
    where r.workflow_id = p_workflow_id and r.task_id = any(v_old) and r.task_id = m.old;
    insert into workflow.replaced_tasks (id, workflow_id, version_id, step_index, replaced_at)
    select t.id, p_workflow_id, t.version_id, t.step_index, v_now
    from (select distinct e.task_id from workflow.events e
          where e.workflow_id = p_workflow_id and e.task_id < v_base) e  -- those of what stays have their new ids by now
    cross join lateral (
        select t.id, t.version_id, t.step_index from workflow.tasks t where t.id = e.task_id offset 0) t;
    with gone as (
        delete from workflow.tasks t where t.id = any(v_tasks) returning t.job_id
    )
    delete from workflow.jobs j where j.id = any(array(select g.job_id from gone g));

    update workflow.scopes c set replaced = true where c.workflow_id = p_workflow_id;
    delete from workflow.groups g where g.workflow_id = p_workflow_id;

    v_lines := array(select distinct x.kind || ' ' || x.key from workflow.waits x where x.workflow_id = p_workflow_id);
    perform workflow.lock_resources(v_lines);
    delete from workflow.waits x where x.workflow_id = p_workflow_id;

    update workflow.workflows w set
        version_id = p_version_id, version = v_version.version,
        fail_fast = coalesce((v_version.plan ->> 'fail_fast')::boolean, true),
        status = case when w.started_at is null then 'pending' else 'running' end, finished_at = null,
        idle = workflow.idle_with(w.idle, w.started_at, w.finished_at, v_now),
        retried_at = case when w.finished_at is null then w.retried_at else v_now end,
        has_ending = v_version.has_ending, output = null,
        deadline = v_now + make_interval(secs => (v_version.plan ->> 'timeout')::double precision),
        paused_at = case when w.finished_at is null then w.paused_at end,
        open_tasks = workflow.count_open_tasks(p_workflow_id), error = null
    where w.id = p_workflow_id;
    insert into workflow.events (workflow_id, type, at, data) values
        (p_workflow_id, 'workflow.version_switched', v_now, jsonb_build_object(
            'from', v_workflow.version, 'to', v_version.version, 'kept', cardinality(v_old), 'anew', v_anew));
    perform workflow.advance(workflow.recount(array(
        select t.id from workflow.tasks t where t.workflow_id = p_workflow_id and t.status = 'blocked'), v_now), v_now);
    update workflow.tasks t set pending_since = v_since where t.workflow_id = p_workflow_id and t.status = 'pending';
    perform workflow.ensure_jobs(p_workflow_id);
    if v_version.has_deadlines then
        perform workflow.set_deadlines(array(
            select t.id from workflow.tasks t where t.workflow_id = p_workflow_id and t.status = 'pending'), v_now, true);
    end if;
    perform workflow.end_if_done(p_workflow_id, v_now);
    perform workflow.wake_waiters(v_lines, v_now);  -- who was woken passes it on
    return v_anew;
end
$$;
comment on function workflow.switch_version is 'Internal: let a workflow go on with another version of its definition';
