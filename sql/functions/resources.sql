-- Locks and limits. A step may name some; a claim takes all of them for its attempt, or none and lets the task wait.
--
-- A taken unit is a row of workflow.holds, deleted in the commit that ends the attempt (scope task) or the workflow (scope
-- workflow), whatever ended it; so nothing can leak. A step obeys the capacity that it declares itself. A lock with scope
-- workflow lets every task of its workflow pass.
--
-- A task that waits has a row of workflow.waits for each of its locks and limits, and its job is parked. Whoever frees units
-- wakes who fits, in order: the highest priority, then who has been pending longest. The woken compete for their claim
-- like all others; until they are claimed (at most some seconds) they count as holders, so that nobody is woken in vain. One
-- that is claimed by then finds too little free only if another was quicker, and waits again, at its old place.
--
-- Who gives or frees units of a resource holds its row in workflow.resources. So a waiter that came in the meantime is seen,
-- and two claims cannot both take the last unit.

-- Takes what some pending tasks need, for the attempts that are about to begin; the caller has locked the tasks and their
-- jobs (p_jobs, in the order of the claim). A task gets all that it needs or waits.
--
-- Waits for no lock: what another transaction holds (a workflow, a resource) is left for later.
--
-- Returns those of the tasks that may be claimed, now and in this transaction; their workflows are then locked.
create or replace function workflow.take_resources(
    p_tasks bigint[], p_jobs bigint[], p_paused boolean, p_now timestamptz) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_needs     workflow.need[];
    v_workflows uuid[];
    v_locked    text[];                 -- resources whose row is ours, as 'kind key'
    v_used      jsonb;                  -- units in use, by 'kind key'
    v_own       text[];                 -- locks held by a whole workflow, as 'key workflow'
    v_task      record;
    v_need      workflow.need;
    v_take      workflow.need[];
    v_fits      boolean;
    v_name      text;
    v_granted   bigint[] := '{}';
    v_waiting   bigint[] := '{}';
    v_holds     workflow.need[] := '{}';
    v_waits     workflow.need[] := '{}';
    v_passed_on text[];
    v_begun     jsonb := '{}';          -- units of limits taken here, by key
