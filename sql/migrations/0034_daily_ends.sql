-- How workflows ended, by day and version: what the pages say of a definition is read from here, and not from millions of workflows.
create table workflow.daily_ends (
    day             date not null,
    name            text not null,
    version         integer not null,
    status          text not null,
    position        smallint not null,
    workflows       bigint not null,
    primary key (day, name, version, status, position),
    constraint daily_ends_status check (status in ('succeeded', 'failed', 'cancelled')),
    constraint daily_ends_workflows check (workflows > 0)
) with (fillfactor = 50);
comment on table workflow.daily_ends is 'How workflows ended, by day, version and how long they took; kept for a month';
comment on column workflow.daily_ends.day is 'On which they ended, in UTC';
comment on column workflow.daily_ends.name is 'Of their definition';
comment on column workflow.daily_ends.version is 'With which they ended';
comment on column workflow.daily_ends.status is 'How they ended';
comment on column workflow.daily_ends.position is 'How long they took from their creation on: see workflow.duration_at';
comment on column workflow.daily_ends.workflows is 'How many; one that is retried ends more than once';
