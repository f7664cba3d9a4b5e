-- What handlers log about an attempt, kept with its end.

create table workflow.task_logs (
    task_id         bigint not null,
    attempt         integer not null,
    lines           jsonb not null,                -- list of {"time", "level", "message", "fields"}, oldest first
    primary key (task_id, attempt)
);
comment on table workflow.task_logs is 'What handlers logged through ctx.log, one row for an attempt that logged anything';
