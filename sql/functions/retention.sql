-- Retention: workflows that ended long ago are deleted with everything of theirs. How long they are kept is said by their
-- version, else by the engine's settings; by neither, they are kept for ever.
--
-- Ended workflows have no index by time, which each end would pay for. They are looked at in the order of their ids, which is that of
-- their starts, once the shortest retention has passed since; of those that stay, each partition of events remembers how many
-- they are and when the first of them is due. So what is kept is looked at again only when something of it is due, and then not
-- faster than 5,000 a second.
--
-- The workflow itself and its tasks are deleted at their time. Its events and attempts, most of the rows, stay until their partition
-- is dropped, if that is expected within the time that the workflow was kept; else they are deleted with it. Where a
-- partition is not dropped as expected, since something in it lives on, `clean_partition` deletes what was left.

-- Seconds for which a workflow with this status is kept; null = for ever.
create or replace function workflow.kept_seconds(p_retention jsonb, p_defaults jsonb, p_status text) returns double precision
language sql immutable
as $$
    select coalesce(
        p_retention ->> p_status, case when p_status = 'cancelled' then p_retention ->> 'failed' end,
        p_defaults ->> p_status, case when p_status = 'cancelled' then p_defaults ->> 'failed' end)::double precision
$$;
comment on function workflow.kept_seconds is 'Internal: how long a workflow is kept';

-- The shortest and the longest retention of any version; `shortest` is null where all is kept for ever, `longest` where something is.
create or replace function workflow.retention_range(
    p_defaults jsonb, out shortest double precision, out longest double precision)
language sql stable
as $$
    select min(k), case when bool_and(k is not null) then max(k) end
    from (
        select distinct v.retention from workflow.definition_versions v where v.retention is not null
        union all
        (select null where exists (select 1 from workflow.definition_versions v where v.retention is null))) r(retention)
    cross join unnest('{succeeded,failed,cancelled}'::text[]) s
    cross join lateral workflow.kept_seconds(r.retention, p_defaults, s) k
$$;
comment on function workflow.retention_range is 'Internal: shortest and longest retention of any version';

-- Deletes workflows whose time is over among the next p_look: at most p_limit of them, and no more once p_rows tasks went
-- with them. A child is kept as long as the workflow at its top. Waits for no lock.
--
-- p_defaults  {"succeeded"?, "failed"?, "cancelled"?}: seconds; absent = for ever. Cancelled ones are kept like failed ones
--             unless something is said of them.
--
-- Returns {"deleted": workflows, "seen": workflows looked at, "more": whether to go on at once}.
create or replace function workflow.sweep_retention(
    p_defaults jsonb, p_look integer default 1000, p_limit integer default 1000, p_rows integer default 20000) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_mergejoin = off
set enable_hashjoin = off
set enable_sort = off
set jit = off
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_range     record;
    v_slack     interval;   -- nobody minds it being so much later
    v_begun     timestamptz;
    v_top       uuid;       -- workflows up to here may be over
    v_part      workflow.history_partitions;
    v_drop_at   timestamptz;
    v_ids       uuid[];     -- those looked at, and of each:
    v_due       timestamptz[];
    v_kept      double precision[];
    v_roots     uuid[];     -- the workflow at its top, if that is there
    v_over      uuid[] := '{}';
    v_gone      uuid[] := '{}';
    v_history   uuid[];     -- whose events and attempts do not wait for the drop
    v_last      uuid;
    v_rows      integer := 0;
    v_more      boolean := true;
