-- What must hold of the data, and does not: no row means that everything is sound. A row says which invariant is broken, of
-- which workflow and task (null where it is of none), and what was found.
--
-- instant   it holds in every snapshot, whatever is under way. The others are what somebody is to do within a minute (the leader,
--           mostly): they say that nobody does.
--
-- All of it reads all of the history. On a live system ask for some workflows, `where workflow_id = any(array[...])`, which
-- costs what they cost, or let the function of the same name take a sample.
create or replace view workflow.invariant_violations as
select x.invariant, x.instant, x.workflow_id, x.task_id, x.found from workflow.broken_workflows x
union all
select x.invariant, x.instant, x.workflow_id, x.task_id, x.found from workflow.broken_jobs x
union all
select x.invariant, x.instant, x.workflow_id, x.task_id, x.found from workflow.broken_history x
union all
select x.invariant, x.instant, x.workflow_id, x.task_id, x.found from workflow.broken_holds x
union all
select x.invariant, x.instant, x.workflow_id, x.task_id, x.found from workflow.broken_waits x
union all
select x.invariant, x.instant, x.workflow_id, x.task_id, x.found from workflow.broken_scopes x;
comment on view workflow.invariant_violations is 'What must hold of the data and does not; no rows: it is sound';
