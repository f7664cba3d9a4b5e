-- How it was: where the engine stood, every ten seconds for a day.
create table workflow.samples (
    at              timestamptz primary key,
    pending         bigint not null,
    running         bigint not null,
    active_workflows bigint not null,
    attempts_ended  bigint not null,
    queues          jsonb not null
);
comment on table workflow.samples is 'Where the engine stood, every ten seconds for a day; what the pages draw lines of';
comment on column workflow.samples.at is 'When it was looked';
comment on column workflow.samples.pending is 'Pending tasks of all queues';
comment on column workflow.samples.running is 'Running tasks of all queues';
comment on column workflow.samples.active_workflows is 'Workflows that had not ended';
comment on column workflow.samples.attempts_ended is 'Attempts that have ended since the statistics of Postgres were reset last, about: differences count';
comment on column workflow.samples.queues is 'Pending tasks by queue';
