-- What the columns of workflows are, the executions of definitions, and of what belongs to one as a whole.

comment on column workflow.workflows.id is 'Time-ordered: a greater id was started later (workflow.time_of tells when)';
comment on column workflow.workflows.version_id is 'The version it runs on: workflow.definition_versions.id';
comment on column workflow.workflows.name is 'Its definition';
comment on column workflow.workflows.version is 'Number of the version it runs on';
comment on column workflow.workflows.status is 'pending, running, succeeded, failed or cancelled';
comment on column workflow.workflows.input is 'What it was started with';
comment on column workflow.workflows.labels is 'Names and values to find it by';
comment on column workflow.workflows.priority is 'Added to those of its steps; higher goes first';
comment on column workflow.workflows.fail_fast is 'The first failure that is not tolerated ends it at once';
comment on column workflow.workflows.open_tasks is 'Tasks not ended that no open task waits for: 0 is the end';
comment on column workflow.workflows.error is 'Of the first task that failed it: {"type", "message", ...}';
comment on column workflow.workflows.idle is 'How long it lay ended before it was retried, in all; null = it never was';
comment on column workflow.workflows.retried_at is 'When a retry had it go on last, after it had ended';
comment on column workflow.workflows.created_at is 'When it was accepted';
comment on column workflow.workflows.started_at is 'When the first of its tasks was claimed';
comment on column workflow.workflows.finished_at is 'When it ended; null = it lives';
comment on column workflow.workflows.paused_by is 'Who paused it; null = it is not known, or its budget did';
comment on column workflow.workflows.paused_reason is 'Why, as whoever paused it said';
comment on column workflow.workflows.pinned_version is 'Retries and reruns of it use this version';
comment on column workflow.workflows.unpinned_version is 'Its version before it was pinned';
comment on column workflow.workflows.parent_task_id is 'The task that waits for it, or started it';
comment on column workflow.workflows.root_id is 'The workflow at the top, where there is a parent';
comment on column workflow.workflows.output is 'What the definition''s template or a terminate gave; null = made of the final steps when it is read';
comment on column workflow.workflows.has_ending is 'More may follow when its last step has ended';
comment on column workflow.workflows.deadline is 'It fails if it has not begun to end by then';
comment on column workflow.workflows.parent_id is 'The workflow that started it';
comment on column workflow.workflows.depth is 'How many parents are above it';
comment on column workflow.workflows.on_parent_cancel is 'Of a child: cancel or abandon';
comment on column workflow.workflows.budgets is 'The workflows whose budgets it counts against: itself, and those above it';

comment on column workflow.scopes.base is 'Base of the ids of its tasks';
comment on column workflow.scopes.workflow_id is 'The workflow';
comment on column workflow.scopes.version_id is 'The version it runs on';
comment on column workflow.scopes.scope is 'Its number in the version: workflow.definition_scopes.scope';
comment on column workflow.scopes.parent_task_id is 'The task that opened it and waits for it';
comment on column workflow.scopes.round is 'The attempt of that task that made it';
comment on column workflow.scopes.position is 'Of an item from 0, of an iteration from 1, else 0';
comment on column workflow.scopes.bases is 'Bases of all scopes around it from the outermost, and its own';
comment on column workflow.scopes.path is 'How people call it: process[3]';
comment on column workflow.scopes.variables is 'What its expressions see beside the steps: item, index, iteration, last, error';
comment on column workflow.scopes.status is 'blocked, running, succeeded, failed or cancelled';
comment on column workflow.scopes.open_tasks is 'Tasks not ended that no open task waits for: 0 is the end';
comment on column workflow.scopes.error is 'Of the first task that failed it';
comment on column workflow.scopes.replaced is 'Its parent was tried again, and opened others since';
comment on column workflow.scopes.started_at is 'When it started';
comment on column workflow.scopes.finished_at is 'When it ended';

comment on column workflow.groups.task_id is 'The task that waits for its scopes';
comment on column workflow.groups.workflow_id is 'The workflow';
comment on column workflow.groups.round is 'The attempt of the task that opened them';
comment on column workflow.groups.total is 'How many scopes there are';
comment on column workflow.groups.started is 'How many have started, in the order of their positions';
comment on column workflow.groups.open is 'How many are open';
comment on column workflow.groups.failed is 'How many have failed';
comment on column workflow.groups.width is 'So many are open at a time';
comment on column workflow.groups.tolerated is 'So many may fail';
comment on column workflow.groups.error is 'Of the first that failed';

