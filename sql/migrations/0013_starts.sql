-- Whether and when workflows start, what they may use up, and how long they are kept.

-- What a version says of its workflows as a whole, taken from its plan: null for most, so that a start asks no more than
-- whether there is something.
alter table workflow.definition_versions
    add column idempotency  jsonb generated always as (nullif(plan -> 'idempotency', 'null')) stored,
    add column concurrency  jsonb generated always as (nullif(nullif(plan -> 'concurrency', 'null'), '[]')) stored,
    add column schedule     jsonb generated always as (nullif(nullif(plan -> 'schedule', 'null'), '[]')) stored,
    add column budget       jsonb generated always as (nullif(plan -> 'budget', 'null')) stored,
    add column retention    jsonb generated always as (nullif(plan -> 'retention', 'null')) stored;

create index definition_versions_retention on workflow.definition_versions (id) where retention is not null;

-- Idempotency of a definition: a start with the key of an earlier one is that start.
create table workflow.start_keys (
    name            text not null,                 -- of the definition
    key             text not null,                 -- as rendered; `@schedule <time>` is the start of a schedule for that time
    workflow_id     uuid not null,
    expires_at      timestamptz,                   -- null = as long as the workflow is kept
    primary key (name, key)
);
comment on table workflow.start_keys is 'Keys by which a definition recognises a start that was made before';
create index start_keys_workflow on workflow.start_keys (workflow_id);
create index start_keys_expired on workflow.start_keys (expires_at) where expires_at is not null;

create type workflow.start_key as (
    position        integer,                       -- of the start in its batch, from 1
    workflow_id     uuid,
    name            text,
    key             text,
    on_conflict     text,
    expires_at      timestamptz
);

-- Concurrency keys: so many workflows with a key run at a time; the others have a place in line.
create table workflow.concurrency_keys (
    key             text primary key               -- whoever gives or frees a place at the key holds this row
);
comment on table workflow.concurrency_keys is 'Concurrency keys in use';

create table workflow.places (
    id              bigint generated always as identity primary key,  -- in the order of the starts
    key             text not null,
    workflow_id     uuid not null,
    capacity        integer not null,              -- it may enter while fewer than so many are in
    front           boolean not null default false, -- it takes the place of one that was cancelled for it
    priority        integer not null,
    entered_at      timestamptz                    -- null = in line
);
comment on table workflow.places is 'Workflows with concurrency keys: those that may run, and those in line';
-- Its key is in no index of this one: a plan from when the table was small would walk it for a line.
create index places_workflow on workflow.places (workflow_id);
create index places_line on workflow.places (key, front desc, priority desc, id) where entered_at is null;
create index places_entered on workflow.places (key, id) where entered_at is not null;

create type workflow.place as (
    workflow_id     uuid,
    key             text,
    capacity        integer,
    on_conflict     text,
    priority        integer
);

alter table workflow.workflows
    add column queued_at    timestamptz,           -- in line for a concurrency key since then
    add column budgets      uuid[];                -- the workflows whose budgets it counts against: itself, those above it
comment on column workflow.workflows.queued_at is 'Nothing of it is claimed while this is set: it is in line';

-- Rates of limits: so many units in any span of so many seconds.
alter type workflow.need
    add attribute rate_units integer,
    add attribute rate_seconds double precision;
alter table workflow.waits
    add column rate_units   integer,
    add column rate_seconds double precision;
alter table workflow.resources
    add column spans    double precision[] not null default '{}',  -- seconds of the spans that rates of steps name for it
    add column due_at   timestamptz;               -- when units for the first in line are there again
create index resources_due on workflow.resources (due_at) where due_at is not null;

-- Units that were spent, by sixtieths of each span that some step names for the limit. Whoever holds the row of the resource
-- writes here.
create table workflow.spent_units (
    key             text not null,
    rate_seconds    double precision not null,
    slot            bigint not null,               -- number of the sixtieth
    units           bigint not null,
    primary key (key, rate_seconds, slot)
) with (fillfactor = 70);
comment on table workflow.spent_units is 'Units of limits with a rate that were spent lately';

-- Schedules: of the version with which a definition starts new workflows.
create table workflow.schedules (
    name            text not null references workflow.definitions (name),
    position        integer not null,              -- in the definition's list, from 0
    cron            text not null,
    timezone        text not null,
    overlap         text not null,
    catchup         text not null,
    input           jsonb,
    since           timestamptz not null,          -- due times after this one count
    next_at         timestamptz,                   -- null = the leader has not worked it out yet
    paused_at       timestamptz,
    last_at         timestamptz,                   -- the due time of the last start
    last_workflow_id uuid,
    last_error      text,                          -- why the last due time started nothing
    started         bigint not null default 0,
    skipped         bigint not null default 0,     -- due times at which the workflow before had not ended
    missed          bigint not null default 0,     -- due times passed over after an outage
    primary key (name, position),
    constraint schedules_overlap check (overlap in ('skip', 'queue', 'cancel_running', 'allow')),
    constraint schedules_catchup check (catchup in ('latest', 'all', 'none'))
);
comment on table workflow.schedules is 'When definitions start by themselves';
create index schedules_due on workflow.schedules (next_at) where paused_at is null;

-- Budgets: one row per workflow that has one of its own. Those below it count against it, too.
create table workflow.budgets (
    workflow_id     uuid primary key,
    bounds          jsonb not null,                -- {"tokens" | "cost_usd" | "steps": {"soft"?, "hard"?}}
    on_exceeded     text not null,
    tokens          bigint not null default 0,
    cost_usd        numeric not null default 0,
    steps           bigint not null default 0,
    told            text[] not null default '{}',  -- soft bounds that were reached
    exceeded        text[] not null default '{}',  -- hard bounds that are reached
    exceeded_at     timestamptz,
    paused          uuid[] not null default '{}',  -- workflows that were paused for it
    unreported      text[] not null default '{}',  -- bounds reached that the leader has not told yet: `soft tokens`
    attention       boolean not null default false, -- the leader is to look at it
    constraint budgets_on_exceeded check (on_exceeded in ('pause', 'fail', 'cancel'))
) with (fillfactor = 70);
comment on table workflow.budgets is 'What workflows may use up in all, and what they have used';
create index budgets_attention on workflow.budgets (workflow_id) where attention;

-- What a workflow has used up.
create type workflow.charge as (
    workflow_id     uuid,
    tokens          bigint,
    cost_usd        numeric,
    steps           bigint
);
