-- Budgets: what a workflow and those it starts may use up in all.

-- Begins the budgets of workflows whose definitions have one.
create or replace function workflow.begin_budgets(p_workflows uuid[]) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    return;
end
$$;
comment on function workflow.begin_budgets is 'Internal: begin the budgets of workflows';
