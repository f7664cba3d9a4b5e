-- The queues, from the jobs: a job exists exactly while its task is pending, scheduled or running. A held task is pending
-- and its job parked (see functions/park.sql); it is counted for itself.

create or replace view workflow.queue_depth as
select j.queue_name as queue,
       count(*) filter (where j.status = 'todo' and (j.scheduled_at is null or j.scheduled_at <= workflow.clock())) as pending,
       count(*) filter (
           where j.status = 'todo' and j.scheduled_at > workflow.clock() and j.scheduled_at < workflow.never()) as scheduled,
       count(*) filter (where j.status = 'doing') as running,
       count(*) filter (where j.status = 'todo' and j.scheduled_at = workflow.never()) as held
from workflow.jobs j
group by j.queue_name;
comment on view workflow.queue_depth is 'Pending, scheduled, running and held tasks by queue';
