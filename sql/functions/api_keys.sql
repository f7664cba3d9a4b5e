-- Keys of the API. Only the hash of a key is here, so whoever reads this table can use none of them. Making and ending keys is
-- in the audit log, whoever does it.

-- Makes a key. Returns when it expires, or null.
--
-- p_lifetime  null: it does not expire.
-- p_replaces  id of a key whose place it takes: that one expires after p_overlap, unless it does so before.
-- Errors: WF404 there is no such key to replace, or it has ended.
create or replace function workflow.create_api_key(
    p_id text, p_name text, p_roles text[], p_groups text[], p_hash bytea, p_lifetime interval default null,
    p_replaces text default null, p_overlap interval default '0') returns timestamptz
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now       timestamptz := workflow.clock();
    v_expires   timestamptz := v_now + p_lifetime;
begin
    if p_replaces is not null then
        update workflow.api_keys k set expires_at = least(k.expires_at, v_now + p_overlap)
        where k.id = p_replaces and k.revoked_at is null and coalesce(k.expires_at > v_now, true);
        if not found then
            raise exception 'There is no key % that is still good.', p_replaces using
                errcode = 'WF404', detail = 'not-found', hint = 'workflow-engine token list shows the keys there are.';
        end if;
        perform workflow.audit_key('key_rotated', p_replaces, p_name, v_now);
    end if;
    insert into workflow.api_keys (id, name, roles, groups, hash, created_at, expires_at)
    values (p_id, p_name, p_roles, p_groups, p_hash, v_now, v_expires);
    perform workflow.audit_key('key_created', p_id, p_name, v_now);
    return v_expires;
end
$$;
comment on function workflow.create_api_key is 'Make a key of the API';

-- Ends keys at once: the one with this id, or all of this name that have not ended. Returns their ids and names.
create or replace function workflow.revoke_api_keys(p_which text) returns table (id text, name text)
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now   timestamptz := workflow.clock();
    v_key   record;
begin
    for v_key in
        update workflow.api_keys k set revoked_at = v_now
        where (k.id = p_which or k.name = p_which) and k.revoked_at is null and coalesce(k.expires_at > v_now, true)
        returning k.id, k.name
    loop
        perform workflow.audit_key('key_revoked', v_key.id, v_key.name, v_now);
        id := v_key.id;
        name := v_key.name;
        return next;
    end loop;
end
$$;
comment on function workflow.revoke_api_keys is 'End keys of the API at once, by id or name';

-- The keys with these ids, as engines ask for them. `ends_in` are the seconds that are left of its time, null without an end;
-- `used_lately` says that nobody needs to note that it is used.
create or replace function workflow.find_api_keys(p_ids text[]) returns table (
    id text, name text, roles text[], groups text[], hash bytea, expires_at timestamptz, ends_in double precision,
    revoked boolean, used_lately boolean)
language plpgsql stable
set search_path = public, pg_temp
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    return query
        select k.id, k.name, k.roles, k.groups, k.hash, k.expires_at,
               extract(epoch from k.expires_at - v_now)::double precision, k.revoked_at is not null,
               coalesce(k.last_used_at > v_now - interval '1 minute', false)
        from workflow.api_keys k where k.id = any(p_ids);
end
$$;
comment on function workflow.find_api_keys is 'Internal: keys of the API by their ids';

-- Notes that a key is used, once a minute at most, whichever engines see it.
create or replace function workflow.note_api_key(p_id text) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    update workflow.api_keys k set last_used_at = v_now
    where k.id = p_id and coalesce(k.last_used_at <= v_now - interval '1 minute', true);
end
$$;
comment on function workflow.note_api_key is 'Internal: note that a key of the API is used';
