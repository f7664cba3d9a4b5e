-- Finding what to claim. The index of ready jobs is read from its start, which is all there is to it while what was claimed
-- before can be cleaned up: entries of the past are removed as scans meet them.
--
-- It is not while somebody holds a transaction open that is older: each claim would read all that was claimed since, and
-- after ten minutes of load these are a million entries. Nor are 100,000 jobs removed which are of types that this worker
-- does not serve. So a claim counts what it reads, and one that read far more than it found begins to keep floors:
-- per queue and priority the lowest id at which there may be a job for it. Claims then read from there.
--
-- Nothing depends on the floors but time. They are a note of the session (the setting workflow.floors, forgotten with its
-- transaction if that rolls back), and every few seconds a claim looks at everything and sets them anew, or finds that
-- they are needed no more. That often it finds as well what only this can find: a job below its floor, which is one whose
-- transaction took its id more than a second before it committed, or one that another claim let go.
--
-- Everything else is found at once, in the order of priority and age: jobs get their ids as they become ready, those that
-- become ready later have an index of their own (workflow.jobs.woken_at), and a priority without a floor is read
-- from its start.

-- Locks up to p_want ready jobs of these queues whose task has one of these names, in the order in which they are to be
-- claimed, and returns their ids. Passes over what others have locked. For workflow.claim, whose settings it runs under.
create or replace function workflow.ready_jobs(p_queues text[], p_names text[], p_want integer) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_floors    text := current_setting('workflow.floors', true);
    v_jobs      bigint[] := '{}';
    v_queue     text;
    v_read      bigint;
    v_now       double precision;
begin
    if v_floors <> '' then
        return workflow.ready_jobs_above(v_floors::jsonb, p_queues, p_names, p_want);
    end if;
    v_read := pg_stat_get_xact_tuples_returned('workflow.jobs_ready'::regclass);
    foreach v_queue in array p_queues loop
        exit when cardinality(v_jobs) >= p_want;
        -- Ids alone, by the index alone; updating in the same statement makes the planner sort the whole backlog.
        v_jobs := v_jobs || array(
            select j.id from workflow.jobs j
            where j.status = 'todo' and j.scheduled_at is null and j.queue_name = v_queue and j.task_name = any(p_names)
            order by j.priority desc, j.id
            limit p_want - cardinality(v_jobs)
            for update skip locked);
    end loop;
    if pg_stat_get_xact_tuples_returned('workflow.jobs_ready'::regclass) - v_read > 2000 + 2 * cardinality(v_jobs) then
        v_now := extract(epoch from workflow.clock());
        perform set_config('workflow.floors', jsonb_build_object(
            'names', p_names, 'queues', '{}'::jsonb, 'top', 0, 'at', v_now,
            'next_top', pg_sequence_last_value('procrastinate_jobs_id_seq'),
            'until', v_now + 1, 'woken', 0)::text, false);
    end if;
    return v_jobs;
end
$$;
comment on function workflow.ready_jobs is 'Internal: lock the jobs to claim next';

-- The same with floors: {"names": of which tasks, "queues": {queue: [[priority, floor], ...]}, "top": the highest id that there
-- was at least a second ago, "next_top": and the one at "at", "until": when to look at everything again, "woken": from when on
-- to look for woken jobs}. Times are in seconds since 1970.
create or replace function workflow.ready_jobs_above(p_floors jsonb, p_queues text[], p_names text[], p_want integer)
    returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now       double precision := extract(epoch from workflow.clock());
    v_top       bigint;                 -- no floor is above it: whose id is lower will have committed by now
    v_queue     text;
    v_lanes     jsonb;
    v_priority  bigint;
    v_floor     bigint;
    v_high      bigint;                 -- priorities above it were looked at
    v_ids       bigint[];
    v_woken     bigint[];
    v_other     bigint[];               -- found at priorities without a floor
    v_jobs      bigint[] := '{}';
