-- What the columns of tasks, attempts and jobs are, and of what tasks wait for.

comment on column workflow.tasks.id is 'Base of its scope plus position of its step';
comment on column workflow.tasks.workflow_id is 'The workflow';
comment on column workflow.tasks.version_id is 'The version its step is of';
comment on column workflow.tasks.step_index is 'Position of its step in the plan';
comment on column workflow.tasks.status is 'blocked, pending, running, scheduled, waiting, succeeded, failed, skipped or cancelled';
comment on column workflow.tasks.priority is 'The step''s and the workflow''s together; higher goes first';
comment on column workflow.tasks.open_dependencies is 'Dependencies that have not ended';
comment on column workflow.tasks.succeeded_dependencies is 'Dependencies that succeeded';
comment on column workflow.tasks.failed_dependencies is 'Dependencies that failed';
comment on column workflow.tasks.skipped_dependencies is 'Dependencies that were skipped';
comment on column workflow.tasks.attempt is 'Number of the last claim';
comment on column workflow.tasks.tries is 'Attempts that count against the retry policy';
comment on column workflow.tasks.crashes is 'Claims whose worker was lost';
comment on column workflow.tasks.job_id is 'The job of the present attempt: pending, scheduled or running';
comment on column workflow.tasks.worker_id is 'The worker that claimed it last';
comment on column workflow.tasks.lease_token is 'Proves the present claim: what is reported with another is stale';
comment on column workflow.tasks.lease_until is 'Until when the worker has it, if it does not renew';
comment on column workflow.tasks.timeout_override is 'Seconds an attempt may take, by an operator''s retry';
comment on column workflow.tasks.pending_since is 'Ready to run since';
comment on column workflow.tasks.scheduled_at is 'Not before then: a retry, or the end of what it waits for';
comment on column workflow.tasks.first_started_at is 'Start of the first attempt under the present retry policy';
comment on column workflow.tasks.started_at is 'Start of the last attempt';
comment on column workflow.tasks.finished_at is 'When it ended; null = it is open';
comment on column workflow.tasks.output is 'What it came to';
comment on column workflow.tasks.error is 'Of the last attempt that failed: {"type", "message", "retryable", ...}';

comment on column workflow.attempt_history.task_id is 'The task';
comment on column workflow.attempt_history.attempt is 'Number of the claim, from 1';
comment on column workflow.attempt_history.workflow_id is 'The workflow';
comment on column workflow.attempt_history.outcome is 'succeeded, failed, retried, skipped, released, lost, cancelled or waiting';
comment on column workflow.attempt_history.worker_id is 'The worker it ran on';
comment on column workflow.attempt_history.lease_token is 'What proved the claim';
comment on column workflow.attempt_history.pending_since is 'Ready to run since';
comment on column workflow.attempt_history.started_at is 'When it was claimed';
comment on column workflow.attempt_history.ended_at is 'When its end was recorded';
comment on column workflow.attempt_history.error is 'What it failed with';

comment on column workflow.replaced_tasks.id is 'Of the task that was';
comment on column workflow.replaced_tasks.workflow_id is 'The workflow';
comment on column workflow.replaced_tasks.version_id is 'The version its step was of';
comment on column workflow.replaced_tasks.step_index is 'Position of that step';
comment on column workflow.replaced_tasks.replaced_at is 'When the workflow went on with another version';

comment on column workflow.task_logs.task_id is 'The task';
comment on column workflow.task_logs.attempt is 'Number of the attempt';
comment on column workflow.task_logs.lines is 'Oldest first: [{"time", "level", "message", "fields"}]';

comment on column workflow.records.id is 'Their order';
comment on column workflow.records.workflow_id is 'The workflow';
comment on column workflow.records.task_id is 'The task that stored it';
comment on column workflow.records.step is 'Name of its step';
comment on column workflow.records.data is 'What it stored';
comment on column workflow.records.created_at is 'When';

comment on column workflow.jobs.id is 'In the order in which jobs were made';
comment on column workflow.jobs.queue_name is 'The queue';
comment on column workflow.jobs.task_name is 'workflow:<task type>';
comment on column workflow.jobs.priority is 'Higher goes first';
comment on column workflow.jobs.lock is 'Not used';
comment on column workflow.jobs.queueing_lock is 'Not used';
comment on column workflow.jobs.args is '{"task_id": ...}';
comment on column workflow.jobs.status is 'todo, or doing while a worker has it';
comment on column workflow.jobs.scheduled_at is 'Not before then; in 9999: parked until what holds it back is over';
comment on column workflow.jobs.attempts is 'Not used';
comment on column workflow.jobs.abort_requested is 'Not used';
comment on column workflow.jobs.worker_id is 'The worker that has it, by its row in procrastinate_workers';

comment on column workflow.deadlines.task_id is 'The task';
comment on column workflow.deadlines.kind is 'schedule_to_start or schedule_to_close';
comment on column workflow.deadlines.at is 'When the time is over';
comment on column workflow.deadlines.seconds is 'As the step has it';
comment on column workflow.deadlines.attempt is 'The last attempt when it was set';

comment on column workflow.resources.kind is 'lock or limit';
comment on column workflow.resources.key is 'As rendered';
comment on column workflow.resources.spans is 'Seconds of the spans that rates of steps name for it';
comment on column workflow.resources.due_at is 'When units for the first in line are there again';

