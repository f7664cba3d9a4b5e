-- When the next scheduled job of some queues becomes due; null when there is none (a parked one never does). One index
-- probe per queue.
create or replace function workflow.next_due(p_queues text[]) returns timestamptz
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
    v_queue text;
    v_due timestamptz;
    v_next timestamptz;
begin
    foreach v_queue in array p_queues loop
        select j.scheduled_at into v_due from workflow.jobs j
        where j.status = 'todo' and j.scheduled_at is not null and j.scheduled_at < workflow.never()
          and j.queue_name = v_queue
        order by j.scheduled_at limit 1;
        v_next := least(v_next, v_due);
    end loop;
    return v_next;
end
$$;
comment on function workflow.next_due is 'When the next scheduled job of these queues becomes due';

-- Makes scheduled tasks whose time has come pending, so that they compete by priority like all others; likewise waiting ones
-- whose timer or deadline has come. Waits for no lock. Without p_queues, in all queues. Returns how many; call again while that equals p_limit.
create or replace function workflow.wake_due(p_queues text[] default null, p_limit integer default 1000) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
as $$
declare
    v_now   timestamptz := workflow.clock();
    v_queue text;
    v_jobs  bigint[] := '{}';
    v_tasks bigint[];
    v_woken bigint[];
begin
    if p_queues is null then
        -- Steps from queue to queue in the index, however many jobs each has.
        with recursive q as (
            (select j.queue_name from workflow.jobs j
             where j.status = 'todo' and j.scheduled_at is not null order by j.queue_name limit 1)
            union all
            select (select j.queue_name from workflow.jobs j
                    where j.status = 'todo' and j.scheduled_at is not null and j.queue_name > q.queue_name
                    order by j.queue_name limit 1)
            from q where q.queue_name is not null
        )
        select coalesce(array_agg(q.queue_name), '{}') into p_queues from q where q.queue_name is not null;
    end if;
    foreach v_queue in array p_queues loop
        v_jobs := v_jobs || array(
            select j.id from workflow.jobs j
            where j.status = 'todo' and j.scheduled_at is not null and j.queue_name = v_queue and j.scheduled_at <= v_now
            order by j.scheduled_at
            limit p_limit - cardinality(v_jobs)
            for update skip locked);
    end loop;
    if v_jobs = '{}' then
        return 0;
    end if;
    v_tasks := array(
        select t.id from workflow.tasks t
        where t.id = any(array(
                  select (j.args ->> 'task_id')::bigint from workflow.jobs j where j.id = any(v_jobs)))
          and t.job_id = any(v_jobs) and t.status in ('scheduled', 'waiting')
        for no key update skip locked);
    with woken as (
        update workflow.tasks t set status = 'pending', pending_since = t.scheduled_at, scheduled_at = null
        where t.id = any(v_tasks)
        returning t.job_id
    )
    select array_agg(w.job_id) into v_woken from woken w;
    update workflow.jobs j set scheduled_at = null, woken_at = workflow.clock() where j.id = any(v_woken);
    if coalesce(cardinality(v_woken), 0) < cardinality(v_jobs) then
        perform workflow.mend_jobs(v_jobs);
    end if;
    if v_woken is not null then
        perform workflow.wake_queue(q) from unnest(p_queues) q;
    end if;
    return coalesce(cardinality(v_woken), 0);
end
$$;
comment on function workflow.wake_due is 'Make scheduled tasks whose time has come pending';
