-- How long a workflow lay ended between its failure and the retry that had it go on: its running time is told without. Both are
-- null for those that were never gone on with, so that the row of no other is any longer.
alter table workflow.workflows
    add column idle interval,
    add column retried_at timestamptz;
