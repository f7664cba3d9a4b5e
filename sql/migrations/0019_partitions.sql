-- Events and attempts become partitioned by workflow id, which is time-ordered (workflow.new_id): all rows of a workflow are in one
-- partition, and what ended long ago is dropped instead of deleted row by row (see functions/partitions.sql).
--
-- The tables that are there become the default partitions, which needs no look at their rows; the leader then gives them bounds
-- (`keep_partitions`). Until this migration commits nothing can be written to them.

lock table workflow.attempt_history, workflow.events in access exclusive mode;

-- A sequence instead of an identity column, which PostgreSQL 15 and 16 do not know of partitions.
create sequence workflow.event_seq as bigint;
select setval('workflow.event_seq', pg_sequence_last_value(s), true)
from (select pg_get_serial_sequence('workflow.events', 'seq')::regclass as s) x
where pg_sequence_last_value(s) is not null;
alter table workflow.events alter column seq drop identity;
alter table workflow.events alter column seq set default nextval('workflow.event_seq');

alter table workflow.events rename to events_default;
alter table workflow.events_default rename constraint events_pkey to events_default_pkey;
alter index workflow.events_seq rename to events_default_seq;
create table workflow.events (like workflow.events_default including defaults, primary key (workflow_id, seq))
    partition by range (workflow_id);
create index events_seq on workflow.events using brin (seq) with (pages_per_range = 32, autosummarize = on);
alter table workflow.events attach partition workflow.events_default default;
comment on table workflow.events is 'What happened, in causal order within a workflow (seq grows; it is not gap-free)';

-- The primary key (task_id, attempt) is one of each partition, not of the whole: all attempts of a task are in the partition of
-- its workflow, so that is enough, and the index is as small as before.
alter table workflow.attempt_history rename to attempt_history_default;
alter table workflow.attempt_history_default rename constraint attempt_history_pkey to attempt_history_default_pkey;
alter index workflow.attempt_history_ended rename to attempt_history_default_ended;
alter index workflow.attempt_history_lost rename to attempt_history_default_lost;
alter index workflow.attempt_history_long rename to attempt_history_default_long;
create table workflow.attempt_history (like workflow.attempt_history_default including defaults)
    partition by range (workflow_id);
alter table workflow.attempt_history
    add constraint attempt_history_outcome check (outcome in (
        'succeeded', 'failed', 'retried', 'skipped', 'released', 'lost', 'cancelled', 'waiting')) not valid,
    add constraint attempt_history_order check (started_at <= ended_at) not valid;
create index attempt_history_ended on workflow.attempt_history (ended_at);
create index attempt_history_lost on workflow.attempt_history (worker_id) where outcome = 'lost';
create index attempt_history_long on workflow.attempt_history
    (date_trunc('hour', ended_at at time zone 'utc'), (ended_at - started_at) desc)
    where ended_at - started_at > interval '10 seconds';
alter table workflow.attempt_history attach partition workflow.attempt_history_default default;
comment on table workflow.attempt_history is 'Attempts that ended, appended in the commit that ended them; the view workflow.attempts adds the running ones';

-- The partitions, and how far retention has looked at the workflows whose ids are in the bounds of one of `events`.
create table workflow.history_partitions (
    name            text primary key,              -- of the table
    parent          text not null,
    lower           uuid,                          -- no workflow id before it; null: the default partition
    upper           uuid,                          -- this one no more; null: the default partition
    left_over       boolean not null default false, -- has rows of workflows that were deleted
    cleaned         integer not null default 0,    -- blocks that were searched for such rows
    -- Of partitions of `events`:
    rules           jsonb,                         -- the settings that this was done by; null = never yet
    began_at        timestamptz not null default '-infinity',  -- the present round over its workflows
    walked          uuid,                          -- they were looked at up to here
    kept            bigint not null default 0,     -- so many of those stay for now,
    again_at        timestamptz not null default 'infinity',   -- the first of them until then
    constraint history_partitions_parent check (parent in ('events', 'attempt_history')),
    constraint history_partitions_bounds check ((lower is null) = (upper is null) and lower < upper)
) with (fillfactor = 50);
comment on table workflow.history_partitions is 'Partitions of events and attempts, and how far retention is with them';
create unique index history_partitions_lower on workflow.history_partitions (parent, lower) nulls not distinct;
drop function if exists workflow.delete_workflow(uuid);

insert into workflow.history_partitions (name, parent) values
    ('events_default', 'events'), ('attempt_history_default', 'attempt_history');
