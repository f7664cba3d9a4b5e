-- Stores a version of a definition unless its content is already one; returns the version's number.
--
-- p_steps  JSON list, one object per step in order: id, type, queue, priority, dependencies, ordering, successors, refs,
--          uses_input, tolerated, and as far as they are not as by default: resources, scope, depth, kind, body, rule,
--          conditions, asked, catches, compensation, timeouts (see workflow.definition_steps).
-- p_plan   The plan for workers. Of it are read: scopes? (a list of scope, parent_step, kind, depth, refs: see
--          workflow.definition_scopes) and has_ending?.
-- Concurrent callers of one name are serialised by its definitions row. Registering also enables a disabled name,
-- and brings its schedule into force.
create or replace function workflow.register_definition(
    p_name text, p_document jsonb, p_hash text, p_plan jsonb, p_steps jsonb) returns integer
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_version integer;
    v_version_id integer;
begin
    insert into workflow.definitions (name) values (p_name) on conflict (name) do nothing;
    perform 1 from workflow.definitions d where d.name = p_name for update;
    update workflow.definitions d set disabled_at = null where d.name = p_name and d.disabled_at is not null;

    select v.version into v_version from workflow.definition_versions v where v.name = p_name and v.hash = p_hash;
    if found then
        perform workflow.sync_schedules(p_name);
        return v_version;
    end if;

    update workflow.definitions d
    set latest_version = d.latest_version + 1, updated_at = workflow.clock()
    where d.name = p_name
    returning d.latest_version into v_version;

    insert into workflow.definition_versions (name, version, hash, document, plan, has_ending, final_steps)
    values (p_name, v_version, p_hash, p_document, p_plan, coalesce((p_plan ->> 'has_ending')::boolean, false), 0)
    returning id into v_version_id;

    insert into workflow.definition_steps
        (version_id, step_index, id, type, queue, priority, dependencies, ordering, successors, refs, uses_input, tolerated,
         resources, scope, depth, kind, body, rule, conditions, asked, catches, compensation, timeouts)
    select v_version_id, ord - 1, s.id, s.type, s.queue, s.priority, s.dependencies, s.ordering, s.successors, s.refs,
           s.uses_input, s.tolerated, coalesce(s.resources, '[]'), coalesce(s.scope, 0), coalesce(s.depth, 0),
           coalesce(s.kind, 'step'), coalesce(s.body, false), nullif(s.rule, 'null'), nullif(s.conditions, 'null'),
           coalesce(s.asked, false), coalesce(s.catches, false), s.compensation, nullif(s.timeouts, 'null')
    from rows from (jsonb_to_recordset(p_steps) as (
        id text, type text, queue text, priority integer, dependencies integer[], ordering integer[],
        successors integer[], refs integer[], uses_input boolean, tolerated boolean, resources jsonb, scope integer,
        depth integer, kind text, body boolean, rule jsonb, conditions jsonb, asked boolean, catches boolean,
        compensation integer, timeouts jsonb)) with ordinality
        as s(id, type, queue, priority, dependencies, ordering, successors, refs, uses_input, tolerated, resources, scope,
             depth, kind, body, rule, conditions, asked, catches, compensation, timeouts, ord);
    perform workflow.note_followers(v_version_id);

    insert into workflow.definition_scopes (version_id, scope, parent_step, kind, depth, refs, final_steps)
    select v_version_id, c.scope, c.parent_step, c.kind, c.depth, coalesce(c.refs, '{}'),
           workflow.count_final_steps(v_version_id, c.scope)
    from jsonb_to_recordset(coalesce(p_plan -> 'scopes', '[]')) as c(
        scope integer, parent_step integer, kind text, depth integer, refs integer[])
    where c.scope > 0;
    update workflow.definition_versions v set final_steps = workflow.count_final_steps(v_version_id, 0)
    where v.id = v_version_id;

    perform workflow.note_handlers(v_version_id);

    insert into workflow.resources (kind, key)
    select distinct r ->> 'kind', r ->> 'key' from jsonb_array_elements(p_steps) s, jsonb_array_elements(s -> 'resources') r
    order by 1, 2
    on conflict do nothing;
    perform workflow.sync_schedules(p_name);
    return v_version;
end
$$;
comment on function workflow.register_definition is 'Store a version of a definition unless its content is already one';
