-- What is wrong with scopes and endings (see invariants.sql).

create or replace view workflow.broken_scopes as
select 'a running scope counts the open tasks in it that nothing open waits for' as invariant, true as instant,
       c.workflow_id, c.parent_task_id as task_id,
       jsonb_build_object('base', c.base, 'open_tasks', c.open_tasks, 'found', f.open) as found
from workflow.scopes c
cross join lateral (
    select count(*) as open
    from workflow.definition_steps s
    join workflow.tasks t on t.id = c.base + s.step_index
    where s.version_id = c.version_id and s.scope = c.scope and s.kind = 'step' and t.finished_at is null
      and not exists (
        select 1 from unnest(coalesce(s.followers, s.successors)) x join workflow.tasks n on n.id = c.base + x
        where n.finished_at is null)) f
where c.status = 'running' and c.open_tasks <> f.open

union all
select 'a running scope has an open task', true, c.workflow_id, c.parent_task_id, jsonb_build_object('base', c.base)
from workflow.scopes c where c.status = 'running' and not exists (
    select 1 from workflow.definition_steps s join workflow.tasks t on t.id = c.base + s.step_index
    where s.version_id = c.version_id and s.scope = c.scope and t.finished_at is null)

union all
select 'an open task inside stands in a running scope', true, t.workflow_id, t.id, jsonb_build_object('scope', c.status)
from workflow.tasks t
join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
left join workflow.scopes c on c.base = t.id - t.step_index
where s.scope > 0 and s.kind = 'step' and t.finished_at is null and c.status is distinct from 'running'

union all
select 'a task that waits for scopes counts those that are open', true, g.workflow_id, g.task_id,
       jsonb_build_object('open', g.open, 'round', g.round)
from workflow.groups g join workflow.tasks t on t.id = g.task_id
where t.status = 'waiting' and t.awaits ->> 'kind' = 'scope' and (
    g.open <> (select count(*) from workflow.scopes c
               where c.parent_task_id = g.task_id and c.round = g.round and c.status = 'running')
    or g.open = 0)

union all
select 'a group starts as many scopes as it may', true, g.workflow_id, g.task_id,
       jsonb_build_object('open', g.open, 'width', g.width)
from workflow.groups g join workflow.tasks t on t.id = g.task_id
where t.status = 'waiting' and t.awaits ->> 'kind' = 'scope' and g.open < g.width and exists (
    select 1 from workflow.scopes c
    where c.parent_task_id = g.task_id and c.round = g.round and c.status = 'blocked')

union all
select 'only an open task that has waited has scopes open', true, c.workflow_id, c.parent_task_id,
       jsonb_build_object('base', c.base, 'scope', c.status, 'parent', t.status)
from workflow.scopes c join workflow.tasks t on t.id = c.parent_task_id
where c.finished_at is null and (t.finished_at is not null or t.awaits is null)

union all
select 'an ending runs one handler, and a handler runs in an ending', true, w.id, null,
       jsonb_build_object('ending', w.ending)
from workflow.workflows w
left join workflow.endings e on e.workflow_id = w.id
where (w.ending is null) <> (e.workflow_id is null) or (w.ending is not null)::integer <> (
    select count(*) from workflow.tasks t
    join workflow.definition_steps s on s.version_id = t.version_id and s.step_index = t.step_index
    where t.workflow_id = w.id and s.kind <> 'step' and t.finished_at is null);
comment on view workflow.broken_scopes is 'Internal: what is wrong with scopes and endings';
