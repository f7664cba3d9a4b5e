-- What is watched here, without Prometheus: which conditions of alerts hold and since when, and what each engine alone knows.

create table workflow.alerts (
    id              bigint generated always as identity primary key,
    name            text not null,
    subject         text not null default '',
    severity        text not null,
    value           double precision,
    threshold       double precision,
    since           timestamptz not null,
    fires_at        timestamptz not null,
    fired           boolean not null default false,
    ended_at        timestamptz
);
comment on table workflow.alerts is 'Conditions of alerts that hold, and since when; those that fired and ended, for a week';
create unique index alerts_held on workflow.alerts (name, subject) where ended_at is null;
create index alerts_ended on workflow.alerts (ended_at) where ended_at is not null;

create table workflow.watched (
    only_row        boolean primary key default true check (only_row),
    at              timestamptz not null,
    measures        jsonb not null
);
comment on table workflow.watched is 'When the conditions of alerts were looked at last, and by what numbers';

create table workflow.engines (
    id              bigint generated always as identity primary key,
    host            text not null,
    pid             integer not null,
    version         text not null,
    started_at      timestamptz not null,
    heard_at        timestamptz not null,
    facts           jsonb not null
);
comment on table workflow.engines is 'Engine processes that have not said goodbye, and what each alone knows';

create table workflow.incidents (
    name            text primary key,
    at              timestamptz not null,
    times           bigint not null
);
comment on table workflow.incidents is 'What engines have met, by kind: how often, and when last';

-- Ends of workflows as the metrics count them, so that there is a rate without Prometheus.
alter table workflow.counted_events
    add column ended bigint not null default 0,
    add column failed bigint not null default 0;
alter table workflow.samples
    add column workflows_ended bigint,
    add column workflows_failed bigint,
    add column mirror_excess bigint;
