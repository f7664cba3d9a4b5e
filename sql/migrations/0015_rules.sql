-- Trigger rules and conditions on dependencies (see functions/rules.sql).

-- What the dependencies that are not merely ordering came to; with succeeded_ and failed_dependencies each is counted once.
alter table workflow.tasks
    add column skipped_dependencies integer not null default 0,
    add column unmet_dependencies   integer not null default 0;
comment on column workflow.tasks.unmet_dependencies is 'Dependencies that ended, but not as the step asks for';

alter type workflow.successor
    add attribute skipped integer,
    add attribute unmet integer;

-- A step that may run before all its dependencies have ended is none of their followers: it may end before them.
alter table workflow.definition_steps add column followers integer[];
comment on column workflow.definition_steps.followers is 'Successors that cannot end before it has; null = all its successors';

-- It takes all tasks that are to be reopened now.
drop function if exists workflow.retried_with(bigint, uuid);
