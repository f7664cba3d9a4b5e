-- The whole definition language: scopes (for_each, loop, block, catch, handlers), conditions on dependencies, and tasks that
-- wait for something else than a worker.

-- The graph -----------------------------------------------------------------------------------------------------------

-- Positions count through all scopes of a version, the workflow's own steps (scope 0) first. So a task's id is its scope's
-- base plus its step's position, whatever the scope, and a successor's id stays arithmetic.
alter table workflow.definition_steps
    add column scope        integer not null default 0,     -- number of the scope it stands in; 0 = the workflow's own
    add column depth        integer not null default 0,     -- how many scopes are around that one
    add column kind         text not null default 'step',   -- all but `step` are made when they are needed
    add column body         boolean not null default false, -- the only step of an item or iteration: its path is the scope's
    add column rule         jsonb,                          -- {"name", "min"?}; null = auto
    add column conditions   jsonb,                          -- {"<position>": {"on"?: [...], "cases"?: [...]}}
    add column asked        boolean not null default false, -- a step behind it asks for its failure, which so ends nothing at once
    add column catches      boolean not null default false, -- has `catch`: whatever fails it is shown to a worker first
    add column compensation integer,                        -- position of the step that undoes it
    add column timeouts     jsonb,                          -- {"schedule_to_start"?, "schedule_to_close"?}: seconds
    add constraint definition_steps_kind
        check (kind in ('step', 'output', 'compensation', 'on_failure', 'on_exit'));
comment on column workflow.definition_steps.rule is 'When it runs, given how the steps before it ended; null = auto';

-- Opening a scope asks for its steps.
create index definition_steps_scope on workflow.definition_steps (version_id, scope);

create table workflow.definition_scopes (
    version_id      integer not null references workflow.definition_versions (id),
    scope           integer not null,              -- from 1
    parent_step     integer not null,              -- position of the step whose tasks open it
    kind            text not null,                 -- 'item', 'iteration', 'block', 'catch'
    depth           integer not null,              -- of its steps
    final_steps     integer not null,              -- steps without successors: all ended means the scope ended
    refs            integer[] not null default '{}', -- positions whose results its parent reads at its end
    primary key (version_id, scope)
);
comment on table workflow.definition_scopes is 'Lists of steps inside steps: items, iterations, blocks, catches';

-- Whether more may follow when the last step has ended: an output template, handlers, compensations.
alter table workflow.definition_versions add column has_ending boolean not null default false;

-- Waiting tasks -------------------------------------------------------------------------------------------------------

-- What a waiting task waits for, as the worker said that ended its last attempt: {"kind": "scope"|"timer"|"signal"|
-- "approval"|"child", ...}. It stays when the task is resumed (pending again), so that the next claim says what came of it.
-- A waiting task keeps a job: parked, or due at its deadline.
alter table workflow.tasks add column awaits jsonb;
comment on column workflow.tasks.awaits is 'What it waits for, or was resumed from; null for most tasks';

alter table workflow.attempt_history
    drop constraint attempt_history_outcome,
    add constraint attempt_history_outcome check (outcome in (
        'succeeded', 'failed', 'retried', 'skipped', 'released', 'lost', 'cancelled', 'waiting')) not valid;

alter type workflow.completion
    add attribute awaits jsonb,                    -- with next = waiting: what for
    add attribute effects jsonb;                   -- {"usage"?, "emit"?, "terminate"?}: what else it does in this commit

-- A task that begins to wait.
create type workflow.waiting_task as (
    task_id         bigint,
    workflow_id     uuid,
    version_id      integer,
    step_index      integer,
    attempt         integer,
    queue           text,
    type            text,
    priority        integer,
    awaits          jsonb
);

-- What else the end of an attempt does in the same commit.
create type workflow.effect as (
    task_id         bigint,
    workflow_id     uuid,
    version_id      integer,
    step_index      integer,
    data            jsonb
);

-- Scopes of workflows -------------------------------------------------------------------------------------------------

-- One instance of a list of steps under a waiting task: an item, an iteration, a block, a catch.
create table workflow.scopes (
    base            bigint primary key,            -- of the ids of its tasks (see workflow.task_base)
    workflow_id     uuid not null,
    version_id      integer not null,
    scope           integer not null,              -- its number in the version
    parent_task_id  bigint not null,
    round           integer not null,              -- the parent's attempt that made it
    position        integer not null,              -- of an item from 0, of an iteration from 1, else 0
    bases           bigint[] not null,             -- of all scopes around it from the outermost, and its own: by depth
    path            text not null,                 -- `process[3]`
    variables       jsonb not null,                -- what its expressions see beside the steps: item, index, iteration, last, error
    status          text not null default 'blocked',
    open_tasks      integer not null,              -- as in workflow.workflows
    error           jsonb,
    replaced        boolean not null default false, -- its parent was tried again
    started_at      timestamptz,
    finished_at     timestamptz,
    constraint scopes_status check (status in ('blocked', 'running', 'succeeded', 'failed', 'cancelled')),
    constraint scopes_finished check ((finished_at is not null) = (status in ('succeeded', 'failed', 'cancelled')))
) with (fillfactor = 80);
comment on table workflow.scopes is 'Instances of lists of steps inside steps: items, iterations, blocks, catches';
create index scopes_parent on workflow.scopes (parent_task_id, round, position);
create index scopes_workflow on workflow.scopes (workflow_id);

-- The counters of a waiting task that has scopes open: an item that ends costs one counter, however many there are.
create table workflow.groups (
    task_id         bigint primary key,
    workflow_id     uuid not null,
    round           integer not null,
    total           integer not null,
    started         integer not null,              -- scopes are started in the order of their positions
    open            integer not null,
    failed          integer not null default 0,
    width           integer not null,              -- so many are open at a time
    tolerated       integer not null default 0,    -- so many may fail
    error           jsonb                          -- of the first that failed
) with (fillfactor = 70);
comment on table workflow.groups is 'Counters of tasks that wait for their scopes';
create index groups_workflow on workflow.groups (workflow_id);

-- What a wave of ended tasks means for a scope.
create type workflow.scope_fact as (
    base            bigint,
    final_steps     integer,                       -- so many of its open tasks that nothing open waits for have ended
    error           jsonb,                         -- of the first that failed it
    at_once         boolean                        -- that failure ends it without waiting for the others
);

-- It returns something now.
drop function if exists workflow.advance(workflow.ended_task[], timestamptz);

-- Parents and children ------------------------------------------------------------------------------------------------

alter table workflow.workflows
    add column parent_task_id   bigint,            -- the task that waits for this workflow, or started it
    add column root_id          uuid,              -- the workflow at the top, where there is a parent
    add column output           jsonb;             -- where the definition has a template, or a terminate gave it
create index workflows_parent on workflow.workflows (parent_task_id) where parent_task_id is not null;
