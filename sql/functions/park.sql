-- Parking. A pending task that nobody may claim for now has a job that is due at workflow.never(): claims read an index
-- without it, so a million held tasks cost them nothing. The reason is always to be seen elsewhere: the engine is paused
-- and the workflow has not started, the workflow is paused or in line for a concurrency key, or the task waits for a lock or
-- limit (workflow.waits).
--
-- Jobs are asked for by their ids alone, as the predicate of a partial index beside them would invite a walk through it.
--
-- Parked too little is harmless: claims look for the reasons again. Parked too much would be for ever, so whoever ends
-- a reason unparks, and sweep_held finds what slipped through.

-- Parks those of some jobs, which the caller has locked, whose workflow is paused or in line for a concurrency key or, in a
-- paused engine, has not started.
--
-- The rows that say so are looked at under a share lock, so that a resume waits for this transaction and then sees what it
-- parked. Waits for no lock: where a resume is under way nothing is parked.
create or replace function workflow.park_paused(p_jobs bigint[]) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = on  -- thousands are matched with thousands
set enable_nestloop = off
set jit = off
as $$
declare
    v_paused    boolean;
    v_tasks     bigint[];
    v_workflows uuid[];
    v_count     integer;
begin
    perform 1 from workflow.engine e where e.only_row and e.paused_at is not null for share skip locked;
    v_paused := found and workflow.is_paused();
    v_tasks := array(select (j.args ->> 'task_id')::bigint from workflow.jobs j where j.id = any(p_jobs));
    v_workflows := array(
        select w.id from workflow.workflows w
        where w.id = any(array(select t.workflow_id from workflow.tasks t where t.id = any(v_tasks)))
          and (w.paused_at is not null or w.queued_at is not null or v_paused and w.status = 'pending')
        for share skip locked);
    update workflow.jobs j set scheduled_at = workflow.never()
    where j.id = any(array(
        select t.job_id
        from (select x.job_id, x.workflow_id from workflow.tasks x
              where x.id = any(v_tasks) and x.status = 'pending' offset 0) t
        join unnest(v_workflows) w on w = t.workflow_id
        join unnest(p_jobs) mine on mine = t.job_id));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function workflow.park_paused is 'Internal: park those of some locked jobs that a pause holds back';

-- While the engine is paused: parks what workers would meet next, looking at the first p_limit pending jobs of each
-- queue, so that they need not do it one claim at a time. Returns how many it parked; there may be more until 0.
create or replace function workflow.park_unstarted(p_limit integer default 10000) returns integer
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
    v_queue text;
    v_jobs  bigint[];
    v_count integer := 0;
begin
    loop
        -- The whole order of the index, here and below: else another one may be walked.
        select j.queue_name into v_queue
        from workflow.jobs j
        where j.status = 'todo' and j.scheduled_at is null and j.queue_name > coalesce(v_queue, '')
        order by j.queue_name, j.priority desc, j.id limit 1;
        exit when not found;
        v_jobs := array(
            select j.id
            from (select j.id, (j.args ->> 'task_id')::bigint as task_id from workflow.jobs j
                  where j.status = 'todo' and j.scheduled_at is null and j.queue_name between v_queue and v_queue
                  order by j.queue_name, j.priority desc, j.id limit p_limit) j
            cross join lateral (
                select t.workflow_id from workflow.tasks t
                where t.id = j.task_id and t.job_id = j.id and t.status = 'pending' offset 0) t
            cross join lateral (
                select w.id from workflow.workflows w
                where w.id = t.workflow_id and (w.status = 'pending' or w.paused_at is not null) offset 0) w);
        v_count := v_count + workflow.park_paused(array(
            select j.id from workflow.jobs j
            where j.id = any(v_jobs)
            for update skip locked));
    end loop;
    return v_count;
end
$$;
comment on function workflow.park_unstarted is 'Internal: park what a paused engine does not start, what is next in each queue first';

-- Goes through the parked jobs by id, p_limit from after p_after on, unparks those that nothing holds back any more, and
-- wakes workers. Waits for no lock. Returns {"unparked": count, "last": id to go on after, or null at the end}.
create or replace function workflow.unpark(p_after bigint default null, p_limit integer default 10000) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_paused    boolean := workflow.is_paused();
    v_seen      bigint[];
    v_free      bigint[];
    v_queues    text[];
    v_count     integer;
begin
    v_seen := array(
        select j.id from workflow.jobs j
        where j.status = 'todo' and j.scheduled_at = workflow.never() and j.id > coalesce(p_after, 0)
        order by j.id limit p_limit);
    if v_seen = '{}' then
        return '{"unparked": 0, "last": null}';
    end if;
    v_free := array(
        select j.id from workflow.jobs j
        cross join lateral (
            select t.id, t.workflow_id from workflow.tasks t
            where t.id = (j.args ->> 'task_id')::bigint and t.job_id = j.id and t.status = 'pending' offset 0) t
        cross join lateral (
            select w.id from workflow.workflows w
            where w.id = t.workflow_id and w.paused_at is null and w.queued_at is null
              and not (v_paused and w.status = 'pending') offset 0) w
        where j.id = any(v_seen) and not exists (
            select 1 from workflow.waits x where x.task_id = t.id and x.woken_at is null offset 0));
    with free as (
        update workflow.jobs j set scheduled_at = null, woken_at = workflow.clock()
        where j.id = any(array(
            select j.id from workflow.jobs j
            where j.id = any(v_free)
            for update skip locked))
        returning j.queue_name
    )
    select count(*), array_agg(distinct f.queue_name) into v_count, v_queues from free f;
    perform workflow.wake_queue(q) from unnest(v_queues) q;
    return jsonb_build_object(
        'unparked', v_count, 'last', case when cardinality(v_seen) = p_limit then v_seen[p_limit] end);
end
$$;
comment on function workflow.unpark is 'Internal: unpark what nothing holds back any more';

-- The leader's part in holding back: ends a pause whose time is over, parks more of what a paused engine does not start, and
-- unparks what nothing holds back any more. Bounded.
--
-- Returns {"resumed": 0 or 1, "parked", "unparked", "last"}: call again with p_after = last.
create or replace function workflow.sweep_held(p_after bigint default null, p_limit integer default 10000) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_resumed   integer;
    v_parked    integer := 0;
begin
    update workflow.engine e set paused_at = null, paused_until = null, paused_by = null, paused_reason = null
    where e.paused_until <= v_now;
    get diagnostics v_resumed = row_count;
    if workflow.is_paused() then
        v_parked := workflow.park_unstarted(p_limit);
    end if;
    return workflow.unpark(p_after, p_limit) || jsonb_build_object('resumed', v_resumed, 'parked', v_parked);
end
$$;
comment on function workflow.sweep_held is 'End a pause whose time is over, park and unpark what is due to it';
