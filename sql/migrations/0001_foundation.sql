-- The tables of the engine. procrastinate's own tables already exist (its SchemaManager made them, unmodified).
--
-- Rows of the hot tables (tasks, attempt_history, events) carry no foreign keys: each would cost a lookup and a share
-- lock per row, and only the functions of this schema write here. `workflow.invariant_violations` checks instead.

create schema if not exists workflow;
comment on schema workflow is 'Workflow engine: the truth about definitions, workflows, tasks and attempts';

-- Definitions ---------------------------------------------------------------------------------------------------------

create table workflow.definitions (
    name            text primary key,
    latest_version  integer not null default 0,
    pinned_version  integer,                       -- when set, new workflows start on it instead of the latest
    disabled_at     timestamptz,                   -- a deleted definition starts nothing new
    created_at      timestamptz not null default clock_timestamp(),
    updated_at      timestamptz not null default clock_timestamp()
);
comment on table workflow.definitions is 'Named workflow documents; their states are definition_versions';

create table workflow.definition_versions (
    id              integer generated always as identity primary key,
    name            text not null references workflow.definitions (name),
    version         integer not null,
    hash            text not null,                 -- sha256 of the canonical document: equal content, equal version
    document        jsonb not null,                -- as submitted
    plan            jsonb not null,                -- as compiled; workers read it
    final_steps     integer not null,              -- steps without successors: all ended means the workflow ended
    created_at      timestamptz not null default clock_timestamp(),
    unique (name, version),
    unique (name, hash)
);
comment on table workflow.definition_versions is 'Immutable, numbered states of a definition';

create table workflow.definition_steps (
    version_id      integer not null references workflow.definition_versions (id),
    step_index      integer not null,              -- position in the plan, from 0
    id              text not null,                 -- the step's name in the document
    type            text not null,
    queue           text not null,
    priority        integer not null,
    dependencies    integer[] not null,            -- positions of the steps it waits for
    ordering        integer[] not null,            -- those of them that only order (a reference, not a condition)
    successors      integer[] not null,            -- positions of the steps that wait for it
    refs            integer[] not null,            -- positions whose results a claim hands to the worker
    uses_input      boolean not null,
    tolerated       boolean not null,              -- on_error = continue: its failure does not fail the workflow
    primary key (version_id, step_index)
);
comment on table workflow.definition_steps is 'The graph of a version, as the functions need it';

-- Workflows and tasks -------------------------------------------------------------------------------------------------