begin
    if (p_floors ->> 'at')::double precision not between v_now - 1 and v_now then
        p_floors := p_floors || jsonb_build_object(
            'at', v_now, 'top', p_floors -> 'next_top', 'next_top', pg_sequence_last_value('procrastinate_jobs_id_seq'));
    end if;
    if p_floors -> 'names' <> to_jsonb(p_names) then
        p_floors := null;  -- of another worker, which shares the connection
    elsif (p_floors ->> 'until')::double precision not between v_now and v_now + 10 then
        p_floors := workflow.set_floors(p_floors, p_queues, p_names, v_now);
    end if;
    if p_floors is null then
        perform set_config('workflow.floors', '', false);
        return workflow.ready_jobs(p_queues, p_names, p_want);
    end if;
    v_top := (p_floors ->> 'top')::bigint;

    foreach v_queue in array p_queues loop
        exit when cardinality(v_jobs) >= p_want;
        v_lanes := '[]';
        v_other := '{}';
        v_high := 2147483647;
        v_woken := array(
            select j.id from workflow.jobs j
            where j.status = 'todo' and j.scheduled_at is null and j.woken_at is not null and j.queue_name = v_queue
              and j.woken_at >= to_timestamp((p_floors ->> 'woken')::double precision) and j.task_name = any(p_names)
            order by j.woken_at
            limit 1000);
        for v_priority, v_floor in
            select (l.lane ->> 0)::bigint, (l.lane ->> 1)::bigint
            from jsonb_array_elements(p_floors -> 'queues' -> v_queue) with ordinality l(lane, ord) order by l.ord
        loop
            if cardinality(v_jobs) < p_want and v_high > v_priority then
                v_ids := workflow.ready_jobs_between(v_queue, p_names, v_high, v_priority + 1, p_want - cardinality(v_jobs));
                v_other := v_other || v_ids;
                v_jobs := v_jobs || v_ids;
            end if;
            if cardinality(v_jobs) < p_want and v_woken <> '{}' then
                v_jobs := v_jobs || array(
                    select j.id from workflow.jobs j
                    where j.id = any(v_woken) and j.status = 'todo' and j.scheduled_at is null
                      and j.priority = v_priority and j.id < v_floor
                    order by j.id
                    limit p_want - cardinality(v_jobs)
                    for update skip locked);
            end if;
            if cardinality(v_jobs) < p_want then
                v_ids := array(
                    select j.id from workflow.jobs j
                    where j.status = 'todo' and j.scheduled_at is null and j.queue_name = v_queue
                      and j.priority = v_priority and j.id >= v_floor and j.task_name = any(p_names)
                    order by j.priority desc, j.id
                    limit p_want - cardinality(v_jobs)
                    for update skip locked);
                v_jobs := v_jobs || v_ids;
                v_floor := greatest(v_floor, least(v_ids[1], v_top));
            end if;
            v_high := v_priority - 1;
            v_lanes := v_lanes || jsonb_build_array(jsonb_build_array(v_priority, v_floor));
        end loop;
        if cardinality(v_jobs) < p_want then
            v_ids := workflow.ready_jobs_between(v_queue, p_names, v_high, null, p_want - cardinality(v_jobs));
            v_other := v_other || v_ids;
            v_jobs := v_jobs || v_ids;
        end if;
        if v_other <> '{}' and jsonb_array_length(v_lanes) < 20 then
            v_lanes := (
                select jsonb_agg(jsonb_build_array(l.priority, l.floor) order by l.priority desc)
                from (select j.priority, least(min(j.id), v_top) as floor from workflow.jobs j
                      where j.id = any(v_other) group by j.priority
                      union all
                      select (l ->> 0)::bigint, (l ->> 1)::bigint from jsonb_array_elements(v_lanes) l) l);
        end if;
        p_floors := jsonb_set(p_floors, array['queues', v_queue], v_lanes);
    end loop;
    perform set_config('workflow.floors', p_floors::text, false);
    return v_jobs;
end
$$;
comment on function workflow.ready_jobs_above is 'Internal: lock the jobs to claim next, reading from floors on';

-- The same for the priorities from p_high down to p_low of one queue, all of it.
create or replace function workflow.ready_jobs_between(
    p_queue text, p_names text[], p_high bigint, p_low bigint, p_want integer) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    return array(
        select j.id from workflow.jobs j
        where j.status = 'todo' and j.scheduled_at is null and j.queue_name = p_queue
          and j.priority <= p_high and j.priority >= coalesce(p_low, -2147483648) and j.task_name = any(p_names)
        order by j.priority desc, j.id
        limit p_want
        for update skip locked);
end
$$;
comment on function workflow.ready_jobs_between is 'Internal: lock jobs of some priorities';

-- Looks at everything that is ready in these queues and sets floors; null if there is no need for any: what is in the way of
-- a claim is not much. The time until the next such look follows from what this one read, so that these looks take a
-- hundredth of the time, but are never more than five seconds apart.
create or replace function workflow.set_floors(
    p_floors jsonb, p_queues text[], p_names text[], p_now double precision) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_read  bigint := pg_stat_get_xact_tuples_returned('workflow.jobs_ready'::regclass);
    v_mine  bigint := 0;
    v_found bigint;
    v_queue text;
    v_lanes jsonb;
begin
    foreach v_queue in array p_queues loop
        -- Priorities at which there is nothing keep their place, as does the usual one: what was claimed there is in the way.
        select coalesce(jsonb_agg(jsonb_build_array(l.priority, least(l.first, (p_floors ->> 'top')::bigint))
                                  order by l.priority desc), '[]'), coalesce(sum(l.mine), 0)
        into v_lanes, v_found
        from (
            select r.priority, min(r.first) as first, sum(r.mine) as mine
            from (
                select j.priority, min(j.id) filter (where j.mine) as first, count(*) filter (where j.mine) as mine
                from (select j.priority, j.id, j.task_name = any(p_names) as mine from workflow.jobs j
                      where j.status = 'todo' and j.scheduled_at is null and j.queue_name = v_queue
                      order by j.priority desc, j.id offset 0) j
                group by j.priority
                union all
                select (l ->> 0)::bigint, null, 0 from jsonb_array_elements(p_floors -> 'queues' -> v_queue) l
                union all
                select 0, null, 0) r
            group by r.priority
            order by r.priority desc
            limit 20) l;
        v_mine := v_mine + v_found;
        p_floors := jsonb_set(p_floors, array['queues', v_queue], v_lanes);
    end loop;
    v_read := pg_stat_get_xact_tuples_returned('workflow.jobs_ready'::regclass) - v_read;
    if v_read - v_mine <= 2000 then
        return null;
    end if;
    return p_floors || jsonb_build_object(
        'until', p_now + least(greatest(v_read * 0.00005, 1), 5), 'woken', p_now - 2);
end
$$;
comment on function workflow.set_floors is 'Internal: from which ids on claims look for jobs';
