-- Pins a workflow to a version of its definition. A pending one goes on with that version at once. One that has begun keeps
-- its version for all its tasks, and uses the pinned one when a retry starts it again. Without effect when it is pinned so
-- already, or for null.
--
-- Returns {"id", "status", "version", "pinned_version"}: as it is now.
-- Errors: WF404 no such workflow or version; WF409 it has succeeded.
create or replace function workflow.pin(p_workflow_id uuid, p_version integer) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_workflow      workflow.workflows := workflow.pinnable(p_workflow_id);
    v_version_id    integer := workflow.version_id(v_workflow.name, p_version);
begin
    if v_workflow.pinned_version is distinct from p_version and p_version is not null then
        update workflow.workflows w set
            pinned_version = p_version, unpinned_version = coalesce(w.unpinned_version, w.version)
        where w.id = p_workflow_id;
        insert into workflow.events (workflow_id, type, at, data)
        values (p_workflow_id, 'workflow.pinned', workflow.clock(), jsonb_build_object('version', p_version));
        if v_workflow.status = 'pending' and v_workflow.version <> p_version then
            perform workflow.switch_version(p_workflow_id, v_version_id);
        end if;
    end if;
    return workflow.pinned(p_workflow_id);
end
$$;
comment on function workflow.pin is 'Pin a workflow to a version: at once if it is pending, else for its next retry';

-- Takes a pin back. A pending workflow goes on with the version it was started with, one that has begun with the version that
-- it has. Without effect when it is not pinned.
--
-- Returns and errors: as workflow.pin.
create or replace function workflow.unpin(p_workflow_id uuid) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_workflow workflow.workflows := workflow.pinnable(p_workflow_id);
begin
    if v_workflow.pinned_version is not null then
        update workflow.workflows w set
            pinned_version = null,
            unpinned_version = case when w.status <> 'pending' then w.unpinned_version end
        where w.id = p_workflow_id;
        insert into workflow.events (workflow_id, type, at, data)
        values (p_workflow_id, 'workflow.unpinned', workflow.clock(),
                jsonb_build_object('version', v_workflow.pinned_version));
        if v_workflow.status = 'pending' and v_workflow.version <> v_workflow.unpinned_version then
            perform workflow.switch_version(
                p_workflow_id, workflow.version_id(v_workflow.name, v_workflow.unpinned_version));
        end if;
    end if;
    return workflow.pinned(p_workflow_id);
end
$$;
comment on function workflow.unpin is 'Take the pin of a workflow back';

-- Pins a definition to a version: new workflows start on it when they name none. Null takes the pin back: they start on the
-- latest.
--
-- Returns {"latest_version", "pinned_version"}. Errors: WF404 no such definition or version.
create or replace function workflow.pin_definition(p_name text, p_version integer) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform workflow.version_id(p_name, p_version);
    update workflow.definitions d set pinned_version = p_version, updated_at = workflow.clock()
    where d.name = p_name and d.pinned_version is distinct from p_version;
    perform workflow.sync_schedules(p_name);
    return (
        select jsonb_build_object('latest_version', d.latest_version, 'pinned_version', d.pinned_version)
        from workflow.definitions d where d.name = p_name);
end
$$;
comment on function workflow.pin_definition is 'Pin a definition to a version, with which new workflows start; null takes the pin back';

-- The id of a version of a definition; without a number, of the one that new workflows start on.
-- Errors: WF404.
create or replace function workflow.version_id(p_name text, p_version integer default null) returns integer
language plpgsql stable
set search_path = public, pg_temp
as $$
declare
    v_definition    workflow.definitions;
    v_id            integer;
begin
    select * into v_definition from workflow.definitions d where d.name = p_name;
    if not found then
        raise exception 'Workflow definition not found: %', p_name || coalesce('@' || p_version, '') using
            errcode = 'WF404', detail = 'definition-not-found', hint = 'Submit it with its steps first.';
    end if;
    select v.id into v_id from workflow.definition_versions v
    where v.name = p_name and v.version = coalesce(p_version, v_definition.pinned_version, v_definition.latest_version);
    if not found then
        raise exception 'Workflow definition not found: %@%', p_name, p_version using
            errcode = 'WF404', detail = 'definition-not-found',
            hint = case when v_definition.latest_version = 1 then 'Version 1 exists.'
                        else format('Versions 1 to %s exist.', v_definition.latest_version) end;
    end if;
    return v_id;
end
$$;
comment on function workflow.version_id is 'The id of a version of a definition';

-- The row of a workflow that may be pinned, locked.
-- Errors: WF404; WF409 it has succeeded.
create or replace function workflow.pinnable(p_workflow_id uuid) returns workflow.workflows
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
declare
    v_workflow workflow.workflows;
begin
    select * into v_workflow from workflow.workflows w where w.id = p_workflow_id for no key update;
    if not found then
        raise exception 'There is no workflow %.', p_workflow_id using errcode = 'WF404', detail = 'workflow-not-found';
    elsif v_workflow.status = 'succeeded' then
        raise exception 'The workflow has already succeeded.' using
            errcode = 'WF409', detail = 'invalid-transition', hint = 'Pin its definition, and start it anew.';
    end if;
    return v_workflow;
end
$$;
comment on function workflow.pinnable is 'Internal: lock a workflow that may be pinned';

-- What workflow.pin and workflow.unpin return.
create or replace function workflow.pinned(p_workflow_id uuid) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    return (
        select jsonb_build_object(
            'id', w.id, 'status', w.status, 'version', w.version, 'pinned_version', w.pinned_version)
        from workflow.workflows w where w.id = p_workflow_id);
end
$$;
comment on function workflow.pinned is 'Internal: version and pin of a workflow';