comment on column workflow.endings.workflow_id is 'The workflow whose ending lasts';
comment on column workflow.endings.base is 'Base of the ids of its own tasks';
comment on column workflow.endings.phase is '1 output, 2 compensations, 3 on_failure, 4 on_exit: under way or done with';
comment on column workflow.endings.position is 'Of the compensation under way';

comment on column workflow.compensations.workflow_id is 'The workflow';
comment on column workflow.compensations.position is 'Their order, from the last step that was done';
comment on column workflow.compensations.task_id is 'The task that is to undo a step';
comment on column workflow.compensations.step_index is 'Position of the compensation in the plan';

comment on column workflow.parents_to_wake.id is 'Their order';
comment on column workflow.parents_to_wake.task_id is 'The task of the parent';

comment on column workflow.children_to_cancel.id is 'Their order';
comment on column workflow.children_to_cancel.workflow_id is 'The child';
comment on column workflow.children_to_cancel.reason is 'Why it is to be cancelled';

comment on column workflow.events.seq is 'Grows; within a workflow what follows from an event has a higher number';
comment on column workflow.events.workflow_id is 'The workflow';
comment on column workflow.events.type is 'What happened: task.started, task.failed, workflow.paused, ...';
comment on column workflow.events.task_id is 'The task; null = it is of the whole workflow';
comment on column workflow.events.attempt is 'Number of the attempt, where it is of one';
comment on column workflow.events.at is 'When';
comment on column workflow.events.data is 'What else there is to say, by type: errors, who did it, delays';

comment on column workflow.history_partitions.name is 'Of the table';
comment on column workflow.history_partitions.parent is 'events or attempt_history';
comment on column workflow.history_partitions.lower is 'No workflow id before it; null: the default partition';
comment on column workflow.history_partitions.upper is 'This workflow id no more; null: the default partition';
comment on column workflow.history_partitions.left_over is 'It has rows of workflows that were deleted';
comment on column workflow.history_partitions.cleaned is 'Blocks that were searched for such rows';
comment on column workflow.history_partitions.rules is 'The retention by which this was done; null = never yet';
comment on column workflow.history_partitions.began_at is 'Begin of the present round over its workflows';
comment on column workflow.history_partitions.walked is 'They were looked at up to this id';
comment on column workflow.history_partitions.kept is 'So many of those stay for now';
comment on column workflow.history_partitions.again_at is 'The first of them until then';

comment on column workflow.start_keys.name is 'The definition';
comment on column workflow.start_keys.key is 'As rendered; @schedule <time> is the start of a schedule for that time';
comment on column workflow.start_keys.workflow_id is 'The workflow it started';
comment on column workflow.start_keys.expires_at is 'From then on it may start another; null = as long as the workflow is kept';

comment on column workflow.idempotency_keys.principal is 'Whose key it is: nobody else meets it';
comment on column workflow.idempotency_keys.key is 'The header Idempotency-Key';
comment on column workflow.idempotency_keys.fingerprint is 'Of the request: the same key with another one is refused';
comment on column workflow.idempotency_keys.response is 'What was answered';
comment on column workflow.idempotency_keys.created_at is 'When; kept for a day';

comment on column workflow.concurrency_keys.key is 'As rendered; whoever gives or frees a place at it holds this row';

comment on column workflow.places.id is 'In the order of the starts';
comment on column workflow.places.key is 'The concurrency key';
comment on column workflow.places.workflow_id is 'The workflow';
comment on column workflow.places.capacity is 'It may enter while fewer than so many are in';
comment on column workflow.places.front is 'It takes the place of one that was cancelled for it';
comment on column workflow.places.priority is 'Higher goes first';
comment on column workflow.places.entered_at is 'When it was let in; null = in line';

comment on column workflow.budgets.workflow_id is 'The workflow whose budget it is; those below it count, too';
comment on column workflow.budgets.bounds is '{"tokens" | "cost_usd" | "steps": {"soft"?, "hard"?}}';
comment on column workflow.budgets.on_exceeded is 'What a hard bound does: pause, fail or cancel';
comment on column workflow.budgets.tokens is 'Used so far';
comment on column workflow.budgets.cost_usd is 'Used so far, in US dollars';
comment on column workflow.budgets.steps is 'Attempts of steps that have finished so far';
comment on column workflow.budgets.told is 'Soft bounds that were reached';
comment on column workflow.budgets.exceeded is 'Hard bounds that are reached';
comment on column workflow.budgets.exceeded_at is 'Since when';
comment on column workflow.budgets.paused is 'Workflows that were paused for it';
comment on column workflow.budgets.unreported is 'Bounds reached that the leader has not told yet';
comment on column workflow.budgets.attention is 'The leader is to look at it';
