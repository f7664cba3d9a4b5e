-- Completes a running task from inside the transaction that did its work: the SQL of a transactional database step and
-- the step's success are one commit. The lease token is the right to call it, so it is safe to let the low-privilege
-- role of the connection `engine` execute it: SECURITY DEFINER lends it exactly this and nothing else.
--
-- The clock's settings are for tests and trials; the SQL of a step must not move the times of others' rows with them. (Set here,
-- as only a superuser may give a function a setting of that kind.)
--
-- Errors: WF410 the lease is stale: roll back; another attempt owns the task, or it was cancelled.
create or replace function workflow.complete_task(
    p_task_id bigint, p_attempt integer, p_lease_token uuid, p_output jsonb) returns void
language plpgsql volatile security definer
set search_path = public, pg_temp
as $$
declare
    v_offset    text := coalesce(current_setting('workflow.clock_offset', true), '');
    v_time      text := coalesce(current_setting('workflow.clock_time', true), '');
begin
    perform set_config('workflow.clock_offset', '', true), set_config('workflow.clock_time', '', true);
    if workflow.settle(array[row(p_task_id, p_attempt, p_lease_token, 'succeeded', null, null, p_output, null, null, null, null)
                             ::workflow.completion]) <> '{}' then
        raise exception 'The lease of this attempt is stale.' using errcode = 'WF410', detail = 'stale';
    end if;
    perform set_config('workflow.clock_offset', v_offset, true), set_config('workflow.clock_time', v_time, true);
end
$$;
comment on function workflow.complete_task is 'Complete a task inside the transaction that did its work';
revoke execute on function workflow.complete_task from public;
