-- What nobody moves any more, one row per task (see functions/orphans.sql).

create or replace view workflow.orphaned as
select o.workflow_id, o.name, o.version, o.workflow_status, o.task_id, o.step, o.status, o.attempt, o.worker_id, o.worker,
       o.lease_until, o.reason, o.since
from workflow.orphaned_tasks() o;
comment on view workflow.orphaned is 'Tasks that make live workflows orphans, and why';
