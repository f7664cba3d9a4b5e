-- Age in seconds of the oldest transaction on this database that keeps what has ended since from being cleaned up; 0 if there
-- is none. Of sessions of other roles only a member of pg_read_all_stats sees when they began.
create or replace function workflow.oldest_transaction_seconds() returns double precision
language sql stable
as $$
    select coalesce(extract(epoch from clock_timestamp() - min(a.xact_start)), 0)::double precision
    from pg_stat_activity a
    where a.datname = current_database() and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
      and (a.backend_xmin is not null or a.backend_xid is not null)
$$;
comment on function workflow.oldest_transaction_seconds is 'Age of the oldest transaction that keeps Postgres from cleaning up';
