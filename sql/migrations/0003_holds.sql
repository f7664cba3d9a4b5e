-- Finding what is held back.

-- The parked jobs alone (see workflow.never; an index cannot call it). A job of the hot path is never in it.
create index workflow_parked_idx on procrastinate_jobs (id)
    where status = 'todo' and scheduled_at = timestamptz '9999-12-31 00:00:00+00';

-- A task that was woken has its place no more, but it may not have been claimed yet: until it is, what it was woken for
-- counts as taken, for a few seconds.
alter table workflow.waits add column woken_at timestamptz;
create index waits_in_line on workflow.waits (kind, key, priority desc, since, task_id) where woken_at is null;
create index waits_woken on workflow.waits (kind, key, woken_at) where woken_at is not null;
-- By the task first, so that no other index begins with the key: a plan from when the table was small would walk the line.
alter table workflow.waits drop constraint waits_pkey, add primary key (task_id, kind, key);
drop index workflow.waits_task;

-- What a task must get before it may run.
create type workflow.need as (
    task_id         bigint,
    job_id          bigint,
    workflow_id     uuid,
    attempt         integer,                       -- the one that is to begin
    priority        integer,
    since           timestamptz,                   -- pending since
    kind            text,
    key             text,
    scope           text,
    capacity        integer,
    units           integer
);
