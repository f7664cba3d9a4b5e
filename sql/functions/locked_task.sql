-- A task that an operator acts on, its row locked under its workflow's: a claim does not hold the workflow row. The task is gone
-- if its workflow just went on with another version.
--
-- Errors: WF404 no such task.
create or replace function workflow.locked_task(p_task_id bigint) returns workflow.tasks
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_task workflow.tasks;
begin
    perform 1 from workflow.workflows w
    where w.id = (select t.workflow_id from workflow.tasks t where t.id = p_task_id)
    for no key update;
    select * into v_task from workflow.tasks t where t.id = p_task_id for no key update;
    if not found then
        raise exception 'There is no task %.', p_task_id using
            errcode = 'WF404', detail = 'task-not-found', hint = 'GET /api/v1/workflows/{id}/tasks lists those of a workflow.';
    end if;
    return v_task;
end
$$;
comment on function workflow.locked_task is 'Internal: a task, its row locked under its workflow''s';
