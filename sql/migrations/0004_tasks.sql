-- Orphaned workflows, and what dead workers held.

-- What was taken back from a worker; rare, so it costs the hot path nothing.
create index attempt_history_lost on workflow.attempt_history (worker_id) where outcome = 'lost';

-- They have more arguments and columns now.
drop function if exists workflow.lost_claims(bigint[], uuid[], integer, timestamptz);
drop function if exists workflow.sweep_expired_leases(integer, double precision, integer);

-- A task that makes its workflow an orphan.
create type workflow.orphaned_task as (
    workflow_id     uuid,
    name            text,
    version         integer,
    workflow_status text,
    task_id         bigint,
    step            text,
    status          text,
    attempt         integer,
    worker_id       bigint,
    worker          text,
    lease_until     timestamptz,
    reason          text,
    since           timestamptz
);

-- Tasks that did not stay when their workflow went on with another version: what their attempts and events refer to.
create table workflow.replaced_tasks (
    id              bigint primary key,
    workflow_id     uuid not null,
    version_id      integer not null,
    step_index      integer not null,
    replaced_at     timestamptz not null
);
comment on table workflow.replaced_tasks is 'Attempted tasks that were replaced when their workflow went on with another version';
create index replaced_tasks_workflow on workflow.replaced_tasks (workflow_id);
