-- What the leader does for everybody, done for one trial alone (test mode): deadlines, rates, cancelled children, parents to be told.
-- The sweeps themselves would take, and hold until the trial is rolled back, rows of real workflows. Nobody else sees these.
--
-- p_root  the workflow that is tried; its children are meant, too.
--
-- Returns {"moved": whether there was something to do, "next_due": seconds until the next deadline, or null, "ended": whether
-- the workflow has}.
create or replace function workflow.sweep_trial(p_root uuid) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_tree      uuid[];
    v_workflow  record;
    v_tasks     bigint[];
    v_errors    jsonb[];
    v_cancelled uuid[];
    v_limits    text[];
    v_moved     integer := 0;
    v_next      timestamptz;
begin
    with recursive tree as (
        select p_root as id
        union all
        select w.id from tree join workflow.workflows w on w.parent_id = tree.id
    )
    select array_agg(id) into v_tree from tree;

    for v_workflow in
        select w.id, (v.plan ->> 'timeout')::double precision as seconds
        from workflow.workflows w join workflow.definition_versions v on v.id = w.version_id
        where w.id = any(v_tree) and w.deadline <= v_now and w.finished_at is null and w.ending is null
    loop
        perform workflow.end_workflows(
            array[v_workflow.id], 'failed', v_now, workflow.timeout_error('workflow', v_workflow.seconds, 0));
        perform workflow.free_resources(array[v_workflow.id], '{}', v_now);
        v_moved := v_moved + 1;
    end loop;

    with due as (
        delete from workflow.deadlines d using workflow.tasks t
        where t.workflow_id = any(v_tree) and t.id = d.task_id and d.at <= v_now
        returning d.*, t.attempt as attempt_now, t.status, t.awaits, t.finished_at
    ), missed as (  -- as in workflow.sweep_deadlines
        select distinct on (d.task_id) d.task_id, workflow.timeout_error(d.kind, d.seconds, d.attempt_now) as error
        from due d
        where d.finished_at is null
          and (d.kind = 'schedule_to_close' or d.attempt_now <= d.attempt and d.status = 'pending' and d.awaits is null)
        order by d.task_id, d.kind
    )
    select array_agg(m.task_id order by m.task_id), array_agg(m.error order by m.task_id) into v_tasks, v_errors from missed m;
    if v_tasks is not null then
        v_moved := v_moved + workflow.raise_errors(v_tasks, v_errors, v_now);
    end if;

    with told as (
        delete from workflow.children_to_cancel c where c.workflow_id = any(v_tree) returning c.workflow_id
    )
    select array_agg(distinct w.id) into v_cancelled
    from told join workflow.workflows w on w.id = told.workflow_id
    where w.finished_at is null and w.ending is null;
    if v_cancelled is not null then
        perform workflow.cancel_live(v_cancelled, 'Its parent goes on without it.');
        v_moved := v_moved + cardinality(v_cancelled);
    end if;

    v_tasks := array(
        select distinct t.id
        from workflow.parents_to_wake p
        join workflow.tasks t on t.id = p.task_id and t.workflow_id = any(v_tree)
        join workflow.workflows w on w.id = (t.awaits ->> 'workflow_id')::uuid and w.finished_at is not null
        where t.status = 'waiting' and t.awaits ->> 'kind' = 'child');
    if v_tasks <> '{}' then
        perform workflow.wake_waiting(v_tasks, v_now);
        v_moved := v_moved + cardinality(v_tasks);
    end if;

    -- Locks and limits have names of this trial's own (see store/trials.py).
    v_limits := array(
        select distinct x.key from workflow.waits x join workflow.tasks t on t.id = x.task_id
        where t.workflow_id = any(v_tree) and x.kind = 'limit');
    v_moved := v_moved + workflow.wake_waiters(array(
        select r.kind || ' ' || r.key from workflow.resources r
        where r.kind = 'limit' and r.key = any(v_limits) and r.due_at <= v_now), v_now, 200);

    select least(
        (select min(r.due_at) from workflow.resources r where r.kind = 'limit' and r.key = any(v_limits)),
        (select min(w.deadline) from workflow.workflows w
         where w.id = any(v_tree) and w.finished_at is null and w.ending is null),
        (select min(d.at) from workflow.tasks t join workflow.deadlines d on d.task_id = t.id
         where t.workflow_id = any(v_tree) and t.finished_at is null))
    into v_next;
    return jsonb_build_object(
        'moved', v_moved > 0,
        'next_due', case when v_next is not null then greatest(extract(epoch from v_next - v_now), 0) end,
        'ended', (select w.finished_at is not null from workflow.workflows w where w.id = p_root));
end
$$;
comment on function workflow.sweep_trial is 'Test mode: what sweeps do, for one workflow and its children';
