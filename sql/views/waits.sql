-- Signals, approvals and the outbox, as operators read them.

create or replace view workflow.signal_list as
select s.seq, s.workflow_id, s.name, s.payload, s.sent_by as by, s.key, s.at, s.taken_at,
       case when s.taken_at is not null then s.taken_by end as taken_by
from workflow.signals s;
comment on view workflow.signal_list is 'What was sent to workflows, and which task took it';

create or replace view workflow.approval_list as
select a.id, a.workflow_id, w.name, a.task_id, s.id as step, a.attempt,
       case when a.status = 'open' and a.expires_at <= workflow.clock() then 'expired' else a.status end as status,
       a.prompt, a.form_schema, a.assignees, a.outcomes, a.created_at, a.expires_at, a.outcome, a.data, a.answered_by as by,
       a.answered_at as at, a.closed_at
from workflow.approvals a
left join workflow.workflows w on w.id = a.workflow_id
left join workflow.tasks t on t.id = a.task_id
left join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index;
comment on view workflow.approval_list is 'Questions to people, and their answers';

create or replace view workflow.outbox_list as
select o.id, o.workflow_id, o.task_id, o.name, o.payload, o.kind, o.target, o.status, o.tries, o.created_at,
       case when o.status = 'pending' then o.due_at end as due_at, o.delivered_at, o.error, o.receivers
from workflow.outbox o
where o.copy_of is null;
comment on view workflow.outbox_list is 'What workflows have emitted, and how far its delivery is';
