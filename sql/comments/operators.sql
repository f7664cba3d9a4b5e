-- What the columns of workers are, of the engine as a whole, and of who may do what.

comment on column workflow.workers.id is 'Given at its registration: a process that comes back is another worker';
comment on column workflow.workers.name is 'WORKFLOW_WORKER_NAME, else host and pid';
comment on column workflow.workers.host is 'Where it runs';
comment on column workflow.workers.pid is 'Its process there';
comment on column workflow.workers.version is 'Of workflow-engine';
comment on column workflow.workers.queues is 'The queues it serves';
comment on column workflow.workers.task_types is 'The task types it can run';
comment on column workflow.workers.concurrency is 'Tasks it runs at once';
comment on column workflow.workers.status is 'active, draining or stopped, as it said last';
comment on column workflow.workers.queue_worker_id is 'Its row in procrastinate_workers';
comment on column workflow.workers.rss_bytes is 'Memory it holds, as of its last heartbeat';
comment on column workflow.workers.heartbeat_seconds is 'Time between its heartbeats';
comment on column workflow.workers.started_at is 'When it registered';
comment on column workflow.workers.last_heartbeat_at is 'Its last sign of life';
comment on column workflow.workers.stopped_at is 'When it said goodbye';
comment on column workflow.workers.drained_at is 'An operator lets it claim nothing since then; null = it claims';
comment on column workflow.workers.drained_by is 'Which operator; null = it is not known';

comment on column workflow.samples.oldest is 'Seconds for which the oldest pending task had waited, by queue';

comment on column workflow.engine.only_row is 'There is one row';
comment on column workflow.engine.paused_at is 'It accepts and starts nothing new since then';
comment on column workflow.engine.paused_until is 'By itself resumed from then on; null = until somebody resumes it';
comment on column workflow.engine.paused_by is 'Who paused it';
comment on column workflow.engine.paused_reason is 'Why, as whoever paused it said';

comment on column workflow.api_keys.id is 'Part of the key''s text; no secret';
comment on column workflow.api_keys.name is 'Of the principal; several keys may have it';
comment on column workflow.api_keys.roles is 'viewer, starter, operator, author, admin';
comment on column workflow.api_keys.groups is 'What else the principal is called among the assignees of approvals';
comment on column workflow.api_keys.hash is 'SHA-256 of its secret';
comment on column workflow.api_keys.created_at is 'When it was made';
comment on column workflow.api_keys.expires_at is 'When it ends by itself; null = never';
comment on column workflow.api_keys.revoked_at is 'When it was revoked';
comment on column workflow.api_keys.last_used_at is 'When it was used last, to the minute';

comment on column workflow.audit.id is 'Their order';
comment on column workflow.audit.at is 'When it was answered';
comment on column workflow.audit.principal is 'Who asked; null = it is not known';
comment on column workflow.audit.key_id is 'With which key';
comment on column workflow.audit.address is 'From where';
comment on column workflow.audit.request_id is 'Also in the log line of the request';
comment on column workflow.audit.method is 'Of the request; SQL = none: a key was made or ended';
comment on column workflow.audit.path is 'Of the request, with its query';
comment on column workflow.audit.operation is 'operationId of the OpenAPI document';
comment on column workflow.audit.workflow_id is 'The workflow it was about';
comment on column workflow.audit.status is 'Of the answer; 499 = nobody waited for it';
comment on column workflow.audit.times is 'How often the like of it was refused within seconds';
comment on column workflow.audit.reason is 'Why, as who asked said';

comment on table workflow.migrations is 'What workflow-engine migrate has applied';
comment on column workflow.migrations.name is 'Of the migration; `functions and views` is their present text';
comment on column workflow.migrations.checksum is 'SHA-256 of its text';
comment on column workflow.migrations.applied_at is 'When';

comment on column workflow.step_role.role_name is 'The role';
comment on column workflow.step_role.password is 'Its password: whoever may read this may complete tasks';

comment on sequence workflow.task_base is 'Bases of the ids of tasks, 65,536 apart';
comment on sequence workflow.event_seq is 'Numbers of events';
comment on sequence workflow.leader_epoch is 'Numbers of leads: what an earlier leader still writes to Redis is refused there';

comment on type workflow.completion is 'Internal: how an attempt ended';
comment on type workflow.ended_task is 'Internal: a task that has ended';
comment on type workflow.ready_task is 'Internal: a task that is to get a job';
comment on type workflow.successor is 'Internal: a successor of tasks that ended';
comment on type workflow.starting is 'Internal: a workflow about to be started';
comment on type workflow.need is 'Internal: what a task must get before it may run';
comment on type workflow.orphaned_task is 'A row of workflow.orphaned_tasks';
comment on type workflow.waiting_task is 'Internal: a task that begins to wait';
comment on type workflow.effect is 'Internal: what else the end of an attempt does';
comment on type workflow.scope_fact is 'Internal: what ended tasks mean for a scope';
comment on type workflow.handler is 'Internal: a task of an ending that is about to be made';
comment on type workflow.start_key is 'Internal: a key by which a start is recognised';
comment on type workflow.place is 'Internal: a place at a concurrency key that a start asks for';
comment on type workflow.charge is 'Internal: what a workflow has used up';
comment on type workflow.rerun_step is 'Internal: what becomes of a step in a rerun';

comment on column workflow.access_grants.role_name is 'The role';
comment on column workflow.access_grants.access is 'engine, worker, reader, auditor or scaler (docs/operations.md)';
comment on column workflow.access_grants.granted_at is 'When it was granted';
