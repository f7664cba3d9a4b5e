-- For statistics and task types: slow attempts found among a million quick ones, and what handlers say of their types.

-- Attempts that took more than ten seconds, the longest of each hour first: `workflow.slow_tasks` asks for the first few
-- of each hour. Quick attempts, which are nearly all, are not in it and do not pay for it.
create index attempt_history_long on workflow.attempt_history
    (date_trunc('hour', ended_at at time zone 'utc'), (ended_at - started_at) desc)
    where ended_at - started_at > interval '10 seconds';

-- The defaults of the handler, as the worker that registered it last said: shown beside what operators set.
alter table workflow.task_types
    add column handler_timeout      double precision,
    add column handler_max_attempts integer;
comment on column workflow.task_types.handler_timeout is 'Seconds; what the handler asks for where nobody says otherwise';
