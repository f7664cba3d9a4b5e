-- Looks at some workflows for what must hold and does not (see views/invariants.sql): p_limit live ones after p_after by id, fewer if
-- they have many tasks; a fifth as many from somewhere in the last hour, which may have ended; and p_also. It reads what these are
-- and no more, so a leader may go round the live ones all day.
--
-- Returns {"violations": [{"invariant", "instant", "workflow_id", "task_id", "found"}], "workflows": live ones, "last": id}: call again
-- with p_after = last until that is null.
create or replace function workflow.sample_invariants(
    p_after uuid default null, p_limit integer default 50, p_also uuid[] default '{}') returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
-- With the ids at hand, and by index whatever the tables were when it was first called.
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_live      uuid[];
    v_recent    uuid[];
    v_sample    uuid[];
    v_found     jsonb;
    v_since     uuid := workflow.id_at(workflow.clock() - random() * interval '1 hour');  -- once, so that an index can find it
begin
    v_live := array(
        select w.id from workflow.workflows w
        where w.finished_at is null and w.id > coalesce(p_after, '00000000-0000-0000-0000-000000000000')
        order by w.id limit p_limit);
    -- All that together have no more tasks than one may have, and one in any case.
    v_sample := array(
        select s.id
        from (
            select n.id, n.ord, sum(c.tasks) over (order by n.ord) as tasks
            from unnest(v_live) with ordinality n(id, ord)
            cross join lateral (select count(*) as tasks from workflow.tasks t where t.workflow_id = n.id offset 0) c) s
        where s.ord = 1 or s.tasks <= 10000
        order by s.ord);
    v_recent := array(
        select w.id from workflow.workflows w
        where w.id > v_since
        order by w.id limit p_limit / 5);
    select coalesce(jsonb_agg(v order by v.invariant), '[]') into v_found
    from (
        select v.* from workflow.invariant_violations v
        where v.workflow_id = any(v_sample || v_recent || p_also)
          -- No index finds the attempts of a workflow whose task is not known: that would read the whole partition.
          and v.invariant <> 'attempts belong to tasks'
        limit 100) v;
    return jsonb_build_object(
        'violations', v_found, 'workflows', cardinality(v_sample),
        'last', case when cardinality(v_sample) < cardinality(v_live) or cardinality(v_live) = p_limit
                     then v_sample[cardinality(v_sample)] end);
end
$$;
comment on function workflow.sample_invariants is 'Look at some workflows for invariants that are broken; returns them and where to go on';
