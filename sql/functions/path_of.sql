-- The name of a task within its workflow: its step's id, inside a scope behind the path of that: `process[3].fetch`.
create or replace function workflow.path_of(
    p_task_id bigint, p_step_index integer, p_step text, p_scope integer, p_body boolean) returns text
language sql stable
as $$
    select case when p_scope = 0 then p_step else (
        select case when p_body then c.path else c.path || '.' || p_step end
        from workflow.scopes c where c.base = p_task_id - p_step_index) end
$$;
comment on function workflow.path_of is 'The name of a task within its workflow';
