-- Why live workflows do not go on. Ask for one workflow (`where workflow_id = ...`) and it costs what that workflow costs;
-- for all of them it explains each in turn.

create or replace view workflow.why as
select w.id as workflow_id, e.task_id, e.step, e.status, e.reason, e.explanation, e.since, e.until, e.command, e.details
from workflow.workflows w
cross join lateral workflow.explain(w.id) e
where w.finished_at is null;
comment on view workflow.why is 'For each task of live workflows that has not ended: the reason in plain words, and what helps';
