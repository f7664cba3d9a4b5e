-- Budgets: what a workflow and those it starts may use up in all: tokens, US dollars, finished attempts of steps (`steps`). They
-- are counted in the commit that records the attempt.
--
-- workflows.budgets has the workflows whose budgets one counts against: itself, if its definition has one, and those above it.
-- Null for all others, which so cost nothing. A soft bound that is reached is told once. A hard one means that nothing more is
-- begun: what counts against it is paused, or the workflow that has it fails or is cancelled. What runs already may end,
-- and is still counted.
--
-- Rows of budgets are locked after those of the workflows of the batch. Other workflows are locked out of order then, and so
-- not waited for: workflow.sweep_budgets does what was left.

-- Begins the budgets of workflows about to run: their own, and those of the workflow that started them.
create or replace function workflow.begin_budgets(p_workflows uuid[], p_parents uuid[]) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
begin
    insert into workflow.budgets (workflow_id, bounds, on_exceeded)
    select x.id, jsonb_strip_nulls(v.budget - 'on_exceeded'), coalesce(v.budget ->> 'on_exceeded', 'pause')
    from unnest(p_workflows) x(id)
    cross join lateral (select w.version_id from workflow.workflows w where w.id = x.id offset 0) w
    cross join lateral (select v.budget from workflow.definition_versions v where v.id = w.version_id offset 0) v
    where v.budget is not null;
    update workflow.workflows w set budgets = n.budgets
    from (select x.id, coalesce(p.budgets, '{}') || array(select b.workflow_id from workflow.budgets b where b.workflow_id = x.id) as budgets
          from unnest(p_workflows, p_parents) x(id, parent)
          left join lateral (select p.budgets from workflow.workflows p where p.id = x.parent offset 0) p on true) n
    where w.id = any(p_workflows) and w.id = n.id and n.budgets <> '{}';
end
$$;
comment on function workflow.begin_budgets is 'Internal: begin the budgets of workflows';

