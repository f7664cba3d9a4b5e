-- Looks at some workflows for what must hold and does not (see views/invariants.sql): the live ones and those of the last hour,
-- p_limit of them after p_after by id, fewer if they have many tasks. It reads what these workflows are and no more, so a leader may go
-- round them all day.
--
-- Returns {"violations": [{"invariant", "instant", "workflow_id", "task_id", "found"}], "workflows": n, "last": id}: call again with
-- p_after = last until that is null.
create or replace function workflow.sample_invariants(p_after uuid default null, p_limit integer default 50) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
-- With the ids at hand, and by index whatever the tables were when it was first called.
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_after     uuid := coalesce(p_after, '00000000-0000-0000-0000-000000000000');
    v_recent    uuid := workflow.id_at(workflow.clock() - interval '1 hour');
    v_next      uuid[];
    v_sample    uuid[];
    v_found     jsonb;
begin
    v_next := array(
        select x.id
        from (
            (select w.id from workflow.workflows w
             where w.finished_at is null and w.id > v_after order by w.id limit p_limit)
            union
            (select w.id from workflow.workflows w
             where w.id > greatest(v_after, v_recent) order by w.id limit p_limit)) x
        order by x.id limit p_limit);
    -- All that together have no more tasks than one may have, and one in any case.
    v_sample := array(
        select s.id
        from (
            select n.id, n.ord, sum(c.tasks) over (order by n.ord) as tasks
            from unnest(v_next) with ordinality n(id, ord)
            cross join lateral (select count(*) as tasks from workflow.tasks t where t.workflow_id = n.id offset 0) c) s
        where s.ord = 1 or s.tasks <= 10000
        order by s.ord);
    select coalesce(jsonb_agg(v order by v.invariant), '[]') into v_found
    from (
        select v.* from workflow.invariant_violations v where v.workflow_id = any(v_sample) limit 100) v;
    return jsonb_build_object(
        'violations', v_found, 'workflows', cardinality(v_sample),
        'last', case when cardinality(v_sample) < cardinality(v_next) or cardinality(v_next) = p_limit
                     then v_sample[cardinality(v_sample)] end);
end
$$;
comment on function workflow.sample_invariants is 'Look at some workflows for invariants that are broken; returns them and where to go on';