begin
    v_needs := array(
        select row(t.id, t.job_id, t.workflow_id, t.attempt + 1, t.priority, t.pending_since, r.kind, r.key, r.scope,
                   r.capacity, r.units, (r.rate ->> 'units')::integer, (r.rate ->> 'seconds')::double precision)::workflow.need
        from workflow.tasks t
        cross join lateral (
            select s.resources from workflow.definition_steps s
            where s.version_id = t.version_id and s.step_index = t.step_index and s.resources <> '[]' offset 0) s
        cross join lateral jsonb_to_recordset(s.resources) as r(
            kind text, key text, scope text, capacity integer, units integer, rate jsonb)
        where t.id = any(p_tasks) and not workflow.is_catching(t.awaits));
    if v_needs = '{}' then
        return p_tasks;
    end if;

    -- A cancel, a pause or another claim of the same workflow is under way, or it may not go on: left for later.
    v_workflows := array(
        select w.id from workflow.workflows w
        where w.id = any(array(select n.workflow_id from unnest(v_needs) n))
          and w.paused_at is null and w.queued_at is null and (w.status = 'running' or w.status = 'pending' and not p_paused)
        for no key update skip locked);
    v_locked := array(
        select r.kind || ' ' || r.key from workflow.resources r
        where (r.kind, r.key) in (
            select distinct n.kind, n.key from unnest(v_needs) n where n.workflow_id = any(v_workflows))
        order by r.kind, r.key
        for update skip locked);

    -- Looked at only now: what was freed or taken before is seen, and nothing changes until we commit.
    v_used := (
        select coalesce(jsonb_object_agg(u.name, u.units), '{}')
        from (select h.kind || ' ' || h.key as name, sum(h.units) as units from workflow.holds h
              where (h.kind, h.key) in (select distinct n.kind, n.key from unnest(v_needs) n)
              group by 1) u);
    v_own := array(
        select h.key || ' ' || h.workflow_id from workflow.holds h
        where h.kind = 'lock' and h.scope = 'workflow' and h.workflow_id = any(v_workflows));

    for v_task in
        select n.task_id, n.workflow_id, array_agg(n order by n.kind, n.key) as needs
        from unnest(v_needs) n
        where n.workflow_id = any(v_workflows)
        group by 1, 2, n.job_id
        order by array_position(p_jobs, n.job_id)
    loop
        v_take := '{}';
        v_fits := true;
        foreach v_need in array v_task.needs loop
            v_name := v_need.kind || ' ' || v_need.key;
            v_fits := case when v_name = any(v_locked) then v_fits end;
            exit when v_fits is null;
            continue when v_need.kind = 'lock' and v_need.key || ' ' || v_need.workflow_id = any(v_own);
            v_take := v_take || v_need;
            v_fits := v_fits and coalesce((v_used ->> v_name)::integer, 0) + v_need.units <= v_need.capacity;
            if v_fits and v_need.rate_seconds is not null then
                v_fits := workflow.units_spent(v_need.key, v_need.rate_seconds, p_now)
                        + coalesce((v_begun ->> v_need.key)::integer, 0) + v_need.units <= v_need.rate_units
                    and (p_paused or not workflow.overtakes(v_need));
            end if;
        end loop;
        if v_fits then
            v_granted := v_granted || v_task.task_id;
            v_holds := v_holds || v_take;
            foreach v_need in array v_take loop
                v_name := v_need.kind || ' ' || v_need.key;
                v_used := v_used || jsonb_build_object(
                    v_name, coalesce((v_used ->> v_name)::integer, 0) + v_need.units);
                if v_need.kind = 'limit' then
                    v_begun := v_begun || jsonb_build_object(
                        v_need.key, coalesce((v_begun ->> v_need.key)::integer, 0) + v_need.units);
                end if;
                if v_need.scope = 'workflow' then
                    v_own := v_own || (v_need.key || ' ' || v_need.workflow_id);
                end if;
            end loop;
        elsif not v_fits then
            v_waiting := v_waiting || v_task.task_id;
            v_waits := v_waits || v_take;
        end if;
    end loop;

    -- Who was woken and must wait again passes on what it was woken for.
    with gone as (
        delete from workflow.waits x where x.task_id = any(v_granted || v_waiting)
        returning x.task_id, x.kind, x.key, x.woken_at
    )
    select array_agg(distinct g.kind || ' ' || g.key) into v_passed_on
    from gone g where g.woken_at is not null and g.task_id = any(v_waiting);

    insert into workflow.holds (kind, key, task_id, attempt, workflow_id, scope, units, acquired_at)
    select n.kind, n.key, n.task_id, n.attempt, n.workflow_id, n.scope, n.units, p_now from unnest(v_holds) n;
    if v_begun <> '{}' then
        perform workflow.spend_units(v_holds, p_now);
    end if;
    insert into workflow.waits
        (kind, key, task_id, workflow_id, scope, capacity, units, priority, since, rate_units, rate_seconds)
    select n.kind, n.key, n.task_id, n.workflow_id, n.scope, n.capacity, n.units, n.priority, n.since, n.rate_units, n.rate_seconds
    from unnest(v_waits) n;
    perform workflow.note_units_due(n.key, p_now)
    from (select distinct n.key from unnest(v_waits) n where n.rate_seconds is not null) n;
    update workflow.jobs j set scheduled_at = workflow.never()
    where j.id = any(array(select n.job_id from unnest(v_waits) n));  -- the caller locked them as todo

    -- Tasks that waited for a lock which their own workflow has now may pass.
    perform workflow.wake_own(array(
        select n.key || ' ' || n.workflow_id from unnest(v_holds) n where n.scope = 'workflow'));
    perform workflow.wake_waiters(array(select p from unnest(v_passed_on) p where p = any(v_locked)), p_now);

    return array(
        select t from unnest(p_tasks) t
        where t = any(v_granted) or not exists (select 1 from unnest(v_needs) n where n.task_id = t));
end
$$;
comment on function workflow.take_resources is 'Internal: take the locks and limits of tasks that are about to be claimed';

