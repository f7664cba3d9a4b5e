-- Workflows, as operators read them. The output is what the definition's template or a `terminate` gave, else an object of the
-- outputs of the final steps, by step id.

create or replace view workflow.workflow_list as
select w.id, w.name, w.version, w.status, w.input, w.labels, w.priority, w.error, w.created_at, w.started_at,
       w.finished_at, w.open_tasks,
       case when w.finished_at is null then null
            when w.output is not null then w.output
            when w.status = 'succeeded' then (
                select coalesce(jsonb_object_agg(s.id, t.output), '{}')
                from workflow.tasks t
                join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
                where t.workflow_id = w.id and t.status = 'succeeded' and s.successors = '{}' and s.scope = 0
                  and s.kind = 'step') end as output,
       case when w.finished_at is null then w.paused_at end as paused_at,
       w.pinned_version, (select d.latest_version from workflow.definitions d where d.name = w.name) as latest_version,
       w.ending, w.deadline, w.parent_id, w.parent_task_id, w.root_id, w.rerun_of, w.created_by, w.traceparent,
       workflow.trace_id(w.id, w.traceparent) as trace_id, w.idle, w.retried_at,
       case when w.finished_at is null and w.paused_at is not null then w.paused_by end as paused_by,
       case when w.finished_at is null and w.paused_at is not null then w.paused_reason end as paused_reason,
       w.budgets is not null as has_budget
from workflow.workflows w;
comment on view workflow.workflow_list is 'Workflows with their output';
