-- Workers; `dead` is one whose heartbeat is three intervals late without a goodbye. What a dead one held
-- when it died is in current_tasks as long as it is not taken back, then in lost_tasks.

create or replace view workflow.worker_list as
select w.id, w.name, w.host, w.pid, w.version, w.queues, w.task_types, w.concurrency,
       case when w.status <> 'stopped' and w.last_heartbeat_at < workflow.clock() - make_interval(secs => 3 * w.heartbeat_seconds)
            then 'dead' else w.status end as status,
       w.rss_bytes, w.started_at, w.last_heartbeat_at, w.stopped_at,
       extract(epoch from workflow.clock() - w.last_heartbeat_at)::double precision as age_seconds,
       array(
           select t.id from workflow.jobs j
           join workflow.tasks t on t.id = (j.args ->> 'task_id')::bigint and t.job_id = j.id
           where j.status = 'doing' and j.worker_id = w.queue_worker_id and t.status = 'running'
             and t.worker_id = w.id
           order by t.id) as current_tasks,
       array(
           select h.task_id from workflow.attempt_history h
           where h.outcome = 'lost' and h.worker_id = w.id and h.ended_at >= w.last_heartbeat_at
           order by h.task_id) as lost_tasks,
       w.status_reason, w.drained_at, w.drained_by
from workflow.workers w;
comment on view workflow.worker_list is 'Registered workers, what they hold and whether they live';
