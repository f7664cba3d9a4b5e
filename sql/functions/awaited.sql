-- Tells that a workflow has ended to those who wait for it: one notification on the channel workflow_ended, with its id. A
-- hint: who misses it looks again.
create or replace function workflow.tell_end() returns trigger
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform pg_notify('workflow_ended', new.id::text);
    return null;
end
$$;
comment on function workflow.tell_end is 'Internal: tell those who wait that a workflow has ended';

-- A trigger, since workflows end in several places; the condition keeps it from costing anything where nobody waits.
create or replace trigger workflows_awaited after update of finished_at on workflow.workflows
for each row when (new.awaited and new.finished_at is not null and old.finished_at is null)
execute function workflow.tell_end();
