-- The pending tasks that are not held, by queue, in the order in which they are claimed: what the list
-- `workflow:tasks:pending` in Redis holds. Todo jobs without a time, then those whose time has come and that nobody woke
-- yet. One snapshot (STABLE), read along the indexes of pending jobs, so that finished, running and parked ones cost
-- nothing.
--
-- p_limit  at most so many tasks, over all queues.
--
-- Returns one row per queue that has any: its name, the task ids separated by commas, and how many they are. Text,
-- because 100,000 ids are a tenth of the work for both sides that an array of numbers would be.
create or replace function workflow.pending_tasks(p_limit integer default 100000)
    returns table (queue text, task_ids text, pending integer)
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_queues    text[];
    v_left      integer := p_limit;
begin
    -- Steps from queue to queue in the indexes, however many jobs each has.
    with recursive ready as (
        (select j.queue_name from workflow.jobs j
         where j.status = 'todo' and j.scheduled_at is null order by j.queue_name limit 1)
        union all
        select (select j.queue_name from workflow.jobs j
                where j.status = 'todo' and j.scheduled_at is null and j.queue_name > r.queue_name
                order by j.queue_name limit 1)
        from ready r where r.queue_name is not null
    ), timed as (
        (select j.queue_name from workflow.jobs j
         where j.status = 'todo' and j.scheduled_at is not null order by j.queue_name limit 1)
        union all
        select (select j.queue_name from workflow.jobs j
                where j.status = 'todo' and j.scheduled_at is not null and j.queue_name > t.queue_name
                order by j.queue_name limit 1)
        from timed t where t.queue_name is not null
    )
    select array_agg(q.queue_name order by q.queue_name) into v_queues
    from (select r.queue_name from ready r union select t.queue_name from timed t) q
    where q.queue_name is not null;

    foreach queue in array coalesce(v_queues, '{}') loop
        exit when v_left <= 0;
        select string_agg(p.task_id, ','), count(p.task_id) into task_ids, pending
        from (
            (select j.args ->> 'task_id' as task_id from workflow.jobs j
             where j.status = 'todo' and j.scheduled_at is null and j.queue_name = queue
             order by j.priority desc, j.id
             limit v_left)
            union all
            (select j.args ->> 'task_id' from workflow.jobs j
             where j.status = 'todo' and j.scheduled_at is not null and j.queue_name = queue
               and j.scheduled_at <= v_now
             order by j.scheduled_at
             limit v_left)
            limit v_left
        ) p;
        if pending > 0 then
            v_left := v_left - pending;
            return next;
        end if;
    end loop;
end
$$;
comment on function workflow.pending_tasks is 'The pending tasks that are not held, by queue, in the order of claims';

-- How many tasks are pending that are not held, counted up to p_most: whether there is room for more. Reads what is ready, and
-- no more of it than that.
create or replace function workflow.count_pending(p_most integer) returns integer
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
begin
    return (
        select count(*)
        from (select from workflow.jobs j where j.status = 'todo' and j.scheduled_at is null limit p_most) x);
end
$$;
comment on function workflow.count_pending is 'How many tasks are pending, counted up to a limit';
