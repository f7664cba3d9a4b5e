-- Ends workflows because a step of theirs says so (the step type `terminate`); called in the commit that completes the step, of
-- which p_effects has one row with the data {"status": "succeeded"|"failed"|"cancelled", "reason"?, "output"?}. The caller holds
-- the workflow rows. What has not ended is cancelled, from whatever scope it is said; then the workflow has its ending as always.
--
-- Said during an ending, it changes the outcome and ends the handler that said it; the ending goes on with what is next.
create or replace function workflow.terminate(p_effects workflow.effect[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_effect    record;
    v_workflow  workflow.workflows;
    v_error     jsonb;
begin
    for v_effect in
        select distinct on (e.workflow_id) e.*, s.id as step, s.kind, coalesce(e.data ->> 'status', 'succeeded') as status
        from unnest(p_effects) e
        cross join lateral (
            select s.id, s.kind from workflow.definition_steps s
            where s.version_id = e.version_id and s.step_index = e.step_index offset 0) s
        order by e.workflow_id, e.task_id
    loop
        select * into v_workflow from workflow.workflows w where w.id = v_effect.workflow_id;
        continue when v_workflow.finished_at is not null;
        v_error := case when v_effect.status <> 'succeeded' then jsonb_build_object(
            'type', case v_effect.status when 'failed' then 'terminated' else 'cancelled' end,
            'message', coalesce(v_effect.data ->> 'reason', 'A step ended the workflow.'), 'retryable', false, 'attempt', 0,
            'details', '{}'::jsonb, 'step', v_effect.step, 'task_id', v_effect.task_id::text) end;
        insert into workflow.events (workflow_id, type, task_id, at, data)
        values (v_effect.workflow_id, 'workflow.terminated', v_effect.task_id, p_now,
                jsonb_build_object('status', v_effect.status)
                || case when v_effect.data ->> 'reason' is not null
                        then jsonb_build_object('reason', v_effect.data ->> 'reason') else '{}' end);
        if jsonb_typeof(v_effect.data -> 'output') <> 'null' then
            update workflow.workflows w set output = v_effect.data -> 'output' where w.id = v_effect.workflow_id;
        end if;

        if v_workflow.ending is null then
            perform workflow.end_workflows(array[v_effect.workflow_id], v_effect.status, p_now, v_error);
        else
            update workflow.workflows w set
                ending = v_effect.status,
                error = case when v_effect.status <> 'succeeded' then coalesce(w.error, v_error) end
            where w.id = v_effect.workflow_id;
            perform workflow.cancel_open_tasks(array[v_effect.workflow_id], p_now);
            if v_effect.kind = 'step' then  -- else the task itself is the handler, and its end goes on
                perform workflow.continue_ending(array[v_effect.workflow_id], p_now);
            end if;
        end if;
    end loop;
end
$$;
comment on function workflow.terminate is 'Internal: end workflows because a step of theirs says so';
