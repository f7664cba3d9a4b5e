-- What other roles than the owner may do here. A role is made by whoever may make roles; the owner of this schema then says what
-- it is for:
--
--   engine   what `workflow-engine serve` does: everything but make keys, read the password of steps and change the schema
--   worker   what `workflow-engine worker` does: everything with workflows and tasks; definitions are read only, and keys of the
--            API, the audit log and the idempotency keys of callers are closed to it
--   reader   looks at everything but those, and changes nothing
--   auditor  reader, and the audit log and the list of keys (never their hashes)
--   scaler   the numbers of the queues
--
-- It is remembered (workflow.access_grants), and `workflow-engine migrate` grants it again: what it adds is covered then, and a
-- dump that was restored without privileges gets them back. Privileges that were granted by hand here are taken back at that time.
--
-- Functions run with the rights of their caller, so what a role cannot do with tables it cannot do with functions either.

-- Grants p_access to a role, beside what it has.
-- Errors: 42704 there is no such role; 22023 there is no such access.
create or replace function workflow.grant_access(p_role text, p_access text) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    if not exists (select 1 from pg_roles r where r.rolname = p_role) then
        raise exception 'There is no role "%".', p_role
            using errcode = 'undefined_object', hint = format('create role %I login password ''...''', p_role);
    end if;
    if p_access is null or p_access <> all ('{engine,worker,reader,auditor,scaler}'::text[]) then
        raise exception 'There is no access "%".', p_access
            using errcode = 'invalid_parameter_value', hint = 'It is engine, worker, reader, auditor or scaler.';
    end if;
    insert into workflow.access_grants (role_name, access) values (p_role, p_access) on conflict do nothing;
    perform workflow.apply_access(p_role);
end
$$;
comment on function workflow.grant_access is 'Let a role work as engine, worker, reader, auditor or scaler';

-- Takes back all that a role may do here.
create or replace function workflow.revoke_access(p_role text) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    delete from workflow.access_grants g where g.role_name = p_role;
    if exists (select 1 from pg_roles r where r.rolname = p_role) then
        perform workflow.apply_access(p_role);
    end if;
end
$$;
comment on function workflow.revoke_access is 'Take back all that a role may do here';

-- Grants everything again, to those roles that there are on this server.
create or replace function workflow.renew_access() returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform workflow.apply_access(g.role_name)
    from (select distinct g.role_name from workflow.access_grants g join pg_roles r on r.rolname = g.role_name) g;
end
$$;
comment on function workflow.renew_access is 'Internal: grant again what was granted';

-- Brings the privileges of a role in line with what workflow.access_grants says of it.
create or replace function workflow.apply_access(p_role text) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_access    text;
    v_hidden    text[];     -- relations it may not read
    v_fixed     text[];     -- tables it may read and not write
    v_kept      text[];     -- functions it may not call
begin
    execute format('revoke all on all tables in schema workflow from %I', p_role);
    execute format('revoke all on all sequences in schema workflow from %I', p_role);
    execute format('revoke all on all functions in schema workflow from %I', p_role);
    execute format('revoke all on schema workflow from %I', p_role);
    execute format('revoke all on procrastinate_jobs, procrastinate_workers, procrastinate_events from %I', p_role);
    execute format('revoke all on procrastinate_jobs_id_seq, procrastinate_workers_id_seq from %I', p_role);

    for v_access in select g.access from workflow.access_grants g where g.role_name = p_role order by g.access loop
        execute format('grant usage on schema workflow, public to %I', p_role);
        if v_access = 'scaler' then
            execute format('grant select on workflow.queue_depth to %I', p_role);
            execute format('grant execute on function workflow.clock(), workflow.never() to %I', p_role);
            continue;
        end if;

        v_hidden := case v_access
            when 'engine' then '{step_role}'
            when 'worker' then '{api_keys,api_key_list,audit,audit_list,idempotency_keys}'
            when 'auditor' then '{step_role,api_keys}'
            else '{step_role,api_keys,api_key_list,audit,audit_list,idempotency_keys}' end;
        v_fixed := case v_access
            when 'engine' then '{migrations,access_grants,api_keys,audit}'
            else '{migrations,access_grants,step_role,engine,definitions,definition_versions,definition_steps,definition_scopes,schedules,history_partitions,samples,counted_events,daily_ends,task_type_changes,alerts,watched,engines,incidents}' end;
        v_kept := '{create_api_key,revoke_api_keys,grant_access,revoke_access,renew_access,apply_access}';

        execute (
            select format('grant select on %s to %I', string_agg(format('workflow.%I', c.relname), ', '), p_role)
            from pg_class c
            where c.relnamespace = 'workflow'::regnamespace and c.relkind in ('r', 'p', 'v')
              and not c.relispartition and c.relname <> all (v_hidden));

        if v_access in ('reader', 'auditor') then
            -- What changes something fails at the table.
            execute (
                select format('grant execute on function %s to %I', string_agg(p.oid::regprocedure::text, ', '), p_role)
                from pg_proc p
                where p.pronamespace = 'workflow'::regnamespace and not p.prosecdef and p.prokind = 'f'
                  and p.proname <> all (v_kept));
            continue;
        end if;

        execute (
            select format('grant insert, update, delete on %s to %I', string_agg(format('workflow.%I', c.relname), ', '), p_role)
            from pg_class c
            where c.relnamespace = 'workflow'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
              and c.relname <> all (v_hidden || v_fixed));
        execute format('grant usage, select on all sequences in schema workflow to %I', p_role);
        execute format('grant select, insert, update, delete on procrastinate_jobs, procrastinate_workers to %I', p_role);
        execute format('grant select, delete on procrastinate_events to %I', p_role);
        execute format('grant usage, select on procrastinate_jobs_id_seq, procrastinate_workers_id_seq to %I', p_role);
        execute (
            select format('grant execute on function %s to %I', string_agg(p.oid::regprocedure::text, ', '), p_role)
            from pg_proc p
            where p.pronamespace = 'workflow'::regnamespace and p.prokind = 'f' and p.proname <> all (v_kept)
              and (v_access = 'engine' or not p.prosecdef));
        if v_access = 'worker' then
            -- A claim locks the row that says so while it parks what a pause holds back; that asks for some right to update.
            execute format('grant update (only_row) on workflow.engine to %I', p_role);
        else
            execute format('grant insert, delete on workflow.audit to %I', p_role);
            execute format('grant update (last_used_at) on workflow.api_keys to %I', p_role);
        end if;
    end loop;
end
$$;
comment on function workflow.apply_access is 'Internal: bring the privileges of a role in line with what was granted to it';
