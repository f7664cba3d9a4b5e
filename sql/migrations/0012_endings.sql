-- How workflows end: what still runs when the outcome is certain, deadlines, and parents and children.

-- Endings -------------------------------------------------------------------------------------------------------------

-- Where the steps are that belong to the end of a version (see workflow.note_handlers).
alter table workflow.definition_versions
    add column output_step   integer,
    add column failure_step  integer,
    add column exit_step     integer,
    add column compensates   boolean not null default false,
    add column has_deadlines boolean not null default false; -- some step has schedule_to_start or schedule_to_close

alter table workflow.workflows
    add column has_ending    boolean not null default false, -- of its version
    add column ending        text,                           -- the status it is going to have; set while its ending lasts
    add column deadline      timestamptz,                    -- it fails if it has not begun to end by then
    add constraint workflows_ending check (ending in ('succeeded', 'failed', 'cancelled')) not valid,
    add constraint workflows_ending_live check (ending is null or finished_at is null) not valid;
comment on column workflow.workflows.ending is 'The status it is going to have, while handlers still run';
create index workflows_deadline on workflow.workflows (deadline)
    where deadline is not null and finished_at is null and ending is null;

-- One row per workflow whose ending lasts.
create table workflow.endings (
    workflow_id     uuid primary key,
    base            bigint not null,               -- of the ids of its own tasks (see workflow.task_base)
    phase           integer not null default 0,    -- 1 output, 2 compensations, 3 on_failure, 4 on_exit: under way or done with
    position        integer not null default 0     -- of the compensation under way
);
comment on table workflow.endings is 'How far workflows are in their endings';

-- What is to be undone, the last step first.
create table workflow.compensations (
    workflow_id     uuid not null,
    position        integer not null,
    task_id         bigint not null,               -- of the compensation
    step_index      integer not null,
    primary key (workflow_id, position)
);
comment on table workflow.compensations is 'Compensations that workflows owe, in the order in which they run';

-- A task of an ending that is about to be made.
create type workflow.handler as (
    workflow_id     uuid,
    version_id      integer,
    phase           integer,
    position        integer,
    task_id         bigint,
    step_index      integer,
    queue           text,
    type            text,
    priority        integer
);

-- Deadlines of tasks --------------------------------------------------------------------------------------------------

-- Rows only for steps that ask for it. One that is over by itself (the task was claimed, or has ended) is forgotten when its
-- time comes, so that claims and completions need not know of it.
create table workflow.deadlines (
    task_id         bigint not null,
    kind            text not null,                 -- 'schedule_to_start' or 'schedule_to_close'
    at              timestamptz not null,
    seconds         double precision not null,     -- as the step has it
    attempt         integer not null,              -- the last attempt when it was set
    primary key (task_id, kind)
);
comment on table workflow.deadlines is 'Deadlines of tasks that wait for a worker or for their end';
create index deadlines_at on workflow.deadlines (at);

-- Parents and children ------------------------------------------------------------------------------------------------

alter table workflow.workflows
    add column parent_id        uuid,
    add column depth            integer not null default 0,  -- how many parents are above it
    add column on_parent_cancel text;                        -- 'cancel' or 'abandon', of a child
create index workflows_parent_id on workflow.workflows (parent_id, id) where parent_id is not null;

-- A child has ended while somebody had its parent's task locked. Whoever leads wakes it.
-- (Neither table has a key that an insert might wait for.)
create table workflow.parents_to_wake (
    id              bigint generated always as identity primary key,
    task_id         bigint not null
);
comment on table workflow.parents_to_wake is 'Tasks that may not know yet that their child has ended';

-- A parent has ended or goes on without its child. Whoever leads cancels the child: a parent's commit never waits for it.
create table workflow.children_to_cancel (
    id              bigint generated always as identity primary key,
    workflow_id     uuid not null,
    reason          text not null
);
comment on table workflow.children_to_cancel is 'Children whose parents do not wait for them any more';

alter type workflow.starting
    add attribute has_ending boolean,
    add attribute deadline timestamptz,
    add attribute has_deadlines boolean,
    add attribute parent_task_id bigint,
    add attribute parent_id uuid,
    add attribute root_id uuid,
    add attribute depth integer,
    add attribute on_parent_cancel text;
