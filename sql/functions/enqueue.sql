-- One job per task, whose arguments are the task's id; returns the ids of the jobs, in the order of the tasks and growing.
-- Wakes the workers of their queues: Postgres sends the same notification once per transaction.
create or replace function workflow.enqueue(p_tasks workflow.ready_task[]) returns bigint[]
language plpgsql volatile  -- not sql: its plan would be made anew in every turn
set search_path = public, pg_temp
as $$
declare
    v_jobs bigint[];
begin
    if p_tasks = '{}' then
        return '{}';
    end if;
    with made as (
        insert into workflow.jobs (queue_name, task_name, priority, args, scheduled_at)
        select r.queue, 'workflow:' || r.type, r.priority, jsonb_build_object('task_id', r.task_id), r.scheduled_at
        from unnest(p_tasks) with ordinality as r(task_id, queue, type, priority, scheduled_at, ord)
        order by r.ord
        returning id
    )
    select array_agg(m.id) into v_jobs from made m;
    perform workflow.wake_queue(q.queue) from (select distinct r.queue from unnest(p_tasks) r) q;
    return v_jobs;
end
$$;
comment on function workflow.enqueue is 'Internal: one job per task, ids in order';
