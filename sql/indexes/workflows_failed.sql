-- For the pages: the newest workflows that failed, among millions that did not. Not by their status, for a workflow that
-- begins to run changes it, and that is to stay a HOT update; the error is written when it ends, with finished_at.
create index concurrently workflows_failed on workflow.workflows (id) where error is not null
