-- The number of the newest event, and which transactions may still bring events with lower ones: numbers are handed out before
-- commits, so an event may appear behind others that somebody has read. All up to `top` is final once none of `open` is left.
--
-- Returns {"top": number, "open": [virtual transaction]}. It reads no table.
create or replace function workflow.end_of_events() returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_top       bigint := coalesce(pg_sequence_last_value('workflow.event_seq'), 0);
    v_open      text[] := array(    -- looked at after the number: who has been given a lower one is among them, or has ended
        select l.virtualtransaction from pg_locks l
        where l.locktype = 'relation' and l.relation = 'workflow.events'::regclass and l.mode = 'RowExclusiveLock'
          and l.granted and l.database = (select d.oid from pg_database d where d.datname = current_database()));
begin
    return jsonb_build_object('top', v_top, 'open', v_open);
end
$$;
comment on function workflow.end_of_events is 'The newest event, and the transactions that may bring earlier ones';
