-- Who changed what of a task type, and workers that an operator lets claim nothing.

create table workflow.task_type_changes (
    name            text not null,
    at              timestamptz not null,
    by              text,
    changes         jsonb not null,
    primary key (name, at)
);
comment on table workflow.task_type_changes is 'What operators changed of task types: the last 100 changes of each';

-- It gets one parameter more, with a default: engines of the version before go on to call it.
drop function if exists workflow.update_task_type(text, jsonb, timestamptz);

alter table workflow.workers
    add column drained_at timestamptz,
    add column drained_by text;

alter table workflow.samples
    add column oldest jsonb not null default '{}';
