-- Which roles may do what with the engine's schema (functions/access.sql).

create table workflow.access_grants (
    role_name       text not null,
    access          text not null,
    granted_at      timestamptz not null default clock_timestamp(),
    primary key (role_name, access),
    constraint access_grants_access check (access in ('engine', 'worker', 'reader', 'auditor', 'scaler'))
);
comment on table workflow.access_grants is 'Roles of the database and what they may do here: migrate grants it again';
