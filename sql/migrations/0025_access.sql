-- Who may do what: keys of the API. What was asked of it: the audit log. And who started a workflow.

create table workflow.api_keys (
    id              text primary key,              -- in the text of the key; no secret
    name            text not null,                 -- of the principal; several keys may have it, as while one replaces another
    roles           text[] not null,
    groups          text[] not null default '{}',  -- what else the principal is called among the assignees of approvals
    hash            bytea not null,
    created_at      timestamptz not null,
    expires_at      timestamptz,                   -- null = never
    revoked_at      timestamptz,
    last_used_at    timestamptz,                   -- to the minute
    constraint api_keys_id check (id ~ '^[a-z0-9]{12}$'),
    constraint api_keys_name check (name ~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$'),
    constraint api_keys_roles check (
        roles <> '{}' and roles <@ array['viewer', 'starter', 'operator', 'author', 'admin']),
    constraint api_keys_hash check (octet_length(hash) = 32)
);
comment on table workflow.api_keys is 'Keys of the API: what their texts prove, never the texts';

create table workflow.audit (
    id              bigint generated always as identity primary key,
    at              timestamptz not null,
    principal       text,                          -- null = it is not known who
    key_id          text,
    address         text,                          -- from where
    request_id      text,                          -- also in the log line of the request
    method          text not null,                 -- `SQL` = no request: a key was made or ended
    path            text not null,                 -- with its query
    operation       text not null,                 -- as OpenAPI names it
    workflow_id     uuid,
    status          integer,                       -- of the answer; 499 = nobody waited for it
    times           integer not null default 1     -- how often the like of it was refused within seconds
);
comment on table workflow.audit is 'What was asked of the API and changed something or was refused; rows are only added';
create index audit_workflow on workflow.audit (workflow_id, id) where workflow_id is not null;
create index audit_principal on workflow.audit (principal, id) where principal is not null;
create index audit_at on workflow.audit using brin (at) with (pages_per_range = 16);

alter table workflow.workflows add column created_by text;
comment on column workflow.workflows.created_by is 'The principal that started it, or that started what started it; null = not known';
alter type workflow.starting add attribute created_by text;

-- They say who asks now.
drop function if exists workflow.rerun(uuid, text, jsonb, integer, boolean, text, text);
drop function if exists workflow.run_schedule(text);
drop function if exists workflow.backfill_schedule(text, jsonb);
