-- Scopes that run again: a retry goes on inside the task that had opened them.

-- What the task waited for, without the instances: it does so again when some of its scopes run again.
alter table workflow.groups add column awaits jsonb;
comment on column workflow.groups.awaits is 'What the task waits for, or waited for last';

-- The next one to start is found at once, also where some run again.
drop index workflow.scopes_parent;
create index scopes_parent on workflow.scopes (parent_task_id, round);
create index scopes_blocked on workflow.scopes (parent_task_id, round, position) where status = 'blocked';
