-- What happened to a workflow, as its log shows it: its events with the names of step and worker, in causal order (seq).
-- Ask with `where workflow_id = ...`; every row costs lookups by key and nothing else.

create or replace view workflow.workflow_log as
select e.workflow_id, e.seq, e.at, e.type, e.task_id, e.attempt, workflow.path_of(e.task_id, t.step_index, s.id, s.scope, s.body) as step, s.type as step_type, k.name as worker,
       h.outcome, extract(epoch from h.ended_at - h.started_at)::double precision as seconds, e.data,
       l.lines
from workflow.events e
left join lateral (
    select t.version_id, t.step_index, t.attempt, t.worker_id from workflow.tasks t where t.id = e.task_id
    union all
    select r.version_id, r.step_index, null, null from workflow.replaced_tasks r where r.id = e.task_id
    offset 0) t on true
left join lateral (
    select s.id, s.type, s.scope, s.body from workflow.definition_steps s
    where s.version_id = t.version_id and s.step_index = t.step_index offset 0) s on true
left join lateral (
    select h.outcome, h.worker_id, h.started_at, h.ended_at from workflow.attempt_history h
    where h.workflow_id = e.workflow_id and h.task_id = e.task_id and h.attempt = e.attempt offset 0) h on true
left join lateral (
    select k.name from workflow.workers k
    where k.id = coalesce(h.worker_id, case when t.attempt = e.attempt then t.worker_id end) offset 0) k on true
left join lateral (
    -- With the event that ended the attempt.
    select l.lines from workflow.task_logs l
    where l.task_id = e.task_id and l.attempt = e.attempt and e.type = 'task.' || h.outcome offset 0) l on true;
comment on view workflow.workflow_log is 'What happened to workflows, with the names of steps and workers';
