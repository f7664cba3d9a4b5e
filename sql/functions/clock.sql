-- The engine's clock: the database's, unless the session moved it by the setting workflow.clock_offset (tests of the engine) or
-- set it to stand at a time by workflow.clock_time (test mode, where time goes on only when nothing else does).
create or replace function workflow.clock() returns timestamptz
language sql volatile parallel safe
as $$
    select coalesce(
        nullif(current_setting('workflow.clock_time', true), '')::timestamptz,
        clock_timestamp() + coalesce(nullif(current_setting('workflow.clock_offset', true), '')::interval, interval '0'))
$$;
comment on function workflow.clock() is 'Now, by the database clock';

-- A time-ordered id in the layout of UUID version 7 (RFC 9562): 48 bits of milliseconds, then randomness.
-- uuidv7() itself exists from PostgreSQL 18 on only.
create or replace function workflow.new_id() returns uuid
language sql volatile parallel safe
as $$
    -- Of the random UUID the version alone is in the way: 4 becomes 7 by two bits.
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send(floor(date_part('epoch', clock_timestamp()) * 1000)::bigint) from 3)
                    from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;
comment on function workflow.new_id() is 'A new workflow id';