comment on column workflow.holds.kind is 'lock or limit';
comment on column workflow.holds.key is 'As rendered';
comment on column workflow.holds.task_id is 'The task that took it';
comment on column workflow.holds.attempt is 'The attempt that took it';
comment on column workflow.holds.workflow_id is 'The workflow';
comment on column workflow.holds.scope is 'task: until the attempt ends; workflow: until the workflow does';
comment on column workflow.holds.units is 'How many; of a lock 1';
comment on column workflow.holds.acquired_at is 'Since when';

comment on column workflow.waits.kind is 'lock or limit';
comment on column workflow.waits.key is 'As rendered';
comment on column workflow.waits.task_id is 'The task';
comment on column workflow.waits.workflow_id is 'The workflow';
comment on column workflow.waits.scope is 'task or workflow: how long it wants it';
comment on column workflow.waits.capacity is 'How many units there are in all, as its version says';
comment on column workflow.waits.units is 'How many it needs';
comment on column workflow.waits.priority is 'Higher goes first';
comment on column workflow.waits.since is 'Since when';
comment on column workflow.waits.woken_at is 'When it was told that it may have it; null = in line';
comment on column workflow.waits.rate_units is 'Of a rate: so many units';
comment on column workflow.waits.rate_seconds is 'Of a rate: in so many seconds';

comment on column workflow.spent_units.key is 'The limit';
comment on column workflow.spent_units.rate_seconds is 'Seconds of the span that some step names for it';
comment on column workflow.spent_units.slot is 'Number of the sixtieth of that span, since 1970';
comment on column workflow.spent_units.units is 'Spent in it';

comment on column workflow.signals.seq is 'In the order in which they came';
comment on column workflow.signals.workflow_id is 'To whom';
comment on column workflow.signals.name is 'Its name';
comment on column workflow.signals.payload is 'What it says';
comment on column workflow.signals.sent_by is 'Who sent it';
comment on column workflow.signals.key is 'Of idempotency: sent again with it, it is the same signal';
comment on column workflow.signals.at is 'When it came';
comment on column workflow.signals.taken_by is 'The task it is for';
comment on column workflow.signals.taken_at is 'When that task took it; null = its wait goes on';

comment on column workflow.signal_waits.task_id is 'The task that waits';
comment on column workflow.signal_waits.place is 'In the line';
comment on column workflow.signal_waits.workflow_id is 'The workflow';
comment on column workflow.signal_waits.name is 'Of the signal';
comment on column workflow.signal_waits.count is 'How many of them it waits for';
comment on column workflow.signal_waits.matches is 'There is a condition, and a worker looks at each';
comment on column workflow.signal_waits.after is 'Signals up to this one were looked at';
comment on column workflow.signal_waits.woken is 'A worker is about to look';

comment on column workflow.approvals.id is 'What POST /approvals/{approval_id} takes';
comment on column workflow.approvals.workflow_id is 'The workflow that asks';
comment on column workflow.approvals.task_id is 'The task that waits for the answer';
comment on column workflow.approvals.attempt is 'The attempt that asked';
comment on column workflow.approvals.prompt is 'The question';
comment on column workflow.approvals.form_schema is 'JSON Schema of the data that an answer may bring';
comment on column workflow.approvals.assignees is 'Who may answer; none named = everybody who may answer at all';
comment on column workflow.approvals.outcomes is 'The answers there are';
comment on column workflow.approvals.status is 'open, answered, expired or withdrawn';
comment on column workflow.approvals.created_at is 'When it was asked';
comment on column workflow.approvals.expires_at is 'Until when it can be answered';
comment on column workflow.approvals.outcome is 'The answer';
comment on column workflow.approvals.data is 'What the answer brought';
comment on column workflow.approvals.answered_by is 'Who answered';
comment on column workflow.approvals.answered_at is 'When';
comment on column workflow.approvals.closed_at is 'When it was over, however';

comment on column workflow.outbox.id is 'Also the id that receivers get, the same with each try';
comment on column workflow.outbox.seq is 'In the order in which they were emitted';
comment on column workflow.outbox.workflow_id is 'The workflow that emitted it';
comment on column workflow.outbox.task_id is 'The task that emitted it';
comment on column workflow.outbox.name is 'Its name';
comment on column workflow.outbox.payload is 'What it says';
comment on column workflow.outbox.kind is 'signal or webhook';
comment on column workflow.outbox.target is 'A workflow id or a URL; null = whoever waits for a signal of that name';
comment on column workflow.outbox.origin is 'Of a URL: scheme and host';
comment on column workflow.outbox.status is 'pending, delivered or dead (given up)';
comment on column workflow.outbox.tries is 'Tries so far';
comment on column workflow.outbox.created_at is 'When it was emitted';
comment on column workflow.outbox.due_at is 'Of the next try; of one that is being made, when it counts as lost';
comment on column workflow.outbox.delivered_at is 'When it was delivered';
comment on column workflow.outbox.error is 'Of the last try';
comment on column workflow.outbox.cursor is 'Of one without target: the last workflow it went to';
comment on column workflow.outbox.receivers is 'Of one without target: how many there were';
comment on column workflow.outbox.copy_of is 'Of one that such a one was split into; it is deleted when delivered';
