-- Changes what the engine says of a task type. The next attempt uses it, also of tasks that are pending already: a claim
-- reads this row.
--
-- p_patch     {"timeout"?: seconds | null, "max_attempts"?: integer | null, "description"?: text}; null takes the value
--             back, so that the handler's or the engine's default counts. Keys that are absent stay.
-- p_expected  when given, the row must be as last changed then.
-- p_by        who changes it; it is kept with the change, in workflow.task_type_changes.
--
-- Returns {"before": row, "after": row}. An empty or unchanging patch changes nothing.
-- Errors: WF404 with the known types as a hint; WF412 when somebody changed it since p_expected.
create or replace function workflow.update_task_type(
    p_name text, p_patch jsonb, p_expected timestamptz default null, p_by text default null) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_before    workflow.task_types;
    v_after     workflow.task_types;
begin
    select * into v_before from workflow.task_types y where y.name = p_name for no key update;
    if not found then
        raise exception 'There is no task type %.', quote_literal(p_name) using
            errcode = 'WF404', detail = 'task-type-not-found',
            hint = 'Known are ' || (select string_agg(y.name, ', ' order by y.name) from workflow.task_types y) || '.';
    elsif v_before.updated_at <> p_expected then
        raise exception 'The task type % has been changed since.', p_name using
            errcode = 'WF412', detail = 'precondition-failed',
            hint = format('Read it again: GET /api/v1/task-types/%s, and send its ETag.', p_name);
    end if;
    update workflow.task_types y set
        timeout = case when p_patch ? 'timeout' then (p_patch ->> 'timeout')::double precision else y.timeout end,
        max_attempts = case when p_patch ? 'max_attempts' then (p_patch ->> 'max_attempts')::integer
                            else y.max_attempts end,
        description = coalesce(p_patch ->> 'description', y.description),
        updated_at = greatest(workflow.clock(), y.updated_at + interval '1 microsecond')
    where y.name = p_name and (
        p_patch ? 'timeout' and (p_patch ->> 'timeout')::double precision is distinct from y.timeout
        or p_patch ? 'max_attempts' and (p_patch ->> 'max_attempts')::integer is distinct from y.max_attempts
        or p_patch ->> 'description' is distinct from y.description and p_patch ->> 'description' is not null)
    returning * into v_after;
    if v_after.name is not null then
        insert into workflow.task_type_changes (name, at, by, changes)
        select p_name, v_after.updated_at, p_by,
               jsonb_object_agg(f, jsonb_build_object('before', to_jsonb(v_before) -> f, 'after', to_jsonb(v_after) -> f))
        from unnest('{timeout,max_attempts,description}'::text[]) f
        where to_jsonb(v_before) -> f <> to_jsonb(v_after) -> f;
        delete from workflow.task_type_changes c
        where c.name = p_name and c.at <= (
            select o.at from workflow.task_type_changes o where o.name = p_name order by o.at desc offset 100 limit 1);
    end if;
    return jsonb_build_object(
        'before', to_jsonb(v_before),
        'after', case when v_after.name is null then to_jsonb(v_before) else to_jsonb(v_after) end);
end
$$;
comment on function workflow.update_task_type is 'Change timeout, max_attempts or description of a task type; returns it before and after';