begin
    v_range := workflow.retention_range(p_defaults);
    if v_range.shortest is null then
        return '{"deleted": 0, "seen": 0, "more": false}';
    end if;
    v_slack := make_interval(secs => least(v_range.shortest, 604800) / 32);
    v_begun := v_now - make_interval(secs => v_range.shortest);
    select p.* into v_part
    from workflow.history_partitions p
    where p.parent = 'events' and (
        p.rules is distinct from p_defaults or p.walked is null
        or p.walked < least(p.upper, workflow.id_at(v_begun - 2 * v_slack))
        or p.again_at <= v_now and v_now > p.began_at + greatest(v_slack, p.kept * interval '0.2 milliseconds'))
    order by p.lower
    limit 1
    for update skip locked;
    if not found then
        return '{"deleted": 0, "seen": 0, "more": false}';
    end if;
    v_top := least(v_part.upper, workflow.id_at(v_begun - v_slack));
    if v_part.rules is distinct from p_defaults or v_part.walked is null
       or v_part.walked >= least(v_part.upper, workflow.id_at(v_begun - 2 * v_slack)) then  -- another round
        v_part.rules := p_defaults;
        v_part.began_at := v_now;
        v_part.walked := coalesce(
            (select p.upper from workflow.history_partitions p
             where p.parent = 'events' and p.upper <= coalesce(v_part.lower, v_part.walked) order by p.upper desc limit 1),
            workflow.id_at('-infinity'));
        v_part.kept := 0;
        v_part.again_at := v_now + interval '7 days';  -- whatever was missed, by a clock that went back or otherwise
    end if;

    select array_agg(w.id), array_agg(greatest(
               case when w.finished_at is null then v_now + make_interval(secs => v_range.shortest)
                    else coalesce(w.finished_at + make_interval(secs => w.kept), 'infinity') end,
               case when r.id is null then null
                    when r.finished_at is null then v_now + make_interval(secs => v_range.shortest)
                    else coalesce(r.finished_at + make_interval(secs => r.kept), 'infinity') end)),
           array_agg(w.kept), array_agg(r.id)
    into v_ids, v_due, v_kept, v_roots
    from (
        select w.id, w.finished_at, w.root_id, workflow.kept_seconds(v.retention, p_defaults, w.status) as kept
        from (
            select w.id, w.version_id, w.status, w.finished_at, w.root_id from workflow.workflows w
            where w.id > v_part.walked and w.id < v_top order by w.id limit p_look) w
        cross join lateral (select v.retention from workflow.definition_versions v where v.id = w.version_id offset 0) v
        offset 0) w
    left join lateral (
        select r.id, r.finished_at, workflow.kept_seconds(v.retention, p_defaults, r.status) as kept
        from workflow.workflows r
        cross join lateral (select v.retention from workflow.definition_versions v where v.id = r.version_id offset 0) v
        where r.id = w.root_id offset 0) r on true;
    if coalesce(cardinality(v_ids), 0) < p_look then
        v_last := v_top;
        v_more := v_top is not distinct from v_part.upper;
    else
        v_last := v_ids[p_look];
    end if;

    for i in 1 .. coalesce(cardinality(v_ids), 0) loop
        continue when v_due[i] > v_now or v_roots[i] is not null;
        v_over := v_over || v_ids[i];
        v_rows := v_rows + (select count(*) from workflow.tasks t where t.workflow_id = v_ids[i]);
        if cardinality(v_over) >= p_limit or v_rows >= p_rows then
            v_last := v_ids[i];
            v_more := true;
            exit;
        end if;
    end loop;
    if v_over <> '{}' then
        -- Not one that was retried since, and ended again.
        v_gone := array(
            select w.id from workflow.workflows w where w.id = any(v_over) and w.finished_at <= v_now for update skip locked);
        v_gone := v_gone || array(
            select w.id from workflow.workflows w
            where w.id = any(array(
                      select x.id from unnest(v_ids, v_due, v_roots) x(id, due, root)
                      where x.root = any(v_gone) and x.due <= v_now and x.id <= v_last limit p_limit))
              and w.finished_at <= v_now
            for update skip locked);
        v_drop_at := workflow.time_of(v_part.upper) + make_interval(secs => v_range.longest) + 4 * v_slack;
        v_history := array(
            select x.id from unnest(v_ids, v_kept) x(id, kept)
            where x.id = any(v_gone)
              and (v_now <= v_drop_at and v_drop_at - v_now <= make_interval(secs => x.kept)) is not true);
        perform workflow.delete_workflows(v_gone, v_history);
        if cardinality(v_history) < cardinality(v_gone) then
            update workflow.history_partitions p set left_over = true, cleaned = 0
            where p.lower < v_part.upper and p.upper > v_part.lower and not (p.left_over and p.cleaned = 0);
        end if;
    end if;

    update workflow.history_partitions p set
        rules = v_part.rules, began_at = v_part.began_at, walked = v_last,
        kept = v_part.kept + s.stay, again_at = least(v_part.again_at, s.due)
    from (
        select count(*) as stay, min(x.due) as due from unnest(v_ids, v_due) x(id, due)
        where x.id <= v_last and not x.id = any(v_gone)) s
    where p.name = v_part.name;
    return jsonb_build_object('deleted', cardinality(v_gone), 'seen', coalesce(cardinality(v_ids), 0), 'more', v_more);
end
$$;
comment on function workflow.sweep_retention is 'Delete workflows that ended long ago';

-- As engines of the version before call it.
create or replace function workflow.sweep_ended(
    p_after uuid, p_defaults jsonb, p_look integer default 2000, p_limit integer default 200, p_rows integer default 20000) returns jsonb
language sql volatile
as $$
    select jsonb_build_object('deleted', workflow.sweep_retention(p_defaults, p_look, p_limit, p_rows) -> 'deleted', 'last', null)
$$;
comment on function workflow.sweep_ended is 'Internal: sweep_retention, for engines of the version before';

