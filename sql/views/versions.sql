-- Versions of definitions and the live workflows on them. Only live workflows are counted, by their own index: millions that
-- have ended cost nothing.

create or replace view workflow.version_list as
with live as materialized (
    select w.version_id, w.name, w.pinned_version, count(*) as runs
    from workflow.workflows w where w.finished_at is null group by 1, 2, 3
)
select d.name, d.latest_version, d.pinned_version, v.version, v.hash, v.created_at,
       coalesce(a.runs, 0)::bigint as active_runs, coalesce(p.runs, 0)::bigint as pinned_runs,
       v.version = coalesce(d.pinned_version, d.latest_version) as is_default
from workflow.definitions d
join workflow.definition_versions v on v.name = d.name
left join (select l.version_id, sum(l.runs) as runs from live l group by 1) a on a.version_id = v.id
left join (select l.name, l.pinned_version, sum(l.runs) as runs from live l group by 1, 2) p
    on p.name = v.name and p.pinned_version = v.version;
comment on view workflow.version_list is 'Versions of definitions with the live workflows that run on them or are pinned to them';
