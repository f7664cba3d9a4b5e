-- The audit log: what was asked of the API and changed something or was refused, by whom and from where. Rows are only added.

-- Adds rows. Each has the columns of workflow.audit but `id` and `at`, and `age`, the seconds since it happened.
create or replace function workflow.add_audit(p_rows jsonb) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    insert into workflow.audit (
        at, principal, key_id, address, request_id, method, path, operation, workflow_id, status, times, reason)
    select v_now - make_interval(secs => r.age), r.principal, r.key_id, r.address, r.request_id, r.method, r.path,
           r.operation, r.workflow_id, r.status, r.times, r.reason
    from rows from (jsonb_to_recordset(p_rows) as (
        age double precision, principal text, key_id text, address text, request_id text, method text, path text,
        operation text, workflow_id uuid, status integer, times integer, reason text)) with ordinality
        as r(age, principal, key_id, address, request_id, method, path, operation, workflow_id, status, times, reason, ord)
    order by r.ord;
end
$$;
comment on function workflow.add_audit is 'Internal: add rows to the audit log';

-- What was done to a key, not over HTTP: who says only to Postgres who he is.
create or replace function workflow.audit_key(p_operation text, p_id text, p_name text, p_now timestamptz) returns void
language sql volatile
as $$
    insert into workflow.audit (at, principal, address, method, path, operation, key_id)
    values (p_now, 'sql:' || session_user, host(inet_client_addr()), 'SQL', p_name, p_operation, p_id)
$$;
comment on function workflow.audit_key is 'Internal: tell the audit log what was done to a key of the API';

-- Deletes the oldest rows that have been kept for p_keep, at most p_limit; returns how many. Nothing else may delete any.
create or replace function workflow.sweep_audit(p_keep interval, p_limit integer default 5000) returns integer
language plpgsql volatile
set search_path = public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_cutoff    timestamptz := workflow.clock() - p_keep;
    v_count     integer;
begin
    perform set_config('workflow.audit_sweep', 'on', true);
    -- In the order of ids, which is that of times but for seconds: so it stops at the first that is to stay.
    delete from workflow.audit a
    where a.id = any(array(select o.id from workflow.audit o order by o.id limit p_limit)) and a.at < v_cutoff;
    get diagnostics v_count = row_count;
    perform set_config('workflow.audit_sweep', '', true);
    return v_count;
end
$$;
comment on function workflow.sweep_audit is 'Delete what has been in the audit log for long enough';

create or replace function workflow.refuse_audit_change() returns trigger
language plpgsql
set search_path = public, pg_temp
as $$
begin
    if tg_op = 'DELETE' and current_setting('workflow.audit_sweep', true) = 'on' then
        return old;
    end if;
    raise exception 'The audit log is only added to.' using
        errcode = 'WF409', detail = 'conflict',
        hint = 'WORKFLOW_RETENTION_AUDIT_SECONDS says how long its rows are kept.';
end
$$;
comment on function workflow.refuse_audit_change is 'Internal: nobody changes the audit log';

create or replace trigger audit_rows_stay before update or delete on workflow.audit
for each row execute function workflow.refuse_audit_change();
create or replace trigger audit_stays before truncate on workflow.audit
for each statement execute function workflow.refuse_audit_change();

-- The first id of the audit log that may have been written at p_at or later; for the rows between two times without reading those
-- outside. Ids follow the times but for a minute at most: requests that end are written together, and by several engines.
create or replace function workflow.audit_id_at(p_at timestamptz) returns bigint
language plpgsql stable strict
set search_path = public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_at        timestamptz := p_at - interval '1 minute';
    v_low       bigint;     -- all below are older
    v_high      bigint;     -- this one, and all above, are not
    v_middle    bigint;
    v_found     record;
begin
    select min(a.id), max(a.id) + 1 into v_low, v_high from workflow.audit a;
    while v_low < v_high loop
        v_middle := v_low + (v_high - v_low) / 2;
        select a.id, a.at into v_found from workflow.audit a where a.id >= v_middle order by a.id limit 1;
        if v_found.id is null or v_found.id >= v_high or v_found.at >= v_at then
            v_high := v_middle;
        else
            v_low := v_found.id + 1;
        end if;
    end loop;
    return coalesce(v_low, 0);
end
$$;
comment on function workflow.audit_id_at is 'Where the audit log has the rows since a time';
