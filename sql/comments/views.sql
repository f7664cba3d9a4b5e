-- What the columns of views are. Applied last of its directory: what a view takes over from a table is described as there.

do $$
declare
    v_view      text;
    v_table     text;
    v_column    text;
    v_comment   text;
begin
    for v_view, v_table in values
        ('workflow_list', 'workflows'), ('task_list', 'tasks'), ('attempts', 'attempt_history'), ('worker_list', 'workers'),
        ('workflow_log', 'events'), ('api_key_list', 'api_keys'), ('audit_list', 'audit'), ('approval_list', 'approvals'),
        ('signal_list', 'signals'), ('outbox_list', 'outbox'), ('version_list', 'definition_versions'),
        ('alert_list', 'alerts'), ('engine_list', 'engines')
    loop
        for v_column, v_comment in
            select a.attname, col_description(t.attrelid, t.attnum)
            from pg_attribute a
            join pg_attribute t on t.attname = a.attname and t.attnum > 0
            where a.attrelid = ('workflow.' || v_view)::regclass and t.attrelid = ('workflow.' || v_table)::regclass and a.attnum > 0
        loop
            execute format('comment on column workflow.%I.%I is %L', v_view, v_column, v_comment);
        end loop;
    end loop;
    foreach v_view in array '{invariant_violations,broken_workflows,broken_jobs,broken_history,broken_holds,broken_waits,broken_scopes}'::text[] loop
        execute format('comment on column workflow.%I.invariant is %L', v_view, 'What does not hold, as a sentence');
        execute format('comment on column workflow.%I.instant is %L', v_view,
                       'It holds in every snapshot; false: somebody is to see to it within a minute, and has not');
        execute format('comment on column workflow.%I.workflow_id is %L', v_view, 'Of which workflow; null = of none');
        execute format('comment on column workflow.%I.task_id is %L', v_view, 'Of which task; null = of none');
        execute format('comment on column workflow.%I.found is %L', v_view, 'What was found in its place');
    end loop;
end
$$;

comment on column workflow.workflow_list.output is 'What it came to; null while it lives';
comment on column workflow.workflow_list.paused_at is 'An operator or a budget paused it then; null = it is not paused, or has ended';
comment on column workflow.workflow_list.latest_version is 'Number of the newest version of its definition';

comment on column workflow.task_list.step is 'Name of its step in the document';
comment on column workflow.task_list.path is 'Where that is: process[3].fetch';
comment on column workflow.task_list.type is 'Its task type';
comment on column workflow.task_list.queue is 'The queue it goes to';
comment on column workflow.task_list.child_workflow_id is 'The workflow it started';
comment on column workflow.workflow_list.trace_id is 'The trace it belongs to, as 32 hexadecimal digits';
comment on column workflow.workflow_list.has_budget is 'Whether it counts against a budget, its own or that of a workflow above it';

comment on column workflow.task_list.trace_id is 'The trace its workflow belongs to, as 32 hexadecimal digits';
comment on column workflow.task_list.span_id is 'The span of its last attempt, as 16 hexadecimal digits';
comment on column workflow.task_list.replaced is 'What it is part of began anew since';

comment on column workflow.attempts.span_id is 'Its span, as 16 hexadecimal digits';
comment on column workflow.attempts.outcome is 'As in attempt_history; null = it runs';
comment on column workflow.attempts.ended_at is 'When its end was recorded; null = it runs';

comment on column workflow.worker_list.status is 'active, draining, stopped or dead: three heartbeats late without a goodbye';
comment on column workflow.worker_list.age_seconds is 'Time since its last heartbeat';
comment on column workflow.worker_list.current_tasks is 'Ids of the tasks it runs; of a dead one, what is not taken back yet';
comment on column workflow.worker_list.lost_tasks is 'Ids of the tasks that were taken back from it';

comment on column workflow.queue_depth.queue is 'The queue';
comment on column workflow.queue_depth.pending is 'Tasks that a worker may take now';
comment on column workflow.queue_depth.scheduled is 'Tasks that may be taken later: retries, and waits with an end';
comment on column workflow.queue_depth.running is 'Tasks that workers have';
comment on column workflow.queue_depth.held is 'Tasks that are held back: paused, in line, or waiting for a lock or limit';

comment on column workflow.version_list.latest_version is 'Number of the newest version';
comment on column workflow.version_list.pinned_version is 'When set, new workflows start on it instead of the latest';
comment on column workflow.version_list.active_runs is 'Live workflows that run on it';
comment on column workflow.version_list.pinned_runs is 'Live workflows that are pinned to it';
comment on column workflow.version_list.is_default is 'New workflows start on it';

comment on column workflow.lock_list.kind is 'lock or limit';
comment on column workflow.lock_list.key is 'As rendered';
comment on column workflow.lock_list.used is 'Units that are taken';
comment on column workflow.lock_list.holding is 'How many hold some';
comment on column workflow.lock_list.waiting is 'How many wait';
comment on column workflow.lock_list.holders is 'Who holds how much and since when, the first 100';
comment on column workflow.lock_list.waiters is 'Who waits for how much and since when, the next 100';
comment on column workflow.lock_list.capacity is 'Of a limit: units in all, as the steps say that name it; null = any number, or a lock';

comment on column workflow.why.workflow_id is 'The workflow';
comment on column workflow.why.task_id is 'The task';
comment on column workflow.why.step is 'Its path';
comment on column workflow.why.status is 'Its status';
comment on column workflow.why.reason is 'In one word; docs/why.md has all of them';
comment on column workflow.why.explanation is 'As a sentence';
comment on column workflow.why.since is 'Since when';
comment on column workflow.why.until is 'Until when, where it ends by itself';
comment on column workflow.why.command is 'What helps, to type';
comment on column workflow.why.details is 'The facts behind it';

comment on column workflow.orphaned.workflow_id is 'The workflow';
comment on column workflow.orphaned.name is 'Its definition';
comment on column workflow.orphaned.version is 'Number of the version it runs on';
comment on column workflow.orphaned.workflow_status is 'Its status';
comment on column workflow.orphaned.task_id is 'The task that nobody moves';
comment on column workflow.orphaned.step is 'Its path';
comment on column workflow.orphaned.status is 'Its status';
comment on column workflow.orphaned.attempt is 'Number of its last claim';
comment on column workflow.orphaned.worker_id is 'The worker that claimed it';
comment on column workflow.orphaned.worker is 'The name of that worker';
comment on column workflow.orphaned.lease_until is 'Until when that worker had it';
comment on column workflow.orphaned.reason is 'Why nobody moves it';
comment on column workflow.orphaned.since is 'Since when';

comment on column workflow.workflow_log.step is 'Path of the task';
comment on column workflow.workflow_log.step_type is 'Its task type';
comment on column workflow.workflow_log.worker is 'Name of the worker of that attempt';
comment on column workflow.workflow_log.outcome is 'Of that attempt';
comment on column workflow.workflow_log.seconds is 'How long that attempt took';
comment on column workflow.workflow_log.lines is 'What the handler logged, with the event that ended the attempt';

comment on column workflow.approval_list.name is 'Definition of the workflow';
comment on column workflow.approval_list.step is 'Name of the step that asks';
comment on column workflow.approval_list.by is 'Who answered';
comment on column workflow.approval_list.at is 'When it was answered';

comment on column workflow.signal_list.by is 'Who sent it';
comment on column workflow.signal_list.taken_by is 'The task that took it';

comment on column workflow.outbox_list.due_at is 'Of the next try; null = there is none';

comment on column workflow.api_key_list.status is 'active, expired or revoked';
