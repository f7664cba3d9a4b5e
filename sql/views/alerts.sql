-- Alerts as operators read them, and the engines there are. That no engine leads is not among them: nobody would have noted it;
-- workflow.watched says when somebody looked last.

create or replace view workflow.alert_list as
select a.id, a.name, a.subject, a.severity,
       case when a.ended_at is not null then 'ended' when a.fires_at <= workflow.clock() then 'firing' else 'pending' end as state,
       a.value, a.threshold, a.since, a.fires_at, a.ended_at
from workflow.alerts a;
comment on view workflow.alert_list is 'Alerts: those whose condition holds, and those that ended within a week';

create or replace view workflow.engine_list as
select e.id, e.host, e.pid, e.version, e.started_at, e.heard_at,
       case when e.heard_at < workflow.clock() - interval '30 seconds' then 'dead' else 'active' end as status,
       coalesce((e.facts ->> 'leads')::boolean, false) as leads,
       (e.facts ->> 'lag_seconds')::double precision as lag_seconds
from workflow.engines e;
comment on view workflow.engine_list is 'Engine processes that have not said goodbye; dead is one that was not heard of for half a minute';
