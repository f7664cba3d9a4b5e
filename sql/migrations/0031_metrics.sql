-- How far the leader has counted the events (see functions/count_events.sql); one row. It begins with what comes next:
-- what happened under a version that did not count is nobody's count.
create table workflow.counted_events (
    only_row        boolean primary key default true check (only_row),
    seq             bigint not null,               -- all events up to this one are counted, once
    next_seq        bigint,                        -- where the next part ends ...
    next_open       text[],                        -- ... which is counted when these transactions have ended,
    next_since      timestamptz                    -- that were open then
);
comment on table workflow.counted_events is 'How far the events are counted for the metrics';
comment on column workflow.counted_events.only_row is 'There is one row';
comment on column workflow.counted_events.seq is 'All events up to this one are counted, once';
comment on column workflow.counted_events.next_seq is 'Where the part ends that is counted next';
comment on column workflow.counted_events.next_open is 'The transactions that may still bring events of that part';
comment on column workflow.counted_events.next_since is 'When the end of that part was noted';
insert into workflow.counted_events (seq) values (coalesce(pg_sequence_last_value('workflow.event_seq'), 0));
