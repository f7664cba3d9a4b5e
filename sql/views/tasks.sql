-- Tasks and attempts, as operators read them.

create or replace view workflow.task_list as
select t.id, t.workflow_id, s.id as step,
       workflow.path_of(t.id, t.step_index, s.id, s.scope, s.body) as path, s.type, t.status, t.attempt, t.tries, t.crashes, s.queue,
       t.worker_id, t.lease_until, t.pending_since, t.scheduled_at, t.started_at, t.finished_at, t.output, t.error,
       t.step_index, t.timeout_override,
       case when s.type = 'workflow' then (
           select max(w.id::text)::uuid from workflow.workflows w where w.parent_task_id = t.id) end as child_workflow_id,
       t.output_from,
       s.scope > 0 and (
           select c.replaced from workflow.scopes c where c.base = t.id - t.step_index) as replaced,
       (select workflow.trace_id(w.id, w.traceparent) from workflow.workflows w where w.id = t.workflow_id) as trace_id,
       case when t.attempt > 0 then workflow.span_id(t.id || '/' || t.attempt) end as span_id
from workflow.tasks t
join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index;
comment on view workflow.task_list is 'Tasks with names, paths and types; replaced: what they are part of began anew since; span_id: of the last attempt';

create or replace view workflow.attempts as
select h.task_id, h.attempt, h.workflow_id, h.outcome, h.worker_id, h.pending_since, h.started_at, h.ended_at, h.error,
       h.lease_token, workflow.span_id(h.task_id || '/' || h.attempt) as span_id
from workflow.attempt_history h
union all
select t.id, t.attempt, t.workflow_id, null, t.worker_id, t.pending_since, t.started_at, null, null, t.lease_token,
       workflow.span_id(t.id || '/' || t.attempt)
from workflow.tasks t
where t.status = 'running';
comment on view workflow.attempts is 'Every attempt that ended, and the running ones (outcome and ended_at are null)';
