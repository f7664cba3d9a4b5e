-- What operators need: pausing, locks and limits, pinned versions, and ways to read recent history.

-- The engine as a whole; one row. Processes keep nothing of it, so that all replicas answer the same and it survives them.
create table workflow.engine (
    only_row        boolean primary key default true check (only_row),
    paused_at       timestamptz,                   -- accepts and starts nothing new since then
    paused_until    timestamptz,                   -- by itself resumed from then on; null = until someone resumes it
    paused_by       text
);
comment on table workflow.engine is 'State of the engine as a whole; one row';
insert into workflow.engine default values;

alter table workflow.workflows
    add column paused_at        timestamptz,       -- an operator paused this one workflow
    add column pinned_version   integer,           -- later (re)starts of it use this version
    add column unpinned_version integer;           -- its version before it was pinned
comment on column workflow.workflows.paused_at is 'Nothing of it is claimed while this is set';

-- Locks and limits ----------------------------------------------------------------------------------------------------

-- What a step must get before it may run: a list of {"kind": "lock"|"limit", "key", "scope": "task"|"workflow",
-- "capacity", "units"}. Empty for most.
alter table workflow.definition_steps add column resources jsonb not null default '[]';

-- One row per lock or limit that a definition names; whoever gives or frees units of it holds this row.
create table workflow.resources (
    kind            text not null,
    key             text not null,
    primary key (kind, key),
    constraint resources_kind check (kind in ('lock', 'limit'))
);
comment on table workflow.resources is 'Locks and limits that definitions name';

-- A unit of a resource is a row owned by an attempt (or, with scope workflow, by its workflow), deleted in the commit
-- that ends it, whatever ended it. So nothing can leak.
create table workflow.holds (
    kind            text not null,
    key             text not null,
    task_id         bigint not null,
    attempt         integer not null,
    workflow_id     uuid not null,
    scope           text not null,
    units           integer not null,
    acquired_at     timestamptz not null,
    primary key (kind, key, task_id),
    constraint holds_scope check (scope in ('task', 'workflow')),
    constraint holds_units check (units > 0)
);
comment on table workflow.holds is 'Who holds which locks and units of limits';
create index holds_workflow on workflow.holds (workflow_id);
create index holds_task on workflow.holds (task_id);

-- Pending tasks whose job is parked (scheduled_at = workflow.never()) until a unit is free.
create table workflow.waits (
    kind            text not null,
    key             text not null,
    task_id         bigint not null,
    workflow_id     uuid not null,
    scope           text not null,
    capacity        integer not null,
    units           integer not null,
    priority        integer not null,
    since           timestamptz not null,
    primary key (kind, key, task_id)
);
comment on table workflow.waits is 'Who waits for which lock or limit';
create index waits_task on workflow.waits (task_id);
create index waits_workflow on workflow.waits (workflow_id);

-- Reading recent history ----------------------------------------------------------------------------------------------

-- Who leads gets the next number; what an earlier leader still writes to Redis is then refused there.
create sequence workflow.leader_epoch as bigint;

-- Both tables are appended to in time order, so the index of the newest rows is cheap to keep. The events' is a BRIN:
-- it is read for the newest rows only, and costs next to nothing per step.
create index attempt_history_ended on workflow.attempt_history (ended_at);
create index events_seq on workflow.events using brin (seq) with (pages_per_range = 32, autosummarize = on);
