-- Takes the locks of a live workflow away from it, for operators who know that what holds them will not let go. A running
-- task that works under one of them loses its lease with it: its late result is stale, its worker is told to stop it, and
-- it is pending again, behind those who wait. That costs no try, as it was not the step that failed.
--
-- Returns {"id", "locks": [keys], "tasks": how many lost their lease}; both empty when there was nothing to release, or
-- the workflow has ended. Errors: WF404.
create or replace function workflow.release_locks(p_workflow_id uuid) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
    v_now       timestamptz;
    v_keys      text[];
    v_taken     workflow.completion[];
    v_workers   bigint[];
begin
    perform 1 from workflow.workflows w where w.id = p_workflow_id for no key update;
    if not found then
        raise exception 'There is no workflow %.', p_workflow_id using errcode = 'WF404', detail = 'workflow-not-found';
    end if;
    v_now := workflow.clock();
    with released as (
        delete from workflow.holds h where h.workflow_id = p_workflow_id and h.kind = 'lock' returning h.key
    )
    select coalesce(array_agg(distinct r.key order by r.key), '{}') into v_keys from released r;
    if v_keys <> '{}' then
        -- All that the locks let pass: with scope workflow, also tasks beside the one that took it.
        perform 1 from workflow.tasks t where t.workflow_id = p_workflow_id and t.status = 'running' for no key update;
        select coalesce(array_agg(row(t.id, t.attempt, t.lease_token, 'released', null, null, null, workflow.lock_released(),
                                      null, null, null)::workflow.completion order by t.id), '{}'),
               coalesce(array_agg(distinct t.worker_id), '{}')
        into v_taken, v_workers
        from workflow.tasks t
        cross join lateral (
            select s.resources from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s
        where t.workflow_id = p_workflow_id and t.status = 'running' and exists (
            select 1 from jsonb_array_elements(s.resources) r where r ->> 'kind' = 'lock' and r ->> 'key' = any(v_keys));
        insert into workflow.events (workflow_id, type, at, data)
        values (p_workflow_id, 'workflow.locks_released', v_now, jsonb_build_object(
            'locks', v_keys, 'tasks', cardinality(v_taken)));
        if v_taken <> '{}' then
            perform workflow.settle(v_taken);
        end if;
        -- settle has locked limits at most, which come before locks.
        perform workflow.lock_resources(array(select 'lock ' || k from unnest(v_keys) k));
        perform workflow.wake_waiters(array(select 'lock ' || k from unnest(v_keys) k), v_now);
        perform pg_notify('workflow_worker', w::text) from unnest(v_workers) w;  -- a hint, as in end_workflows
    end if;
    return jsonb_build_object('id', p_workflow_id, 'locks', v_keys, 'tasks', coalesce(cardinality(v_taken), 0));
end
$$;
comment on function workflow.release_locks is 'Take the locks of a workflow away; returns which and how many tasks lost their lease';

-- The error of an attempt whose lock an operator took away.
create or replace function workflow.lock_released() returns jsonb
language sql immutable parallel safe
as $$
    select '{"type": "lock_released", "message": "Its lock was released by an operator.", "retryable": true, "attempt": 0,
             "details": {}}'::jsonb
$$;
comment on function workflow.lock_released is 'Internal: the error of an attempt whose lock was taken away';
