-- Approvals: a task asks people and waits for the first answer. The question is a row, open until it is answered, its time is
-- over, or its task is no longer waiting for it.

-- Answers an approval: the first answer counts, and its task goes on. The same answer again (outcome and data) changes
-- nothing and is no error. Whether the data fit the form is for the caller to check, as the API does.
--
-- Returns {"id", "workflow_id", "task_id", "status", "outcome", "data", "by", "at", "repeated": bool}.
-- Errors: WF404 no such approval; WF409 it was answered otherwise, is expired or withdrawn; WF422 no such outcome.
create or replace function workflow.answer_approval(
    p_id uuid, p_outcome text, p_data jsonb default null, p_by text default null) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_now       timestamptz;
    v_approval  workflow.approvals;
    v_repeated  boolean;
begin
    perform 1 from workflow.workflows w
    where w.id = (select a.workflow_id from workflow.approvals a where a.id = p_id)
    for no key update;
    select a.* into v_approval from workflow.approvals a where a.id = p_id for update;
    if not found then
        raise exception 'There is no approval %.', p_id using
            errcode = 'WF404', detail = 'approval-not-found', hint = 'GET /api/v1/approvals lists those that are open.';
    elsif not coalesce(p_outcome = any(v_approval.outcomes), false) then
        raise exception 'The outcome must be one of %.', array_to_string(v_approval.outcomes, ', ') using
            errcode = 'WF422', detail = 'invalid-parameter';
    end if;
    v_now := workflow.clock();
    v_repeated := v_approval.status = 'answered' and v_approval.outcome = p_outcome
                  and v_approval.data is not distinct from p_data;
    if v_approval.status = 'answered' and not v_repeated then
        raise exception 'The approval was answered with % already%.', v_approval.outcome,
                coalesce(', by ' || v_approval.answered_by, '') using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'The first answer counts.';
    elsif v_approval.status = 'expired' or v_approval.status = 'open' and v_approval.expires_at <= v_now then
        raise exception 'The approval expired at %.', workflow.rfc3339(v_approval.expires_at) using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Its workflow went on without an answer.';
    elsif v_approval.status = 'withdrawn' then
        raise exception 'The approval was withdrawn: its task does not wait for it any more.' using
            errcode = 'WF409', detail = 'invalid-transition',
            hint = format('GET /api/v1/workflows/%s shows what became of its workflow.', v_approval.workflow_id);
    elsif not v_repeated then
        update workflow.approvals a set
            status = 'answered', outcome = p_outcome, data = p_data, answered_by = p_by, answered_at = v_now, closed_at = v_now
        where a.id = p_id
        returning a.* into v_approval;
        insert into workflow.events (workflow_id, type, task_id, at, data)
        values (v_approval.workflow_id, 'task.answered', v_approval.task_id, v_now,
                jsonb_strip_nulls(jsonb_build_object('outcome', p_outcome, 'by', p_by, 'approval', p_id)));
        perform workflow.resume_waiting(array[v_approval.task_id], v_now);
    end if;
    return jsonb_build_object(
        'id', p_id, 'workflow_id', v_approval.workflow_id, 'task_id', v_approval.task_id, 'status', v_approval.status,
        'outcome', v_approval.outcome, 'data', v_approval.data, 'by', v_approval.answered_by, 'at', v_approval.answered_at,
        'repeated', v_repeated);
end
$$;
comment on function workflow.answer_approval is 'Answer an approval; the first answer counts';

-- Opens approvals. A task that waits on keeps the one that it has open.
create or replace function workflow.await_approval(p_tasks workflow.waiting_task[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    insert into workflow.approvals (
        id, workflow_id, task_id, attempt, prompt, form_schema, assignees, outcomes, created_at, expires_at)
    select workflow.new_id(), w.workflow_id, w.task_id, w.attempt, w.awaits ->> 'prompt',
           nullif(w.awaits -> 'form_schema', 'null'),
           array(select jsonb_array_elements_text(coalesce(nullif(w.awaits -> 'assignees', 'null'), '[]'))),
           array(select jsonb_array_elements_text(
               coalesce(nullif(w.awaits -> 'outcomes', 'null'), '["approved", "rejected"]'))),
           p_now,
           (select (t.awaits ->> 'until')::timestamptz from workflow.tasks t where t.id = w.task_id)
    from unnest(p_tasks) w
    order by w.task_id
    on conflict (task_id) where status = 'open' do update set expires_at = excluded.expires_at;
end
$$;
comment on function workflow.await_approval is 'Internal: open approvals';

-- What a claim tells of an approval: {"answer"?: {"outcome", "data", "by", "at"}}.
create or replace function workflow.approval_resumption(p_task workflow.tasks) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return coalesce((
        select case a.status when 'answered' then jsonb_build_object('answer', jsonb_build_object(
                   'outcome', a.outcome, 'data', a.data, 'by', a.answered_by, 'at', a.answered_at)) end
        from workflow.approvals a where a.task_id = p_task.id
        order by a.created_at desc, a.id desc limit 1), '{}');
end
$$;
comment on function workflow.approval_resumption is 'Internal: what a claim tells of the approval that a task waited for';

-- Closes the approvals that tasks have open: as expired where their time is over, else as withdrawn.
create or replace function workflow.stop_awaiting_approval(p_tasks bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    update workflow.approvals a set
        status = case when a.expires_at <= p_now then 'expired' else 'withdrawn' end, closed_at = p_now
    where a.id = any(array(  -- by the index of one task: PostgreSQL before 17 would rather look through all that are open
        select o.id from unnest(p_tasks) t
        cross join lateral (
            select x.id from workflow.approvals x where x.task_id = t and x.status = 'open' offset 0) o));
end
$$;
comment on function workflow.stop_awaiting_approval is 'Internal: close the approvals that tasks have open';
