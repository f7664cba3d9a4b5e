-- Claims while what ended cannot be cleaned up (functions/ready_jobs.sql).

-- Jobs that became ready after they were made have old ids: they are found in the order of waking. They are few, and a job of the
-- hot path is never in the index.
alter table workflow.jobs add column woken_at timestamptz;
comment on column workflow.jobs.woken_at is 'When the job became ready (woken, unparked); null if it was made so';
create index jobs_woken on workflow.jobs (queue_name, woken_at)
    where status = 'todo' and scheduled_at is null and woken_at is not null;