-- Unparks tasks that wait for a lock which their own workflow holds as a whole; p_locks has 'key workflow'. What else they
-- need is seen to at their claim. Waits for no lock: whom somebody else wakes right now is left to that.
create or replace function workflow.wake_own(p_locks text[]) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
    v_tasks     bigint[];
    v_jobs      bigint[];
    v_queues    text[];
begin
    v_tasks := array(
        select x.task_id
        from (select distinct substring(p from '[^ ]+$')::uuid as workflow_id from unnest(p_locks) p) w
        cross join lateral (
            select x.task_id, x.kind, x.key from workflow.waits x where x.workflow_id = w.workflow_id offset 0) x
        where x.kind = 'lock' and x.key || ' ' || w.workflow_id = any(p_locks));
    if v_tasks = '{}' then
        return 0;
    end if;
    v_jobs := array(
        select j.id from workflow.jobs j
        where j.id = any(array(
            select t.job_id from workflow.tasks t where t.id = any(v_tasks) and t.status = 'pending'))
        for update skip locked);
    with woken as (
        update workflow.jobs j set scheduled_at = null, woken_at = workflow.clock() where j.id = any(v_jobs) returning j.queue_name
    )
    select array_agg(distinct w.queue_name) into v_queues from woken w;
    -- Their places are ours with their jobs (see wake_waiters).
    delete from workflow.waits x where x.task_id = any(array(
        select (j.args ->> 'task_id')::bigint from workflow.jobs j where j.id = any(v_jobs)));
    perform workflow.wake_queue(q) from unnest(v_queues) q;
    return cardinality(v_jobs);
end
$$;
comment on function workflow.wake_own is 'Internal: unpark tasks that wait for a lock of their own workflow';

