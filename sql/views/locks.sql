-- Locks and limits in use: one row per key that somebody holds or waits for. At most 100 holders and waiters are listed; the
-- counts are of all. Who was woken and is about to be claimed is in neither list. Each step says how many units a limit has: `capacity` is
-- the most that those say who hold some or wait; null for locks, and for limits that only have a rate.

create or replace view workflow.lock_list as
select r.kind, r.key,
       (select coalesce(sum(h.units), 0)::integer from workflow.holds h where h.kind = r.kind and h.key = r.key) as used,
       (select count(*)::integer from workflow.holds h where h.kind = r.kind and h.key = r.key) as holding,
       (select count(*)::integer from workflow.waits x
        where x.kind = r.kind and x.key = r.key and x.woken_at is null) as waiting,
       (select coalesce(jsonb_agg(jsonb_build_object(
                   'workflow_id', h.workflow_id, 'task_id', h.task_id::text, 'step', h.step, 'scope', h.scope,
                   'units', h.units, 'since', h.acquired_at) order by h.acquired_at, h.task_id), '[]')
        from (select h.*, s.id as step from workflow.holds h
              left join workflow.tasks t on t.id = h.task_id
              left join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
              where h.kind = r.kind and h.key = r.key order by h.acquired_at, h.task_id limit 100) h) as holders,
       (select coalesce(jsonb_agg(jsonb_build_object(
                   'workflow_id', x.workflow_id, 'task_id', x.task_id::text, 'step', x.step, 'scope', x.scope,
                   'units', x.units, 'since', x.since) order by x.priority desc, x.since, x.task_id), '[]')
        from (select x.*, s.id as step from workflow.waits x
              left join workflow.tasks t on t.id = x.task_id
              left join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
              where x.kind = r.kind and x.key = r.key and x.woken_at is null
              order by x.priority desc, x.since, x.task_id limit 100) x) as waiters,
       case r.kind when 'limit' then nullif(greatest(
           (select max(x.capacity) from workflow.waits x where x.kind = r.kind and x.key = r.key),
           (select max((n.need ->> 'capacity')::integer)
            from (select h.task_id from workflow.holds h
                  where h.kind = r.kind and h.key = r.key order by h.acquired_at, h.task_id limit 100) h
            join workflow.tasks t on t.id = h.task_id
            join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
            cross join lateral jsonb_array_elements(s.resources) n(need)
            where n.need ->> 'kind' = r.kind and n.need ->> 'key' = r.key)), 100000) end as capacity  -- so many: it has no bound
from (select h.kind, h.key from workflow.holds h
      union
      select x.kind, x.key from workflow.waits x where x.woken_at is null) r;
comment on view workflow.lock_list is 'Locks and limits in use: who holds them and who waits, in order';
