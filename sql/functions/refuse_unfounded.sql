-- Attempts whose end rests on what is no longer true: they would take a signal that another wait has taken since, or give up
-- waiting for what came at the last moment. Such an attempt is handed back (`released`: it costs no try) with what its task
-- awaits; the next claim shows the news. So what was accepted is never lost and never taken twice. The caller holds the
-- workflow rows, and asks only if a completion has such `effects`.
--
-- `effects` has {"taken": [seq, ...]}: it rests on these signals being free or its own; or {"expired": true, "after": seq}: it
-- rests on nothing having come (with a condition on signals: nothing after the one looked at last).
--
-- Returns all completions, in order.
create or replace function workflow.refuse_unfounded(p_completions workflow.completion[]) returns workflow.completion[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_place integer;
    v_made  workflow.completion;
    v_task  workflow.tasks;
    v_seqs  bigint[];
    v_taken bigint[] := '{}';  -- by the completions before this one
begin
    for v_place in 1 .. cardinality(p_completions) loop
        v_made := p_completions[v_place];
        continue when not coalesce(v_made.effects ?| '{taken,expired}', false);
        select t.* into v_task from workflow.tasks t
        where t.id = v_made.task_id and t.attempt = v_made.attempt and t.lease_token = v_made.lease_token
          and t.status = 'running';
        continue when not found;  -- stale
        v_seqs := array(select q::bigint from jsonb_array_elements_text(v_made.effects -> 'taken') q);
        if v_seqs && v_taken
           or cardinality(v_seqs) > (
               select count(*) from workflow.signals s
               where s.seq = any(v_seqs) and s.workflow_id = v_task.workflow_id
                 and (s.taken_by is null or s.taken_by = v_task.id))
           or v_made.effects ? 'expired' and workflow.has_come(v_task, coalesce((v_made.effects ->> 'after')::bigint, 0))
        then
            v_made.outcome := 'released';
            v_made.next := null;
            v_made.output := null;
            v_made.error := null;
            v_made.record := null;
            v_made.awaits := null;
            v_made.effects := null;
            p_completions[v_place] := v_made;
        else
            v_taken := v_taken || v_seqs;
        end if;
    end loop;
    return p_completions;
end
$$;
comment on function workflow.refuse_unfounded is 'Internal: hand attempts back whose end rests on what is no longer true';

-- Whether what a task waits for has come: its approval was answered, all its signals are there, or with a condition on them
-- there is one after p_after to look at.
create or replace function workflow.has_come(p_task workflow.tasks, p_after bigint) returns boolean
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return case p_task.awaits ->> 'kind'
        when 'approval' then workflow.approval_resumption(p_task) ? 'answer'
        when 'signal' then case
            when (p_task.awaits ->> 'matches')::boolean then exists (
                select 1 from workflow.signals s
                where s.workflow_id = p_task.workflow_id and s.name = p_task.awaits ->> 'name' and s.taken_by is null
                  and s.seq > p_after)
            else (select count(*) from workflow.signals s where s.taken_by = p_task.id and s.taken_at is null)
                 >= coalesce((p_task.awaits ->> 'count')::integer, 1) end
        else false end;
end
$$;
comment on function workflow.has_come is 'Internal: whether what a task waits for has come';
