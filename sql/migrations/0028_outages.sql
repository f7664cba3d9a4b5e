-- It is told when Postgres was last heard. Engines of the version before call it as they know it.
drop function if exists workflow.sweep_expired_leases(integer, double precision, integer);
