-- Deletes a definition in the only way in which something with a history can be: it starts nothing new. Its versions stay,
-- workflows of it go on to their end, its schedule is gone, and registering any content of that name enables it again.
--
-- Returns whether it was enabled until now.
-- Errors: WF404 no such definition.
create or replace function workflow.disable_definition(p_name text) returns boolean
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_disabled_at timestamptz;
begin
    select d.disabled_at into v_disabled_at from workflow.definitions d where d.name = p_name for update;
    if not found then
        raise exception 'Workflow definition not found: %', p_name using
            errcode = 'WF404', detail = 'definition-not-found';
    end if;
    update workflow.definitions d set disabled_at = workflow.clock() where d.name = p_name and d.disabled_at is null;
    perform workflow.sync_schedules(p_name);
    return v_disabled_at is null;
end
$$;
comment on function workflow.disable_definition is 'Delete a definition: it starts nothing new; returns whether it did until now';
