-- Tasks whose step catches an error: a worker decides about the catch and sees to what follows its steps, but nothing of the
-- handler runs any more.

-- Whether a task catches an error now; p_awaits is its own.
create or replace function workflow.is_catching(p_awaits jsonb) returns boolean
language sql immutable parallel safe
as $$
    select coalesce(p_awaits ->> 'kind' = 'raised' or p_awaits -> 'state' ? 'catching', false)
$$;
comment on function workflow.is_catching is 'Internal: whether a task catches an error now';

-- Where tasks that catch an error become jobs: as ever while a living worker can run them. Where none can -to notice that is
-- what `schedule_to_start` is for- any worker that knows catches decides, as it needs no handler for that.
create or replace function workflow.catching_jobs(p_tasks workflow.ready_task[], p_now timestamptz)
    returns workflow.ready_task[]
language plpgsql stable
set search_path = public, pg_temp
as $$
begin
    return (
        with alive as materialized (
            select k.queues, k.task_types from workflow.workers k
            where k.status = 'active' and k.last_heartbeat_at > p_now - 3 * make_interval(secs => k.heartbeat_seconds)
        ), anywhere as (
            select q.queue from alive k cross join lateral unnest(k.queues) q(queue)
            where 'block' = any(k.task_types)
            order by q.queue <> 'default', q.queue limit 1
        )
        select array_agg(
            case when a.queue is null or exists (
                     select 1 from alive k where r.queue = any(k.queues) and r.type = any(k.task_types))
                 then row(r.task_id, r.queue, r.type, r.priority, r.scheduled_at)::workflow.ready_task
                 else row(r.task_id, a.queue, 'block', r.priority, r.scheduled_at)::workflow.ready_task end
            order by r.ord)
        from unnest(p_tasks) with ordinality as r(task_id, queue, type, priority, scheduled_at, ord)
        left join anywhere a on true);
end
$$;
comment on function workflow.catching_jobs is 'Internal: where tasks that catch an error become jobs';
