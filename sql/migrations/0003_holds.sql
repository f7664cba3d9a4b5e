-- Finding what is held back.

-- The parked jobs alone (see workflow.never; an index cannot call it). A job of the hot path is never in it.
create index workflow_parked_idx on procrastinate_jobs (id)
    where status = 'todo' and scheduled_at = timestamptz '9999-12-31 00:00:00+00';
