-- One job per task, whose arguments are the task's id; returns the ids of the jobs, in the order of the tasks and growing.
-- Wakes the workers of their queues; where the setting workflow.made is a list of jobs (see turn.sql), adds to that instead.
create or replace function workflow.enqueue(p_tasks workflow.ready_task[]) returns bigint[]
language plpgsql volatile  -- not sql: its plan would be made anew in every turn
set search_path = public, pg_temp
as $$
declare
    v_jobs      bigint[];
    v_queues    text[];
    v_queue     text;
    v_made      text := current_setting('workflow.made', true);
begin
    if p_tasks = '{}' then
        return '{}';
    end if;
    with made as (
        insert into workflow.jobs (queue_name, task_name, priority, args, scheduled_at)
        select r.queue, 'workflow:' || r.type, r.priority, jsonb_build_object('task_id', r.task_id), r.scheduled_at
        from unnest(p_tasks) with ordinality as r(task_id, queue, type, priority, scheduled_at, ord)
        order by r.ord
        returning id, queue_name
    )
    -- The queues for themselves: for a distinct aggregate beside theirs, Postgres would sort the ids by them.
    select array_agg(m.id), (select array_agg(distinct q.queue_name) from made q) into v_jobs, v_queues from made m;
    if v_made <> '' then
        perform set_config('workflow.made', (v_made::bigint[] || v_jobs)::text, true);
    else
        foreach v_queue in array v_queues loop
            perform workflow.wake_queue(v_queue);
        end loop;
    end if;
    return v_jobs;
end
$$;
comment on function workflow.enqueue is 'Internal: one job per task, ids in order';