-- Counts what handlers have used up: {"input_tokens"?, "output_tokens"?, "cost_usd"?}. The caller holds the workflow rows.
create or replace function workflow.record_usage(p_effects workflow.effect[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform workflow.charge_budgets(array(
        select row(e.workflow_id,
                   sum(coalesce((e.data ->> 'input_tokens')::numeric, 0) + coalesce((e.data ->> 'output_tokens')::numeric, 0))::bigint,
                   sum(coalesce((e.data ->> 'cost_usd')::numeric, 0)), 0)::workflow.charge
        from unnest(p_effects) e
        where jsonb_typeof(e.data) = 'object'
        group by e.workflow_id), p_now);
end
$$;
comment on function workflow.record_usage is 'Internal: count what handlers have used up';

-- Counts the attempts that ended at p_now by these completions, and that had their say: not those that were released or lost.
create or replace function workflow.count_steps(p_completions workflow.completion[], p_workflows uuid[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
begin
    if not exists (
        select 1 from workflow.workflows w where w.id = any(p_workflows) and w.budgets is not null) then
        return;
    end if;
    perform workflow.charge_budgets(array(
        select row(h.workflow_id, 0, 0, count(*))::workflow.charge
        from unnest(p_completions) c
        cross join lateral (select t.workflow_id from workflow.tasks t where t.id = c.task_id offset 0) t
        cross join lateral (
            select h.workflow_id, h.outcome, h.lease_token, h.started_at, h.ended_at from workflow.attempt_history h
            where h.workflow_id = t.workflow_id and h.task_id = c.task_id and h.attempt = c.attempt offset 0) h
        where h.lease_token = c.lease_token and h.outcome in ('succeeded', 'failed', 'retried')
          and h.ended_at = greatest(p_now, h.started_at)  -- not one that was recorded before
        group by h.workflow_id), p_now);
end
$$;
comment on function workflow.count_steps is 'Internal: count finished attempts against budgets';

-- Adds to the budgets that workflows count against, and does what a bound asks for that is reached. The caller holds the rows of
-- these workflows.
create or replace function workflow.charge_budgets(p_charges workflow.charge[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
    v_charges   workflow.charge[];      -- by budget
    v_budget    workflow.budgets;
    v_soft      text[];
    v_hard      text[];
    v_mine      uuid[] := array(select c.workflow_id from unnest(p_charges) c);
begin
    v_charges := array(
        select row(b.id, sum(c.tokens), sum(c.cost_usd), sum(c.steps))::workflow.charge
        from unnest(p_charges) c
        cross join lateral (select w.budgets from workflow.workflows w where w.id = c.workflow_id offset 0) w
        cross join lateral unnest(w.budgets) b(id)
        group by b.id);
    if v_charges = '{}' then
        return;
    end if;
    perform 1 from workflow.budgets b
    where b.workflow_id = any(array(select c.workflow_id from unnest(v_charges) c))
    order by b.workflow_id for no key update;
    update workflow.budgets b set
        tokens = b.tokens + c.tokens, cost_usd = b.cost_usd + c.cost_usd, steps = b.steps + c.steps
    from unnest(v_charges) c
    where b.workflow_id = any(array(select x.workflow_id from unnest(v_charges) x)) and b.workflow_id = c.workflow_id;

    for v_budget in
        select * from workflow.budgets b
        where b.workflow_id = any(array(select c.workflow_id from unnest(v_charges) c)) order by b.workflow_id
    loop
        v_soft := array(
            select r.bound from workflow.reached_bounds(v_budget, 'soft') r where not r.bound = any(v_budget.told));
        v_hard := array(
            select r.bound from workflow.reached_bounds(v_budget, 'hard') r where not r.bound = any(v_budget.exceeded));
        if v_soft <> '{}' or v_hard <> '{}' then
            insert into workflow.events (workflow_id, type, at, data)
            select v_budget.workflow_id, case r.kind when 'soft' then 'workflow.budget_warning' else 'workflow.budget_exceeded' end, p_now,
                   jsonb_build_object('bound', r.bound, 'used', r.used, r.kind, r.most)
            from (select 'soft' as kind, s.* from workflow.reached_bounds(v_budget, 'soft') s where s.bound = any(v_soft)
                  union all
                  select 'hard', h.* from workflow.reached_bounds(v_budget, 'hard') h where h.bound = any(v_hard)) r;
            update workflow.budgets b set
                told = b.told || v_soft, exceeded = b.exceeded || v_hard,
                exceeded_at = case when v_hard <> '{}' then coalesce(b.exceeded_at, p_now) else b.exceeded_at end,
                unreported = b.unreported || array(select 'soft ' || x from unnest(v_soft) x)
                                          || array(select 'hard ' || x from unnest(v_hard) x),
                attention = true
            where b.workflow_id = v_budget.workflow_id
            returning * into v_budget;
        end if;
        if v_budget.exceeded <> '{}' then
            perform workflow.stop_for_budget(v_budget, v_mine, p_now);
        end if;
    end loop;
end
$$;
comment on function workflow.charge_budgets is 'Internal: add to budgets, and do what a bound asks for that is reached';

-- The bounds of a kind, `soft` or `hard`, that a budget has reached.
create or replace function workflow.reached_bounds(p_budget workflow.budgets, p_kind text)
    returns table (bound text, used numeric, most numeric)
language sql immutable parallel safe
as $$
    select b.bound, b.used, (p_budget.bounds -> b.bound ->> p_kind)::numeric
    from (values ('tokens', p_budget.tokens::numeric), ('cost_usd', p_budget.cost_usd), ('steps', p_budget.steps::numeric)) b(bound, used)
    where b.used >= (p_budget.bounds -> b.bound ->> p_kind)::numeric
$$;
comment on function workflow.reached_bounds is 'Internal: the bounds that a budget has reached';

-- Stops what counts against a budget that is used up, as far as its rows are held by the caller (p_mine) or by nobody.
-- Returns whether that is all of it. What is in its ending goes on.
create or replace function workflow.stop_for_budget(p_budget workflow.budgets, p_mine uuid[], p_now timestamptz) returns boolean
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
    v_below     uuid[];
    v_locked    workflow.workflows[];
    v_workflow  workflow.workflows;
    v_bound     record;
begin
    v_below := case p_budget.on_exceeded when 'pause' then workflow.live_below(p_budget.workflow_id) else '{}' end
        || p_budget.workflow_id;
    v_locked := array(
        select w from workflow.workflows w where w.id = any(v_below)
        for no key update skip locked);
    if p_budget.on_exceeded = 'pause' then
        foreach v_workflow in array v_locked loop
            continue when v_workflow.paused_at is not null or v_workflow.finished_at is not null or v_workflow.ending is not null;
            -- Its places in lines for locks and limits stay: the caller may not lock these lines and then others.
            update workflow.workflows w set paused_at = p_now, paused_by = null, paused_reason = null
            where w.id = v_workflow.id;
            insert into workflow.events (workflow_id, type, at) values (v_workflow.id, 'workflow.paused', p_now);
            update workflow.jobs j set scheduled_at = workflow.never()
            where j.status <> 'doing' and j.id = any(array(
                select t.job_id from workflow.tasks t where t.workflow_id = v_workflow.id and t.status = 'pending'));
            update workflow.budgets b set paused = b.paused || v_workflow.id where b.workflow_id = p_budget.workflow_id;
        end loop;
    else
        select * into v_workflow from unnest(v_locked) w where w.id = p_budget.workflow_id;
        if v_workflow.id is not null and v_workflow.finished_at is null and v_workflow.ending is null then
            select * into v_bound from workflow.reached_bounds(p_budget, 'hard') r limit 1;
            perform workflow.end_workflows(
                array[v_workflow.id], case p_budget.on_exceeded when 'fail' then 'failed' else 'cancelled' end, p_now,
                jsonb_build_object(
                    'type', 'budget', 'retryable', false, 'attempt', 0,
                    'message', format('The budget is used up: %s of %s %s.', v_bound.used, v_bound.most, v_bound.bound),
                    'details', jsonb_build_object('bound', v_bound.bound, 'used', v_bound.used, 'hard', v_bound.most)));
            if not v_workflow.id = any(p_mine) then  -- else the caller does so at its end
                perform workflow.free_resources(array[v_workflow.id], '{}', p_now);
            end if;
        end if;
    end if;
    return cardinality(v_locked) = cardinality(v_below);
end
$$;
comment on function workflow.stop_for_budget is 'Internal: stop what counts against a budget that is used up';

-- The live workflows below one, all levels.
create or replace function workflow.live_below(p_workflow_id uuid) returns uuid[]
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
    v_found uuid[] := '{}';
    v_level uuid[] := array[p_workflow_id];
begin
    loop
        v_level := array(
            select c.id from unnest(v_level) x(id)
            cross join lateral (
                select w.id, w.finished_at from workflow.workflows w where w.parent_id = x.id offset 0) c
            where c.finished_at is null);
        exit when v_level = '{}';
        v_found := v_found || v_level;
    end loop;
    return v_found;
end
$$;
comment on function workflow.live_below is 'Internal: the live workflows below one';

-- The leader's part: stops what could not be stopped when a budget was used up, and says which bounds were reached since it
-- looked last. Returns [{"workflow_id", "name", "kind": "soft"|"hard", "bound", "used", "most"}].
create or replace function workflow.sweep_budgets(p_limit integer default 100) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_budget    workflow.budgets;
    v_all       boolean;
    v_found     jsonb := '[]';
begin
    for v_budget in
        select b.* from workflow.budgets b where b.attention order by b.workflow_id limit p_limit for no key update skip locked
    loop
        v_all := v_budget.exceeded = '{}' or workflow.stop_for_budget(v_budget, '{}', workflow.clock());
        v_found := v_found || (
            select coalesce(jsonb_agg(jsonb_build_object(
                'workflow_id', v_budget.workflow_id, 'name', w.name, 'kind', u.kind, 'bound', u.bound,
                'used', r.used, 'most', r.most)), '[]')
            from (select split_part(x, ' ', 1) as kind, split_part(x, ' ', 2) as bound from unnest(v_budget.unreported) x) u
            join workflow.workflows w on w.id = v_budget.workflow_id
            left join lateral workflow.reached_bounds(v_budget, u.kind) r on r.bound = u.bound);
        update workflow.budgets b set unreported = '{}', attention = not v_all where b.workflow_id = v_budget.workflow_id;
    end loop;
    return v_found;
end
$$;
comment on function workflow.sweep_budgets is 'Stop what is over its budget, and say which bounds were reached';

-- Gives a workflow other bounds, or a budget if it has none, and lets it go on if the budget had paused it and is not used up
-- any more.
--
-- p_bounds       {"tokens" | "cost_usd" | "steps": {"soft"?, "hard"?}}: those named are replaced, {} takes one away.
-- p_on_exceeded  null = as it was.
--
-- Returns workflow.budget_usage. Errors: WF404 no such workflow.
create or replace function workflow.set_budget(p_workflow_id uuid, p_bounds jsonb, p_on_exceeded text default null) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_budget    workflow.budgets;
    v_paused    uuid;
    v_locked    uuid[];
begin
    -- Those that it may let go on, too: before the row of the budget, for which their own attempts may wait.
    v_locked := array(
        select w.id from workflow.workflows w
        where w.id = p_workflow_id
           or w.id = any(array(select unnest(b.paused) from workflow.budgets b where b.workflow_id = p_workflow_id))
        order by w.id
        for no key update);
    if not p_workflow_id = any(v_locked) then
        raise exception 'There is no workflow %.', p_workflow_id using errcode = 'WF404', detail = 'workflow-not-found';
    end if;
    insert into workflow.budgets as b (workflow_id, bounds, on_exceeded)
    values (p_workflow_id, p_bounds, coalesce(p_on_exceeded, 'pause'))
    on conflict (workflow_id) do update set
        bounds = b.bounds || p_bounds, on_exceeded = coalesce(p_on_exceeded, b.on_exceeded)
    returning * into v_budget;
    update workflow.workflows w set budgets = coalesce(w.budgets, '{}') || p_workflow_id
    where w.id = p_workflow_id and not p_workflow_id = any(coalesce(w.budgets, '{}'));
    update workflow.budgets b set
        told = array(select r.bound from workflow.reached_bounds(v_budget, 'soft') r),
        exceeded = array(select r.bound from workflow.reached_bounds(v_budget, 'hard') r),
        exceeded_at = case when exists (select 1 from workflow.reached_bounds(v_budget, 'hard'))
                           then coalesce(b.exceeded_at, workflow.clock()) end,
        -- A bound that was lowered below what is used up already: the leader stops what it stops.
        attention = b.attention or exists (select 1 from workflow.reached_bounds(v_budget, 'hard'))
    where b.workflow_id = p_workflow_id
    returning * into v_budget;
    insert into workflow.events (workflow_id, type, at, data)
    values (p_workflow_id, 'workflow.budget_changed', workflow.clock(), jsonb_build_object('bounds', v_budget.bounds));
    if v_budget.exceeded = '{}' and not v_budget.paused <@ v_locked then
        raise exception 'Its budget is pausing workflows right now.' using
            errcode = '40001', hint = 'Send the whole transaction again.';
    elsif v_budget.exceeded = '{}' and v_budget.paused <> '{}' then
        update workflow.budgets b set paused = '{}' where b.workflow_id = p_workflow_id;
        for v_paused in select p from unnest(v_budget.paused) p order by p loop
            if exists (select 1 from workflow.workflows w where w.id = v_paused and w.finished_at is null and w.paused_at is not null)
               and workflow.exceeded_budget(v_paused) is null then
                perform workflow.resume_workflow(v_paused);
            end if;
        end loop;
    end if;
    return workflow.budget_usage(p_workflow_id);
end
$$;
comment on function workflow.set_budget is 'Give a workflow other bounds, and let it go on if its budget had paused it';

-- What a workflow counts against: {"workflow_id", "tokens": {"used", "soft", "hard"}, "cost_usd", "steps", "on_exceeded",
-- "exceeded": [bounds], "exceeded_at"}: its own budget, else that of the nearest workflow above it; null without one.
create or replace function workflow.budget_usage(p_workflow_id uuid) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return (
        select jsonb_build_object(
            'workflow_id', b.workflow_id,
            'tokens', jsonb_build_object('used', b.tokens, 'soft', b.bounds -> 'tokens' -> 'soft', 'hard', b.bounds -> 'tokens' -> 'hard'),
            'cost_usd', jsonb_build_object(
                'used', b.cost_usd, 'soft', b.bounds -> 'cost_usd' -> 'soft', 'hard', b.bounds -> 'cost_usd' -> 'hard'),
            'steps', jsonb_build_object('used', b.steps, 'soft', b.bounds -> 'steps' -> 'soft', 'hard', b.bounds -> 'steps' -> 'hard'),
            'on_exceeded', b.on_exceeded, 'exceeded', b.exceeded, 'exceeded_at', b.exceeded_at)
        from workflow.workflows w
        join workflow.budgets b on b.workflow_id = w.budgets[cardinality(w.budgets)]
        where w.id = p_workflow_id);
end
$$;
comment on function workflow.budget_usage is 'What a workflow counts against, and what is used up of it';

-- The budget that keeps a workflow from going on: {"workflow_id", "bound", "used", "hard"}; null when there is none.
create or replace function workflow.exceeded_budget(p_workflow_id uuid) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return (
        select jsonb_build_object('workflow_id', b.workflow_id, 'bound', r.bound, 'used', r.used, 'hard', r.most)
        from workflow.workflows w
        join workflow.budgets b on b.workflow_id = any(w.budgets) and b.exceeded <> '{}' and b.on_exceeded = 'pause'
        cross join lateral workflow.reached_bounds(b, 'hard') r
        where w.id = p_workflow_id
        order by b.workflow_id, r.bound limit 1);
end
$$;
comment on function workflow.exceeded_budget is 'Internal: the budget that keeps a workflow from going on';
