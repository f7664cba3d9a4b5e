-- Retention: workflows that ended long ago are deleted with everything of theirs. How long they are kept is said by their
-- version, else by the engine's settings; by neither, they are kept for ever.
--
-- Ended workflows have no index by time, which each end would pay for. Instead the leader goes round all workflows in the order
-- of their ids, which is that of their starts, so many at a time.

-- Deletes workflows whose time is over among the next p_look workflows from after p_after on: at most p_limit, and no more
-- once p_rows tasks went with them. A child is kept as long as the workflow at its top. Waits for no lock.
--
-- p_defaults  {"succeeded"?, "failed"?, "cancelled"?}: seconds; absent = for ever. Cancelled ones are kept like failed ones
--             unless something is said of them.
--
-- Returns {"deleted": count, "last": id to go on after, or null at the end}.
create or replace function workflow.sweep_ended(
    p_after uuid, p_defaults jsonb, p_look integer default 2000, p_limit integer default 200, p_rows integer default 20000) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set enable_hashjoin = off
set enable_sort = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_seen      uuid[];
    v_over      uuid[];
    v_workflow  uuid;
    v_deleted   integer := 0;
    v_rows      integer := 0;
begin
    if p_defaults = '{}' and not exists (select 1 from workflow.definition_versions v where v.retention is not null) then
        return '{"deleted": 0, "last": null}';
    end if;
    v_seen := array(
        select w.id from workflow.workflows w where p_after is null or w.id > p_after order by w.id limit p_look);
    v_over := array(
        select w.id
        from unnest(v_seen) x
        cross join lateral (
            select w.id, w.version_id, w.status, w.finished_at, w.root_id from workflow.workflows w where w.id = x offset 0) w
        cross join lateral (select v.retention from workflow.definition_versions v where v.id = w.version_id offset 0) v
        cross join lateral (
            select coalesce(
                v.retention ->> w.status, case when w.status = 'cancelled' then v.retention ->> 'failed' end,
                p_defaults ->> w.status, case when w.status = 'cancelled' then p_defaults ->> 'failed' end)::double precision as kept) k
        where w.finished_at < v_now - make_interval(secs => k.kept)
          and (select count(*) from workflow.workflows r where r.id = w.root_id) = 0
        limit p_limit);
    foreach v_workflow in array v_over loop
        perform 1 from workflow.workflows w where w.id = v_workflow and w.finished_at is not null for update skip locked;
        continue when not found;
        v_rows := v_rows + workflow.delete_workflow(v_workflow);
        v_deleted := v_deleted + 1;
        exit when v_rows >= p_rows;
    end loop;
    return jsonb_build_object('deleted', v_deleted, 'last', case
        when v_rows >= p_rows then v_workflow
        when cardinality(v_over) = p_limit then v_over[p_limit]
        when cardinality(v_seen) = p_look then v_seen[p_look] end);
end
$$;
comment on function workflow.sweep_ended is 'Delete workflows that ended long ago';

-- Deletes a workflow that has ended, whose row the caller has locked, with everything of its own. Returns how many tasks it had.
create or replace function workflow.delete_workflow(p_workflow_id uuid) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_tasks bigint[] := array(
        select t.id from workflow.tasks t where t.workflow_id = p_workflow_id
        union all select r.id from workflow.replaced_tasks r where r.workflow_id = p_workflow_id);
begin
    delete from workflow.task_logs x where x.task_id = any(v_tasks);
    delete from workflow.attempt_history x where x.task_id = any(v_tasks);
    delete from workflow.deadlines x where x.task_id = any(v_tasks);
    delete from workflow.parents_to_wake x where x.task_id = any(v_tasks);
    delete from workflow.children_to_cancel x where x.workflow_id = p_workflow_id;
    delete from workflow.events x where x.workflow_id = p_workflow_id;
    delete from workflow.records x where x.workflow_id = p_workflow_id;
    delete from workflow.scopes x where x.workflow_id = p_workflow_id;
    delete from workflow.groups x where x.workflow_id = p_workflow_id;
    delete from workflow.signals x where x.workflow_id = p_workflow_id;
    delete from workflow.signal_waits x where x.workflow_id = p_workflow_id;
    delete from workflow.approvals x where x.workflow_id = p_workflow_id;
    delete from workflow.outbox x where x.workflow_id = p_workflow_id;
    delete from workflow.endings x where x.workflow_id = p_workflow_id;
    delete from workflow.compensations x where x.workflow_id = p_workflow_id;
    delete from workflow.holds x where x.workflow_id = p_workflow_id;
    delete from workflow.waits x where x.workflow_id = p_workflow_id;
    delete from workflow.places x where x.workflow_id = p_workflow_id;
    delete from workflow.start_keys x where x.workflow_id = p_workflow_id;
    delete from workflow.budgets x where x.workflow_id = p_workflow_id;
    delete from workflow.replaced_tasks x where x.workflow_id = p_workflow_id;
    delete from workflow.tasks x where x.workflow_id = p_workflow_id;
    delete from workflow.workflows x where x.id = p_workflow_id;
    return cardinality(v_tasks);
end
$$;
comment on function workflow.delete_workflow is 'Internal: delete a workflow that has ended, with everything of its own';
