-- The engine's jobs get a table of their own that inherits procrastinate's: what asks procrastinate_jobs (its tools, its
-- functions, your SQL) finds and changes them there as before, but its per-row triggers (a notification, events), its
-- foreign keys and its eight indexes are not theirs. They had cost a third of the processor time of a step.
--
-- Jobs of others stay where they were, in a table that is now exactly as procrastinate made it.

-- Whoever is writing jobs finishes first. A start that waits here goes on to insert into procrastinate's table;
-- sweep_lost_jobs gives such tasks a job.
lock table procrastinate_jobs in access exclusive mode;

create table workflow.jobs () inherits (procrastinate_jobs) with (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000);
comment on table workflow.jobs is 'The jobs of tasks: one per pending, scheduled or running attempt; part of procrastinate_jobs';

with moved as (
    delete from only procrastinate_jobs j where starts_with(j.task_name, 'workflow:') returning *
)
insert into workflow.jobs (id, queue_name, task_name, priority, args, status, scheduled_at, attempts, worker_id)
select m.id, m.queue_name, m.task_name, m.priority, m.args, m.status, m.scheduled_at, m.attempts, m.worker_id
from moved m;

alter table workflow.jobs add primary key (id);
-- A claim reads the first in order and stops at its limit; the second finds jobs that became due, the third the parked ones
-- (see workflow.never; an index cannot call it), the last the running ones.
create index jobs_ready on workflow.jobs (queue_name, priority desc, id) where status = 'todo' and scheduled_at is null;
create index jobs_due on workflow.jobs (queue_name, scheduled_at) where status = 'todo' and scheduled_at is not null;
create index jobs_parked on workflow.jobs (id)
    where status = 'todo' and scheduled_at = timestamptz '9999-12-31 00:00:00+00';
create index jobs_claimed on workflow.jobs (worker_id) where status = 'doing';

drop index if exists workflow_ready_idx, workflow_due_idx, workflow_parked_idx;
alter table procrastinate_jobs reset (
    autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
    autovacuum_analyze_scale_factor, autovacuum_analyze_threshold, fillfactor);
