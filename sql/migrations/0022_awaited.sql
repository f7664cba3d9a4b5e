-- Whoever starts a workflow and waits for its end is told by a notification; nobody else's end costs one.

alter table workflow.workflows add column awaited boolean not null default false;
comment on column workflow.workflows.awaited is 'Its end is told on the channel workflow_ended';

alter type workflow.starting add attribute awaited boolean;
