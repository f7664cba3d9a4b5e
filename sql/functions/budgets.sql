-- placeholder
create or replace function workflow.begin_budgets(p_workflows uuid[]) returns void
language sql volatile as $$ select $$;