-- Deletes rows of events or attempts that were left to a drop which did not come, in the next p_blocks blocks of a partition.
-- Returns how many, or null when there is no such partition.
create or replace function workflow.clean_partition(p_defaults jsonb, p_blocks integer default 500) returns integer
language plpgsql volatile security definer  -- a partition is not written to by its name otherwise
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_part      workflow.history_partitions;
    v_blocks    bigint;
    v_rows      integer;
    v_range     record := workflow.retention_range(p_defaults);
begin
    select p.* into v_part
    from workflow.history_partitions p
    where p.left_over and p.upper is not null
      and (v_range.longest is null or workflow.clock() > workflow.time_of(p.upper) + make_interval(
           secs => v_range.longest + least(v_range.shortest, 604800) / 8))
      and workflow.has_workflows(p.lower, p.upper)
    order by p.lower
    limit 1
    for update skip locked;
    if not found then
        return null;
    end if;
    execute format(
        'delete from workflow.%I x where x.ctid >= $1 and x.ctid < $2'
        ' and (select count(*) from workflow.workflows w where w.id = x.workflow_id) = 0', v_part.name)
    using format('(%s,0)', v_part.cleaned)::tid, format('(%s,0)', v_part.cleaned + p_blocks)::tid;
    get diagnostics v_rows = row_count;
    v_blocks := pg_relation_size(format('workflow.%I', v_part.name)) / current_setting('block_size')::integer;
    update workflow.history_partitions p set
        cleaned = v_part.cleaned + p_blocks, left_over = v_part.cleaned + p_blocks < v_blocks
    where p.name = v_part.name;
    return v_rows;
end
$$;
comment on function workflow.clean_partition is 'Delete what was left to the drop of a partition that stays';

-- Deletes workflows that have ended, whose rows the caller has locked, with everything of their own; their events and attempts only of
-- those in p_history.
create or replace function workflow.delete_workflows(p_workflows uuid[], p_history uuid[]) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_tasks bigint[] := array(
        select t.id from workflow.tasks t where t.workflow_id = any(p_workflows)
        union all select r.id from workflow.replaced_tasks r where r.workflow_id = any(p_workflows));
begin
    if p_history <> '{}' then
        perform workflow.delete_history(p_history);
    end if;
    delete from workflow.task_logs x where x.task_id = any(v_tasks);
    delete from workflow.deadlines x where x.task_id = any(v_tasks);
    delete from workflow.parents_to_wake x where x.task_id = any(v_tasks);
    delete from workflow.children_to_cancel x where x.workflow_id = any(p_workflows);
    delete from workflow.records x where x.workflow_id = any(p_workflows);
    delete from workflow.scopes x where x.workflow_id = any(p_workflows);
    delete from workflow.groups x where x.workflow_id = any(p_workflows);
    delete from workflow.signals x where x.workflow_id = any(p_workflows);
    delete from workflow.signal_waits x where x.workflow_id = any(p_workflows);
    delete from workflow.approvals x where x.workflow_id = any(p_workflows);
    delete from workflow.outbox x where x.workflow_id = any(p_workflows);
    delete from workflow.endings x where x.workflow_id = any(p_workflows);
    delete from workflow.compensations x where x.workflow_id = any(p_workflows);
    delete from workflow.holds x where x.workflow_id = any(p_workflows);
    delete from workflow.waits x where x.workflow_id = any(p_workflows);
    delete from workflow.places x where x.workflow_id = any(p_workflows);
    delete from workflow.start_keys x where x.workflow_id = any(p_workflows);
    delete from workflow.budgets x where x.workflow_id = any(p_workflows);
    delete from workflow.replaced_tasks x where x.workflow_id = any(p_workflows);
    delete from workflow.tasks x where x.id = any(v_tasks);
    delete from workflow.workflows x where x.id = any(p_workflows);
end
$$;
comment on function workflow.delete_workflows is 'Internal: delete workflows that have ended, with everything of their own';

-- Deletes events and attempts of workflows. They are close to each other by id, so the bounds keep other partitions out.
create or replace function workflow.delete_history(p_workflows uuid[]) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_first uuid := (select x from unnest(p_workflows) x order by x limit 1);
    v_last  uuid := (select x from unnest(p_workflows) x order by x desc limit 1);
    v_tasks bigint[] := array(
        select t.id from workflow.tasks t where t.workflow_id = any(p_workflows)
        union all select r.id from workflow.replaced_tasks r where r.workflow_id = any(p_workflows));
begin
    delete from workflow.events x where x.workflow_id = any(p_workflows) and x.workflow_id between v_first and v_last;
    delete from workflow.attempt_history x where x.task_id = any(v_tasks) and x.workflow_id between v_first and v_last;
end
$$;
comment on function workflow.delete_history is 'Internal: delete the events and attempts of workflows';
