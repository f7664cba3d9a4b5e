-- The queues, from the jobs: a job exists exactly while its task is pending, scheduled or running.

create or replace view workflow.queue_depth as
select j.queue_name as queue,
       count(*) filter (where j.status = 'todo' and (j.scheduled_at is null or j.scheduled_at <= workflow.clock())) as pending,
       count(*) filter (where j.status = 'todo' and j.scheduled_at > workflow.clock()) as scheduled,
       count(*) filter (where j.status = 'doing') as running
from procrastinate_jobs j
where starts_with(j.task_name, 'workflow:')
group by j.queue_name;
comment on view workflow.queue_depth is 'Pending, scheduled and running tasks by queue';
