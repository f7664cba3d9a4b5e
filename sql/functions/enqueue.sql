-- Inserts one job per task and returns the job ids in the order of the tasks. Every job of the engine is made here.
-- The task's status and job_id are written by the caller, in the same transaction.
--
-- procrastinate_defer_jobs_v1 inserts in array order and returns the ids as inserted (a contract test holds it to that).
create or replace function workflow.enqueue(p_tasks workflow.ready_task[]) returns bigint[]
language plpgsql volatile  -- not sql: its plan would be made anew in every turn
set search_path = public, pg_temp
as $$
begin
    if p_tasks = '{}' then
        return '{}';
    end if;
    return procrastinate_defer_jobs_v1(array(
        select row(r.queue, 'workflow:' || r.type, r.priority, null, null,
                   jsonb_build_object('task_id', r.task_id), r.scheduled_at)::procrastinate_job_to_defer_v1
        from unnest(p_tasks) with ordinality as r(task_id, queue, type, priority, scheduled_at, ord)
        order by r.ord));
end
$$;
comment on function workflow.enqueue is 'Internal: one job per task, ids in order';
