-- When a parked job becomes due: never by itself. A pending task whose job says so is held back by a pause, a lock or a
-- limit; whoever ends the reason unparks it. Not 'infinity', which clients in Python cannot read.
create or replace function workflow.never() returns timestamptz
language sql immutable parallel safe
as $$
    select timestamptz '9999-12-31 00:00:00+00'
$$;
comment on function workflow.never is 'The time of a parked job';
