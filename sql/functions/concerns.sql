-- Which of the leader's duties may have something to do, by their names (see maintenance/). It stands for a dozen of their
-- sweeps while nothing waits for anything, so each question is one probe of an index or of a table that is empty then; a
-- name too many costs a sweep that finds nothing.
--
-- p_events  the last event that the narrator has told, null when it has to look again in any case.
create or replace function workflow.concerns(p_events bigint) returns text[]
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_now   timestamptz := workflow.clock();
    v_all   text[] := '{}';
begin
    if p_events is distinct from coalesce(pg_sequence_last_value('workflow.event_seq'), 0) then
        v_all := v_all || 'narrator'::text;
    end if;
    if exists (select 1 from workflow.jobs j where j.status = 'todo' and j.scheduled_at is not null) then
        v_all := v_all || 'due tasks'::text;
    end if;
    if workflow.is_paused()
        or exists (select 1 from workflow.jobs j where j.status = 'todo' and j.scheduled_at = workflow.never())
        or exists (select 1 from workflow.resources)
        or exists (select 1 from workflow.concurrency_keys) then
        v_all := v_all || 'held tasks'::text;
    end if;
    if exists (select 1 from workflow.workflows w
               where w.deadline <= v_now and w.finished_at is null and w.ending is null)
        or exists (select 1 from workflow.deadlines d where d.at <= v_now) then
        v_all := v_all || 'time limits'::text;
    end if;
    if exists (select 1 from workflow.parents_to_wake) or exists (select 1 from workflow.children_to_cancel) then
        v_all := v_all || 'child workflows'::text;
    end if;
    if exists (select 1 from workflow.schedules s where s.paused_at is null and s.next_at <= v_now)
        or exists (select 1 from workflow.schedules s where s.paused_at is null and s.next_at is null) then
        v_all := v_all || 'schedules'::text;
    end if;
    if exists (select 1 from workflow.budgets b where b.attention) then
        v_all := v_all || 'budgets'::text;
    end if;
    if exists (select 1 from workflow.outbox o where o.status = 'pending' and o.kind = 'signal' and o.due_at <= v_now) then
        v_all := v_all || 'emitted signals'::text;
    end if;
    if exists (select 1 from workflow.outbox o where o.status = 'pending' and o.kind = 'webhook' and o.due_at <= v_now) then
        v_all := v_all || 'webhooks'::text;
    end if;
    if exists (select 1 from workflow.waits) then
        v_all := v_all || 'deadlocks'::text;
    end if;
    return v_all;
end
$$;
comment on function workflow.concerns is 'Which duties of the leader may have something to do';