-- Frees what nothing justifies any more: holds of these tasks whose attempts have ended, and of these workflows, when they
-- have ended, all holds, places in line and places at concurrency keys; then wakes who waits for it. The last step of every transaction that ends
-- attempts, once; the caller holds the workflow rows. Of a workflow that goes on thousands may hold and wait: they are not
-- looked at.
create or replace function workflow.free_resources(p_workflows uuid[], p_tasks bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
    v_ended uuid[];
    v_freed text[];
begin
    if exists (select 1 from workflow.concurrency_keys) then
        v_ended := array(
            select w.id from workflow.workflows w where w.id = any(p_workflows) and w.finished_at is not null);
        if v_ended <> '{}' then
            perform workflow.leave_places(v_ended, p_now);
        end if;
    end if;
    if not exists (select 1 from workflow.resources) then
        return;  -- no definition names any
    end if;
    -- What began its ending just now has lost its running tasks as well; what it holds as a whole it keeps to its end.
    v_ended := array(
        select w.id from workflow.workflows w
        where w.id = any(p_workflows) and (w.finished_at is not null or w.ending is not null));
    with ended as (
        delete from workflow.holds h
        where h.ctid = any(array(
            select h.ctid from workflow.holds h where h.task_id = any(p_tasks)
            union all
            select h.ctid from workflow.holds h where h.workflow_id = any(v_ended))) and case h.scope
            when 'task' then (
                select count(*) from workflow.tasks t
                where t.id = h.task_id and t.status = 'running' and t.attempt = h.attempt) = 0
            else (
                select count(*) from workflow.workflows w where w.id = h.workflow_id and w.finished_at is null) = 0 end
        returning h.kind, h.key
    ), left_line as (
        -- A task leaves its line by a claim, which sees to that, or with its workflow.
        delete from workflow.waits x
        where x.workflow_id = any(v_ended) and (
            select count(*) from workflow.tasks t where t.id = x.task_id and t.status = 'pending') = 0
        returning x.kind, x.key
    )
    select array_agg(distinct f.kind || ' ' || f.key) into v_freed
    from (select e.kind, e.key from ended e union all select l.kind, l.key from left_line l) f;
    if v_freed is not null then
        perform workflow.lock_resources(v_freed);
        perform workflow.wake_waiters(v_freed, p_now);
    end if;
end
$$;
comment on function workflow.free_resources is 'Internal: free what ended attempts and workflows held, and wake who waits for it';

-- Locks the rows of some resources, named as 'kind key', in order; waits for them.
create or replace function workflow.lock_resources(p_names text[]) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
begin
    perform 1 from workflow.resources r
    where (r.kind, r.key) in (select n.kind, n.key from workflow.resource_names(p_names) n)
    order by r.kind, r.key
    for update;
end
$$;
comment on function workflow.lock_resources is 'Internal: lock the rows of some resources, in order';

-- 'kind key' taken apart.
create or replace function workflow.resource_names(p_names text[]) returns table (kind text, key text)
language sql immutable parallel safe
as $$
    select distinct split_part(n, ' ', 1), substring(n from position(' ' in n) + 1) from unnest(p_names) n
$$;
comment on function workflow.resource_names is 'Internal: kind and key of resources named in one text';

-- Wakes those who wait for some resources (named as 'kind key'; the caller holds their rows), in order, as far as it fits.
-- One that lacks another resource as well is passed over, and woken when that one is free. Looks at the first p_look of each
-- line, and goes on only while all of them fit; sweep_waiters looks deeper. Who belongs to what a paused engine does not
-- start is in nobody's way.
create or replace function workflow.wake_waiters(p_names text[], p_now timestamptz, p_look integer default 20) returns integer
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
    v_paused    boolean;
    v_name      record;
    v_wait      record;
    v_need      workflow.waits;
    v_used      jsonb := '{}';          -- units in use, by 'kind key'
    v_fits      boolean;
    v_job       record;
    v_places    integer;
    v_queues    text[] := '{}';
    v_woken     integer;                -- of those looked at
    v_count     integer := 0;
begin
    for v_name in select n.kind, n.key, n.kind || ' ' || n.key as name from workflow.resource_names(p_names) n loop
        v_paused := coalesce(v_paused, workflow.is_paused());
        loop
            v_woken := 0;
            for v_wait in
                select x.task_id, x.workflow_id, x.capacity, x.units, x.rate_units, x.rate_seconds, n.needs
                from (select x.* from workflow.waits x
                      where x.kind = v_name.kind and x.key = v_name.key and x.woken_at is null and (not v_paused or (
                          select w.status from workflow.workflows w where w.id = x.workflow_id) <> 'pending')
                      order by x.priority desc, x.since, x.task_id
                      limit p_look) x
                cross join lateral (
                    select array_agg(y) as needs from workflow.waits y where y.task_id = x.task_id offset 0) n
            loop
                foreach v_need in array v_wait.needs loop
                    if not v_used ? (v_need.kind || ' ' || v_need.key) then
                        v_used := v_used || jsonb_build_object(
                            v_need.kind || ' ' || v_need.key, workflow.used_units(v_need.kind, v_need.key, p_now));
                    end if;
                end loop;
                exit when (v_used ->> v_name.name)::integer + v_wait.units > v_wait.capacity
                    or v_wait.rate_units < workflow.units_spent(v_name.key, v_wait.rate_seconds, p_now)
                                           + workflow.units_woken('limit', v_name.key, p_now) + v_wait.units;
                select bool_and(
                    (v_used ->> (n.kind || ' ' || n.key))::integer + n.units <= n.capacity
                    and (n.rate_units is null or n.rate_units >= workflow.units_spent(n.key, n.rate_seconds, p_now)
                         + workflow.units_woken('limit', n.key, p_now) + n.units)) into v_fits
                from unnest(v_wait.needs) n;
                continue when not v_fits or not exists (
                    select 1 from workflow.workflows w where w.id = v_wait.workflow_id and w.paused_at is null);
                -- First the job: who claims the task, or ends it, has that, and is not waited for.
                select j.id, j.queue_name, j.scheduled_at into v_job
                from workflow.jobs j
                where j.id = (select t.job_id from workflow.tasks t where t.id = v_wait.task_id)
                for update skip locked;
                continue when not found or v_job.scheduled_at is distinct from workflow.never();
                v_places := cardinality(array(
                    select x.key from workflow.waits x where x.task_id = v_wait.task_id for update skip locked));
                continue when v_places < cardinality(v_wait.needs);
                update workflow.jobs j set scheduled_at = null, woken_at = workflow.clock() where j.id = v_job.id;
                update workflow.waits x set woken_at = p_now where x.task_id = v_wait.task_id;
                foreach v_need in array v_wait.needs loop
                    v_used := v_used || jsonb_build_object(
                        v_need.kind || ' ' || v_need.key,
                        (v_used ->> (v_need.kind || ' ' || v_need.key))::integer + v_need.units);
                end loop;
                v_queues := v_queues || v_job.queue_name::text;
                v_woken := v_woken + 1;
            end loop;
            v_count := v_count + v_woken;
            exit when v_woken < p_look;
        end loop;
        if v_name.kind = 'limit' then
            perform workflow.note_units_due(v_name.key, p_now);
        end if;
    end loop;
    perform workflow.wake_queue(q) from (select distinct q from unnest(v_queues) q) q;
    return v_count;
end
$$;
comment on function workflow.wake_waiters is 'Internal: wake who waits for resources that have units free';

-- How many units of a resource are in use, or kept for a task that was woken within the last seconds and is about to be
-- claimed. If it is not, since no worker is there for it, others need not wait for that.
create or replace function workflow.used_units(p_kind text, p_key text, p_now timestamptz) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return coalesce((select sum(h.units) from workflow.holds h where h.kind = p_kind and h.key = p_key), 0)
         + workflow.units_woken(p_kind, p_key, p_now);
end
$$;
comment on function workflow.used_units is 'Internal: units of a resource that are in use';

-- How many units of a resource are kept for tasks that were woken within the last seconds.
create or replace function workflow.units_woken(p_kind text, p_key text, p_now timestamptz) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
begin
    return coalesce((
        select sum(w.units)
        from (select x.units from workflow.waits x
              where x.kind = p_kind and x.key = p_key and x.woken_at > p_now - interval '5 seconds'
              order by x.woken_at offset 0) w), 0);
end
$$;
comment on function workflow.units_woken is 'Internal: units of a resource that are kept for tasks that were woken';

-- Looks after the lines for up to p_limit resources, from after p_after on: wakes who fits. Finds what slipped through when a
-- row was locked, and those behind a task that was woken but that no worker claims. Waits for no lock.
--
-- Returns {"woken": count, "last": resource to go on after, or null at the end}.
create or replace function workflow.sweep_waiters(p_after text default null, p_limit integer default 100) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set enable_sort = off
set enable_mergejoin = off
as $$
declare
    v_now   timestamptz := workflow.clock();
    v_names text[];
    v_last  text;
    v_mine  text[];
    v_own   text[];
begin
    v_names := array(
        select r.kind || ' ' || r.key
        from workflow.resources r
        where p_after is null or (r.kind, r.key) > (
            split_part(p_after, ' ', 1), substring(p_after from position(' ' in p_after) + 1))
        order by r.kind, r.key
        limit p_limit);
    v_last := case when cardinality(v_names) = p_limit then v_names[p_limit] end;
    v_names := array(
        select n.kind || ' ' || n.key from workflow.resource_names(v_names) n
        cross join lateral (
            select 1 from workflow.waits x
            where x.kind = n.kind and x.key = n.key and x.woken_at is null
            order by x.priority desc, x.since, x.task_id limit 1) x);
    v_mine := array(
        select r.kind || ' ' || r.key from workflow.resources r
        where (r.kind, r.key) in (select n.kind, n.key from workflow.resource_names(v_names) n)
        order by r.kind, r.key
        for update skip locked);
    -- Normally whoever takes a lock for a whole workflow wakes those of its own; not if what had their jobs then was undone.
    v_own := array(
        select h.key || ' ' || h.workflow_id
        from workflow.resource_names(v_mine) n
        cross join lateral (
            select h.key, h.workflow_id, h.scope from workflow.holds h
            where h.kind = n.kind and h.key = n.key and h.kind = 'lock' order by h.kind, h.key, h.task_id limit 1) h
        where h.scope = 'workflow' and exists (
            select 1 from workflow.waits x
            where x.workflow_id = h.workflow_id and x.kind = n.kind and x.key = n.key and x.woken_at is null offset 0));
    return jsonb_build_object(
        'woken', workflow.wake_own(v_own) + workflow.wake_waiters(v_mine, v_now, 200),
        'last', v_last);
end
$$;
comment on function workflow.sweep_waiters is 'Wake those who wait for a lock or limit that is free';