create table workflow.workflows (
    id              uuid primary key,              -- time-ordered (workflow.new_id), so recent rows share pages
    version_id      integer not null,
    name            text not null,
    version         integer not null,
    status          text not null default 'pending',
    input           jsonb not null default '{}',
    labels          jsonb not null default '{}',
    priority        integer not null default 0,
    fail_fast       boolean not null default true,
    open_tasks      integer not null,              -- tasks not ended that no open task waits for: 0 is the end
    error           jsonb,                         -- of the first task that failed the workflow
    created_at      timestamptz not null,
    started_at      timestamptz,
    finished_at     timestamptz,
    constraint workflows_status check (status in ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
    constraint workflows_finished check ((finished_at is not null) = (status in ('succeeded', 'failed', 'cancelled')))
) with (fillfactor = 80);
comment on table workflow.workflows is 'One execution of a definition version';
-- The predicate is finished_at, not status: pending -> running then stays a HOT update.
create index workflows_live on workflow.workflows (id) where finished_at is null;

-- A task's id is the base of its scope plus the position of its step, so that a successor's id is arithmetic and no
-- edge table is read. 65,536 ids per scope; the limit of steps in a definition is far below.
create sequence workflow.task_base as bigint increment by 65536 minvalue 65536 start with 65536;

create table workflow.tasks (
    id                      bigint primary key,
    workflow_id             uuid not null,
    version_id              integer not null,
    step_index              integer not null,
    status                  text not null default 'blocked',
    priority                integer not null,      -- the step's and the workflow's together; higher first
    open_dependencies       integer not null,      -- dependencies that have not ended
    succeeded_dependencies  integer not null default 0,
    failed_dependencies     integer not null default 0,
    attempt                 integer not null default 0,   -- number of the last claim
    tries                   integer not null default 0,   -- attempts that count against the retry policy
    crashes                 integer not null default 0,   -- claims that were lost
    job_id                  bigint,                -- the job of the present attempt: pending, scheduled or running
    worker_id               bigint,
    lease_token             uuid,
    lease_until             timestamptz,
    timeout_override        double precision,      -- seconds, by an operator's retry
    pending_since           timestamptz,           -- ready to run since
    scheduled_at            timestamptz,           -- not before
    first_started_at        timestamptz,           -- of the first attempt under the present retry policy
    started_at              timestamptz,           -- of the last attempt
    finished_at             timestamptz,
    output                  jsonb,
    error                   jsonb,
    constraint tasks_status check (status in ('blocked', 'pending', 'running', 'scheduled', 'waiting',
                                              'succeeded', 'failed', 'skipped', 'cancelled')),
    constraint tasks_finished
        check ((finished_at is not null) = (status in ('succeeded', 'failed', 'skipped', 'cancelled'))),
    constraint tasks_lease check ((status = 'running') = (lease_token is not null and lease_until is not null)),
    constraint tasks_counters check (open_dependencies >= 0)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
comment on table workflow.tasks is 'One step inside one workflow. No index on status: transitions stay HOT updates';
create index tasks_workflow on workflow.tasks (workflow_id);

create table workflow.attempt_history (
    task_id         bigint not null,
    attempt         integer not null,
    workflow_id     uuid not null,
    outcome         text not null,
    worker_id       bigint,
    lease_token     uuid not null,
    pending_since   timestamptz,
    started_at      timestamptz not null,
    ended_at        timestamptz not null,
    error           jsonb,
    primary key (task_id, attempt),
    constraint attempt_history_outcome
        check (outcome in ('succeeded', 'failed', 'retried', 'skipped', 'released', 'lost', 'cancelled')),
    constraint attempt_history_order check (started_at <= ended_at)
);
comment on table workflow.attempt_history is 'Attempts that ended, appended in the commit that ended them; the view workflow.attempts adds the running ones';

create table workflow.events (
    seq             bigint generated always as identity,
    workflow_id     uuid not null,
    type            text not null,
    task_id         bigint,
    attempt         integer,
    at              timestamptz not null,
    data            jsonb,
    primary key (workflow_id, seq)
);
comment on table workflow.events is 'What happened, in causal order within a workflow (seq grows; it is not gap-free)';

create table workflow.records (
    id              bigint generated always as identity primary key,
    workflow_id     uuid not null,
    task_id         bigint not null unique,
    step            text not null,
    data            jsonb not null,
    created_at      timestamptz not null
);
comment on table workflow.records is 'What database steps without a statement store, in the commit that completes them';
create index records_workflow on workflow.records (workflow_id);

create table workflow.idempotency_keys (
    principal       text not null default '',
    key             text not null,
    fingerprint     text not null,
    response        jsonb,
    created_at      timestamptz not null,
    primary key (principal, key)
);
comment on table workflow.idempotency_keys is 'Starts that were already answered; kept for a day';

-- Workers -------------------------------------------------------------------------------------------------------------

create table workflow.workers (
    id                  bigint generated always as identity primary key,
    name                text not null,
    host                text not null,
    pid                 integer not null,
    version             text not null,
    queues              text[] not null,
    task_types          text[] not null,
    concurrency         integer not null,
    status              text not null default 'active',
    queue_worker_id     bigint,                    -- its row in procrastinate_workers
    rss_bytes           bigint,
    heartbeat_seconds   double precision not null,
    started_at          timestamptz not null,
    last_heartbeat_at   timestamptz not null,
    stopped_at          timestamptz,
    constraint workers_status check (status in ('active', 'draining', 'stopped')),
    constraint workers_stopped check ((stopped_at is not null) = (status = 'stopped'))
);
comment on table workflow.workers is 'Registered worker processes; a dead one is one whose heartbeat stopped without a goodbye';

create table workflow.task_types (
    name            text primary key,
    builtin         boolean not null default false,
    description     text not null default '',
    timeout         double precision check (timeout > 0),      -- seconds; null = the handler's or the engine's default
    max_attempts    integer check (max_attempts > 0),
    created_at      timestamptz not null default clock_timestamp(),
    updated_at      timestamptz not null default clock_timestamp()
);
comment on table workflow.task_types is 'Kinds of work: the built-in ones, and those that workers registered';
insert into workflow.task_types (name, builtin, description) values
    ('http', true, 'Calls an HTTP endpoint'),
    ('agent', true, 'Runs an agent: Agent Mesh resolves it, Agent Brain executes it'),
    ('llm_inference', true, 'Asks a language model through an OpenAI-compatible endpoint'),
    ('database', true, 'Runs SQL on a named connection, or stores a record'),
    ('transform', true, 'Shapes data with expressions'),
    ('noop', true, 'Does nothing: a join point'),
    ('fail', true, 'Fails, for guards and tests');

-- The login role of transactional database steps (see functions/complete_task.sql); one row.
create table workflow.step_role (
    role_name       text primary key,
    password        text not null
);
comment on table workflow.step_role is 'Credentials of the low-privilege role of the connection named engine';

-- The queue: two additive indexes and vacuum settings on procrastinate's job table --------------------------------------

-- A claim reads the first index in order and stops at its limit; without it 100,000 scheduled or other-queue jobs ahead
-- make each claim some hundred times slower. The second finds jobs that became due.
create index workflow_ready_idx on procrastinate_jobs (queue_name, priority desc, id)
    where status = 'todo' and scheduled_at is null;
create index workflow_due_idx on procrastinate_jobs (queue_name, scheduled_at)
    where status = 'todo' and scheduled_at is not null;
alter table procrastinate_jobs set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000, fillfactor = 80);

-- Types the functions pass to each other --------------------------------------------------------------------------------

-- How an attempt ended, as a worker (or the sweep of expired leases) says it.
create type workflow.completion as (
    task_id         bigint,
    attempt         integer,
    lease_token     uuid,
    outcome         text,                          -- an attempt outcome; `next` overrides what follows from it
    next            text,                          -- task status to enter, when not the outcome's usual one
    delay           double precision,              -- seconds until the next attempt, for `retried`
    output          jsonb,
    error           jsonb,
    record          jsonb                          -- stored in workflow.records with the success
);

-- A task that reached a terminal status.
create type workflow.ended_task as (
    task_id         bigint,
    workflow_id     uuid,
    version_id      integer,
    step_index      integer,
    status          text,
    error           jsonb
);

-- A task that is to get a job.
create type workflow.ready_task as (
    task_id         bigint,
    queue           text,
    type            text,
    priority        integer,
    scheduled_at    timestamptz
);

-- A successor of tasks that ended: its new counters and what becomes of it.
create type workflow.successor as (
    task_id         bigint,
    workflow_id     uuid,
    version_id      integer,
    step_index      integer,
    open            integer,
    succeeded       integer,
    failed          integer,
    status          text,
    queue           text,
    type            text,
    priority        integer
);

-- A workflow about to be started, its definition resolved.
create type workflow.starting as (
    id              uuid,
    base            bigint,
    name            text,
    version_id      integer,
    version         integer,
    final_steps     integer,
    input           jsonb,
    labels          jsonb,
    priority        integer,
    fail_fast       boolean
);
