-- Ends a workflow now: what has not ended is cancelled; running handlers are told to stop and their results are void. So are
-- its children that run, unless they are to be abandoned. A workflow that has something to undo, or handlers for its end, runs
-- those first (see ending.sql); cancelled once more it is over at once.
--
-- p_by says who, p_reason why; both are in its error.
--
-- Returns the workflow's status before: 'cancelled' says it was already (no effect).
-- Errors: WF404 no such workflow; WF409 it has succeeded or failed.
create or replace function workflow.cancel(
    p_workflow_id uuid, p_reason text default null, p_by text default null) returns text
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_status text;
begin
    select w.status into v_status from workflow.workflows w where w.id = p_workflow_id for no key update;
    if not found then
        raise exception 'There is no workflow %.', p_workflow_id using errcode = 'WF404', detail = 'workflow-not-found';
    elsif v_status in ('succeeded', 'failed') then
        raise exception 'The workflow has already %.', v_status using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Nothing is left to cancel.';
    elsif v_status <> 'cancelled' then
        perform workflow.cancel_live(p_workflow_id || workflow.lock_descendants(p_workflow_id), p_reason, p_by);
    end if;
    return v_status;
end
$$;
comment on function workflow.cancel is 'End a workflow now; returns its status before';

-- Cancels live workflows, whose rows the caller holds, together with what they hold.
create or replace function workflow.cancel_live(
    p_workflows uuid[], p_reason text default null, p_by text default null) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    perform workflow.end_workflows(p_workflows, 'cancelled', workflow.clock(), jsonb_build_object(
        'type', 'cancelled', 'message', coalesce(p_reason, 'Cancelled on request.'), 'retryable', false,
        'attempt', 0, 'details', jsonb_strip_nulls(jsonb_build_object('by', p_by))));
    perform workflow.free_resources(p_workflows, '{}', workflow.clock());
end
$$;
comment on function workflow.cancel_live is 'Internal: cancel live workflows';
