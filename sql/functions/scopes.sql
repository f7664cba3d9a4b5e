-- Scopes: lists of steps inside steps. Items of a for_each, iterations of a loop, blocks and catches are the same thing: an
-- instance of a list of steps under a waiting task, its parent. When the last task of it that nothing waits for has ended, so has the
-- scope; when all scopes of the parent have, the parent is resumed and its worker says what follows.
--
-- An item that ends costs one counter on its scope and one on its parent's group, however many items there are.

-- Opens the scopes that tasks wait for and starts the first of them. The caller holds the workflow rows.
create or replace function workflow.await_scope(p_tasks workflow.waiting_task[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_left  bigint[];
    v_first bigint[];
begin
    -- A block whose time is over may have a catch with steps: what it waited for before is given up.
    v_left := array(
        select c.base
        from unnest(p_tasks) w
        cross join lateral (select g.round from workflow.groups g where g.task_id = w.task_id and g.open > 0 offset 0) g
        cross join lateral (
            select c.base from workflow.scopes c
            where c.parent_task_id = w.task_id and c.round = g.round and c.finished_at is null offset 0) c);
    if v_left <> '{}' then
        perform workflow.close_scopes(v_left, p_now);
    end if;

    insert into workflow.groups as g (task_id, workflow_id, round, total, started, open, width, tolerated, awaits)
    select w.task_id, w.workflow_id, w.attempt, n.total, n.first, n.first, n.width,
           coalesce((w.awaits ->> 'tolerated')::integer, 0), w.awaits - 'instances'
    from unnest(p_tasks) w
    cross join lateral (select jsonb_array_length(w.awaits -> 'instances') as total) l
    cross join lateral (select l.total, least(l.total, coalesce((w.awaits ->> 'width')::integer, l.total)) as first,
                               coalesce((w.awaits ->> 'width')::integer, l.total) as width) n
    on conflict (task_id) do update set
        round = excluded.round, total = excluded.total, started = excluded.started, open = excluded.open, failed = 0,
        width = excluded.width, tolerated = excluded.tolerated, error = null, awaits = excluded.awaits;

    -- Materialized, so that each instance draws its own base; without `awaits`, which holds all of them.
    with instance as materialized (
        select w.task_id, w.workflow_id, w.version_id, w.step_index, w.attempt, (w.awaits ->> 'scope')::integer as scope, i.value,
               nextval('workflow.task_base') as base
        from unnest(p_tasks) w
        cross join lateral jsonb_array_elements(w.awaits -> 'instances') with ordinality as i(value, ord)
    ), opened as (
        insert into workflow.scopes
            (base, workflow_id, version_id, scope, parent_task_id, round, position, bases, path, variables, open_tasks)
        select w.base, w.workflow_id, w.version_id, d.scope, w.task_id, w.attempt, (w.value ->> 'position')::integer,
               coalesce(p.bases, array[w.task_id - w.step_index]) || w.base,
               coalesce(p.path || case when s.body then '' else '.' || s.id end, s.id)
                   || case d.kind when 'block' then '' when 'catch' then '.catch'
                                  else '[' || (w.value ->> 'position') || ']' end,
               coalesce(p.variables, '{}') || coalesce(w.value -> 'variables', '{}'),
               d.final_steps
        from instance w
        cross join lateral (
            select s.id, s.body, s.scope from workflow.definition_steps s
            where s.version_id = w.version_id and s.step_index = w.step_index offset 0) s
        cross join lateral (
            select d.scope, d.kind, d.final_steps from workflow.definition_scopes d
            where d.version_id = w.version_id and d.scope = w.scope offset 0) d
        left join lateral (
            select p.bases, p.path, p.variables from workflow.scopes p
            where s.scope > 0 and p.base = w.task_id - w.step_index offset 0) p on true
        returning base, parent_task_id, position
    )
    select array_agg(o.base order by o.parent_task_id, o.position) into v_first
    from (select o.*, row_number() over (partition by o.parent_task_id order by o.position) as ord from opened o) o
    join unnest(p_tasks) w on w.task_id = o.parent_task_id
    where o.ord <= coalesce((w.awaits ->> 'width')::integer, o.ord);
    perform workflow.start_scopes(v_first, p_now);
end
$$;
comment on function workflow.await_scope is 'Internal: open the scopes that tasks wait for';

-- Gives scopes their tasks: those without dependencies become pending, or scheduled if the parent asks for a delay.
create or replace function workflow.start_scopes(p_bases bigint[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_roots workflow.ready_task[];
    v_jobs  bigint[];
begin
    v_roots := array(
        select row(c.base + s.step_index, s.queue, s.type, s.priority + w.priority,
                   p_now + make_interval(secs => nullif((p.awaits ->> 'delay')::double precision, 0)))::workflow.ready_task
        from unnest(p_bases) with ordinality as b(base, ord)
        cross join lateral (
            select c.base, c.workflow_id, c.version_id, c.scope, c.parent_task_id from workflow.scopes c
            where c.base = b.base offset 0) c
        cross join lateral (select w.priority from workflow.workflows w where w.id = c.workflow_id offset 0) w
        cross join lateral (select p.awaits from workflow.tasks p where p.id = c.parent_task_id offset 0) p
        cross join lateral (
            select s.step_index, s.queue, s.type, s.priority from workflow.definition_steps s
            where s.version_id = c.version_id and s.scope = c.scope and s.kind = 'step'
              and workflow.runs_at_once(s.rule, s.dependencies, s.ordering) offset 0) s
        order by b.ord, s.step_index);
    v_jobs := workflow.enqueue(v_roots);

    insert into workflow.tasks
        (id, workflow_id, version_id, step_index, status, priority, open_dependencies, job_id, pending_since, scheduled_at)
    select c.base + s.step_index, c.workflow_id, c.version_id, s.step_index,
           case when r.job_id is null then 'blocked' when r.scheduled_at is null then 'pending' else 'scheduled' end,
           s.priority + w.priority, cardinality(s.dependencies), r.job_id,
           case when r.job_id is not null then coalesce(r.scheduled_at, p_now) end, r.scheduled_at
    from unnest(p_bases) b
    cross join lateral (
        select c.base, c.workflow_id, c.version_id, c.scope from workflow.scopes c where c.base = b offset 0) c
    cross join lateral (select w.priority from workflow.workflows w where w.id = c.workflow_id offset 0) w
    cross join lateral (
        select s.step_index, s.priority, s.dependencies from workflow.definition_steps s
        where s.version_id = c.version_id and s.scope = c.scope and s.kind = 'step' offset 0) s
    left join unnest(v_roots, v_jobs) as r(task_id, queue, type, priority, scheduled_at, job_id)
        on r.task_id = c.base + s.step_index;

    update workflow.scopes c set status = 'running', started_at = p_now where c.base = any(p_bases);
    if exists (
        select 1 from workflow.definition_versions v
        where v.id = any(array(select c.version_id from workflow.scopes c where c.base = any(p_bases)))
          and v.has_deadlines) then
        perform workflow.set_deadlines(array(select r.task_id from unnest(v_roots) r), p_now, true);
    end if;
end
$$;
comment on function workflow.start_scopes is 'Internal: give scopes their tasks';

-- Counts down scopes in which tasks have ended (see workflow.advance); those that so end count down their parents' groups,
-- which start the next of theirs, or have the parent resumed. The caller holds the workflow rows.
--
-- With fail_fast the first failure of a scope cancels the rest of it, and the first one too many of a group its other scopes.
-- Returns the tasks that were cancelled.
create or replace function workflow.end_scopes(p_facts workflow.scope_fact[], p_now timestamptz) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_bases     bigint[] := array(select f.base from unnest(p_facts) f);
    v_ended     bigint[];
    v_failing   bigint[];
    v_parents   bigint[];
    v_next      bigint[];
    v_again     bigint[];
    v_over      bigint[];
    v_done      bigint[];
    v_cancelled bigint[] := '{}';
begin
    with noted as (
        update workflow.scopes c set
            open_tasks = c.open_tasks - f.final_steps,
            -- With the path of the innermost task that failed: which item it was is all that tells it from the others.
            error = coalesce(c.error, case when f.error is not null then jsonb_build_object(
                'path', c.path || case when (
                    select d.kind from workflow.definition_scopes d
                    where d.version_id = c.version_id and d.scope = c.scope) in ('item', 'iteration')
                    then '' else '.' || (f.error ->> 'step') end) || f.error end),
            status = case when c.open_tasks > f.final_steps then c.status
                          when coalesce(c.error, f.error) is null then 'succeeded' else 'failed' end,
            finished_at = case when c.open_tasks <= f.final_steps then p_now end
        from unnest(p_facts) f
        where c.base = any(v_bases) and c.base = f.base and c.finished_at is null
        returning c.base, c.workflow_id, c.finished_at, f.at_once
    )
    select coalesce(array_agg(n.base) filter (where n.finished_at is not null), '{}'),
           array_agg(n.base) filter (where n.finished_at is null and n.at_once and w.fail_fast)
    into v_ended, v_failing
    from noted n
    cross join lateral (select w.fail_fast from workflow.workflows w where w.id = n.workflow_id offset 0) w;
    if v_failing is not null then
        v_cancelled := workflow.close_scopes(v_failing, p_now);
        update workflow.scopes c set status = 'failed' where c.base = any(v_failing);
        v_ended := v_ended || v_failing;
    end if;
    v_parents := array(select c.parent_task_id from workflow.scopes c where c.base = any(v_ended));
    if v_parents = '{}' then
        return v_cancelled;
    end if;

    with ended as materialized (
        select c.parent_task_id, c.round, count(*)::integer as ended,
               count(*) filter (where c.status <> 'succeeded')::integer as failed,
               (array_agg(c.error order by c.position) filter (where c.status <> 'succeeded'))[1] as error
        from unnest(v_ended) b
        cross join lateral (
            select c.parent_task_id, c.round, c.position, c.status, c.error from workflow.scopes c
            where c.base = b offset 0) c
        group by 1, 2
    ), counted as (
        update workflow.groups g set
            open = g.open - e.ended + n.more,
            started = g.started + n.more,
            failed = g.failed + e.failed,
            error = coalesce(g.error, e.error)
        from ended e
        cross join lateral (
            select f.over, case when f.over then 0
                                else greatest(least(g0.total - g0.started, g0.width - (g0.open - e.ended)), 0) end as more
            from workflow.groups g0
            cross join lateral (select w.fail_fast from workflow.workflows w where w.id = g0.workflow_id offset 0) w
            -- A failure of now: one that was there before must not end what an operator has started again.
            cross join lateral (
                select e.failed > 0 and g0.failed + e.failed > g0.tolerated and w.fail_fast as over) f
            where g0.task_id = e.parent_task_id offset 0) n
        where g.task_id = any(v_parents) and g.task_id = e.parent_task_id and g.round = e.round
        returning g.*, n.more, n.over
    ), next as (
        select s.* from counted d
        cross join lateral (
            select s.base, s.parent_task_id, s.position, s.started_at is not null as again from workflow.scopes s
            where s.parent_task_id = d.task_id and s.round = d.round and s.status = 'blocked'
            order by s.position limit d.more) s
        where d.more > 0
    )
    select array_agg(c.task_id) filter (where c.over and c.open > 0),
           array_agg(c.task_id) filter (where c.open = 0 or c.over),
           (select array_agg(n.base order by n.parent_task_id, n.position) from next n where not n.again),
           (select array_agg(n.base order by n.parent_task_id, n.position) from next n where n.again)
    into v_over, v_done, v_next, v_again
    from counted c;

    if v_over is not null then
        v_cancelled := v_cancelled || workflow.close_scopes(array(
            select c.base from workflow.scopes c
            cross join lateral (select g.round from workflow.groups g where g.task_id = c.parent_task_id offset 0) g
            where c.parent_task_id = any(v_over) and c.round = g.round and c.finished_at is null), p_now);
        update workflow.groups g set open = 0 where g.task_id = any(v_over);
        -- Some that were to start were inside of what was closed just now.
        v_next := workflow.still_blocked(v_next);
        v_again := workflow.still_blocked(v_again);
    end if;
    if v_next is not null then
        perform workflow.start_scopes(v_next, p_now);
    end if;
    if v_again is not null then
        perform workflow.restart_scopes(v_again, null, p_now);
    end if;
    if v_done is not null then
        perform workflow.resume_waiting(v_done, p_now);
    end if;
    return v_cancelled;
end
$$;
comment on function workflow.end_scopes is 'Internal: count down scopes in which tasks have ended';

-- Of scopes those that wait for their turn, in the same order; null if there are none.
create or replace function workflow.still_blocked(p_bases bigint[]) returns bigint[]
language sql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
    select array_agg(b.base order by b.ord)
    from unnest(p_bases) with ordinality as b(base, ord)
    cross join lateral (select c.status from workflow.scopes c where c.base = b.base offset 0) c
    where c.status = 'blocked'
$$;
comment on function workflow.still_blocked is 'Internal: those of these scopes that wait for their turn';

-- Ends scopes and all scopes inside them: tasks that have not ended are cancelled. The caller holds the workflow rows.
-- Returns those tasks: what they held is for workflow.free_resources.
create or replace function workflow.close_scopes(p_bases bigint[], p_now timestamptz) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_open  bigint[];
    v_level bigint[];
    v_tasks bigint[];
begin
    v_open := array(select c.base from workflow.scopes c where c.base = any(p_bases) and c.finished_at is null);
    v_level := v_open;
    loop  -- down by the ids of their tasks, as the workflow may have ten thousand other scopes
        v_level := array(
            select distinct c.base
            from unnest(v_level) b
            cross join lateral (
                select c.base from workflow.scopes c
                where c.parent_task_id between b and b + 65535 and c.finished_at is null offset 0) c);
        exit when v_level = '{}';
        v_open := v_open || v_level;
    end loop;
    v_tasks := array(
        select t.id from workflow.tasks t
        where t.id = any(array(
                  select c.base + s.step_index
                  from unnest(v_open) o
                  cross join lateral (
                      select c.base, c.version_id, c.scope from workflow.scopes c where c.base = o offset 0) c
                  cross join lateral (
                      select s.step_index from workflow.definition_steps s
                      where s.version_id = c.version_id and s.scope = c.scope offset 0) s))
          and t.finished_at is null
        for no key update);
    update workflow.scopes c set status = 'cancelled', finished_at = p_now where c.base = any(v_open);
    if v_tasks <> '{}' then
        perform workflow.cancel_tasks(v_tasks, p_now);
        delete from workflow.waits x where x.ctid = any(array(
            select x.ctid from workflow.waits x where x.task_id = any(v_tasks) for update skip locked));
    end if;
    return v_tasks;
end
$$;
comment on function workflow.close_scopes is 'Internal: end scopes and all scopes inside them';

-- Ends the scopes that tasks still wait for. They are tried again, or have ended: in both cases these scopes stay as history.
-- Returns the tasks that were cancelled.
create or replace function workflow.stop_awaiting_scope(p_tasks bigint[], p_now timestamptz) returns bigint[]
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_open      bigint[];
    v_cancelled bigint[] := '{}';
begin
    v_open := array(
        select c.base from workflow.scopes c
        cross join lateral (select g.round from workflow.groups g where g.task_id = c.parent_task_id offset 0) g
        where c.parent_task_id = any(p_tasks) and c.round = g.round and c.finished_at is null);
    if v_open <> '{}' then
        v_cancelled := workflow.close_scopes(v_open, p_now);
    end if;
    -- Of a task that starts over, nothing of before is shown any more.
    perform workflow.replace_scopes(array(
        select t.id from workflow.tasks t where t.id = any(p_tasks) and t.status = 'scheduled'));
    return v_cancelled;
end
$$;
comment on function workflow.stop_awaiting_scope is 'Internal: end the scopes that tasks still wait for';

-- Marks the scopes of tasks that start over, and all scopes inside them: they are history. The caller holds the workflow rows.
create or replace function workflow.replace_scopes(p_parents bigint[]) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
declare
    v_level bigint[] := array(
        select c.base from workflow.scopes c where c.parent_task_id = any(p_parents) and not c.replaced);
begin
    while v_level <> '{}' loop
        update workflow.scopes c set replaced = true where c.base = any(v_level);
        v_level := array(
            select c.base
            from unnest(v_level) b
            cross join lateral (
                select c.base from workflow.scopes c
                where c.parent_task_id between b and b + 65535 and not c.replaced offset 0) c);
    end loop;
end
$$;
comment on function workflow.replace_scopes is 'Internal: mark the scopes of tasks that start over as history';

-- What came of the scopes of a task: {"ended", "status", "position" (of the last), "error"?, "outputs"? (by position, null for
-- one that failed), "steps"? (results that the parent's own expressions read)}. A scope's output is that of its body, or an object of
-- the outputs of its last steps by id.
create or replace function workflow.scope_resumption(p_task workflow.tasks) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_group     workflow.groups;
    v_kind      workflow.definition_scopes;
    v_outputs   jsonb;
    v_position  integer;
    v_bases     bigint[];
    v_body      integer;    -- position of the one step of an item or iteration
begin
    select * into v_group from workflow.groups g where g.task_id = p_task.id;
    if v_group.open > 0 then
        return jsonb_build_object('ended', false);
    end if;
    select d.* into v_kind from workflow.definition_scopes d
    where d.version_id = p_task.version_id and d.scope = (p_task.awaits ->> 'scope')::integer;
    select s.step_index into v_body from workflow.definition_steps s
    where s.version_id = p_task.version_id and s.scope = v_kind.scope and s.kind = 'step' and s.body;
    select jsonb_agg(o.output order by c.position), max(c.position), max(c.bases)
    into v_outputs, v_position, v_bases
    from workflow.scopes c
    cross join lateral (
        select case when c.status <> 'succeeded' then null
                    when v_body is null then workflow.scope_output(c)
                    else (select t.output from workflow.tasks t where t.id = c.base + v_body) end as output offset 0) o
    where c.parent_task_id = p_task.id and c.round = v_group.round;
    return jsonb_build_object(
        'ended', true, 'position', v_position,
        'status', case when v_group.failed > v_group.tolerated then 'failed' else 'succeeded' end)
        || case when v_group.failed > v_group.tolerated then jsonb_build_object('error', v_group.error)
                else jsonb_build_object('outputs', v_outputs) end
        || case when v_kind.refs <> '{}' then jsonb_build_object('steps', coalesce(
                    workflow.scoped_results(v_bases, p_task.version_id, v_kind.refs), '{}'))
                else '{}' end;
end
$$;
comment on function workflow.scope_resumption is 'Internal: what came of the scopes of a task';

create or replace function workflow.scope_output(p_scope workflow.scopes) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return (
        select case when bool_or(s.body) then (array_agg(t.output))[1]
                    else jsonb_object_agg(s.id, t.output) filter (where t.status = 'succeeded') end
        from workflow.definition_steps s
        cross join lateral (
            select t.status, t.output from workflow.tasks t where t.id = p_scope.base + s.step_index offset 0) t
        where s.version_id = p_scope.version_id and s.scope = p_scope.scope and s.kind = 'step' and s.successors = '{}');
end
$$;
comment on function workflow.scope_output is 'Internal: the output of a scope that succeeded';

-- What a claim says of a task inside a scope: {"path", "variables", "steps"}.
create or replace function workflow.scope_of_claim(p_task_id bigint, p_step_index integer) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'path', c.path || case when s.body then '' else '.' || s.id end,
            'variables', c.variables,
            'steps', case when s.refs <> '{}' then workflow.scoped_results(c.bases, c.version_id, s.refs) end)
        from workflow.scopes c
        join workflow.definition_steps s on s.version_id = c.version_id and s.step_index = p_step_index
        where c.base = p_task_id - p_step_index);
end
$$;
comment on function workflow.scope_of_claim is 'Internal: what a claim says of a task inside a scope';

-- Results of steps of a scope and of the scopes around it, as workflow.step_results.
create or replace function workflow.scoped_results(p_bases bigint[], p_version_id integer, p_refs integer[]) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
as $$
begin
    return (
        select jsonb_object_agg(r.key, r.value order by d.depth)  -- an id of an inner scope hides that of an outer one
        from (select s.depth, array_agg(s.step_index) as refs
              from unnest(p_refs) x
              join workflow.definition_steps s on s.version_id = p_version_id and s.step_index = x
              group by 1) d
        cross join lateral jsonb_each(workflow.step_results(p_bases[d.depth + 1], p_version_id, d.refs)) r);
end
$$;
comment on function workflow.scoped_results is 'Internal: results of steps of a scope and of those around it';
