-- It says what it claimed as text now, which its caller puts into the answer of the turn.
drop function if exists workflow.claim(bigint, text[], text[], integer, double precision);

-- Room for the updates of a row on its own page: a job has one, a task two or three. One that must leave its page for another
-- costs entries in all indexes.
alter table workflow.jobs set (fillfactor = 45);
alter table workflow.tasks set (fillfactor = 50);
