-- What the columns are of what is watched: alerts, and the engines there are.

comment on column workflow.alerts.id is 'Their order';
comment on column workflow.alerts.name is 'Of the rule, as in deploy/prometheus/rules';
comment on column workflow.alerts.subject is 'Which queue, worker or schedule; empty = the whole installation';
comment on column workflow.alerts.severity is 'critical, warning or info';
comment on column workflow.alerts.value is 'What was found when it was looked at last';
comment on column workflow.alerts.threshold is 'What that is held against';
comment on column workflow.alerts.since is 'Since when the condition holds';
comment on column workflow.alerts.fires_at is 'From when on it has held for long enough';
comment on column workflow.alerts.fired is 'It was told that it fires';
comment on column workflow.alerts.ended_at is 'When the condition no longer held; null = it holds';

comment on column workflow.watched.only_row is 'There is one row';
comment on column workflow.watched.at is 'When somebody looked last: without a leader nobody does';
comment on column workflow.watched.measures is 'The numbers that were found';

comment on column workflow.engines.id is 'Given when it was heard of first: a process that comes back is another engine';
comment on column workflow.engines.host is 'Where it runs';
comment on column workflow.engines.pid is 'Its process there';
comment on column workflow.engines.version is 'Of workflow-engine';
comment on column workflow.engines.started_at is 'When it was heard of first';
comment on column workflow.engines.heard_at is 'Its last sign of life';
comment on column workflow.engines.facts is 'What it alone knows: whether it leads, how late its event loop is';

comment on column workflow.incidents.name is 'api_errors, pool_timeouts, audit_rows_lost or deadlocks';
comment on column workflow.incidents.at is 'When it was told last';
comment on column workflow.incidents.times is 'How often, in all';

comment on column workflow.counted_events.ended is 'Workflows that ended and were not cancelled, counted so far: differences count';
comment on column workflow.counted_events.failed is 'Those of them that failed';
comment on column workflow.samples.workflows_ended is 'Workflows that had ended and were not cancelled, as counted: differences count';
comment on column workflow.samples.workflows_failed is 'Those of them that had failed';
comment on column workflow.samples.mirror_excess is 'By how much the list in Redis was longer than the queue; null = not known';

comment on column workflow.alert_list.state is 'pending (it has not held for long enough), firing or ended';
comment on column workflow.engine_list.status is 'active; dead = not heard of for half a minute';
comment on column workflow.engine_list.leads is 'It does the duties';
comment on column workflow.engine_list.lag_seconds is 'How late its event loop was at worst in the last half a minute';
