-- Who paused or cancelled something, and why: it is asked for when it is done, and told to whoever looks later.

alter table workflow.audit add column reason text;
alter table workflow.engine add column paused_reason text;
alter table workflow.workflows
    add column paused_by text,
    add column paused_reason text;

-- They get more parameters, with defaults: engines of the version before go on to call them.
drop function if exists workflow.pause(interval, text);
drop function if exists workflow.pause_workflow(uuid);
drop function if exists workflow.cancel(uuid, text);
drop function if exists workflow.cancel_live(uuid[], text);
