-- Why a worker claims nothing, for those who look at the workers.

alter table workflow.workers add column status_reason text;
comment on column workflow.workers.status_reason is 'Why it is draining: stopping, or memory';
drop function if exists workflow.set_worker_status(bigint, text);
