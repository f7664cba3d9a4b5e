-- Outputs that no attempt of the task gave: of steps that a rerun keeps, and of tasks that an operator skipped.

alter table workflow.workflows add column rerun_of uuid;
comment on column workflow.workflows.rerun_of is 'The workflow whose outputs it began with; null for most';

alter table workflow.tasks
    add column output_from text,
    add constraint tasks_output_from check (output_from in ('rerun', 'operator')) not valid;
comment on column workflow.tasks.output_from is
    'Where its result comes from, when no attempt of it gave it: the workflow this is a rerun of, or an operator';

create type workflow.rerun_step as (
    step_index      integer,                       -- in the version that is to run
    step            text,
    task_id         bigint,                        -- of the old workflow; null: the step is new
    status          text,                          -- of that task
    ran             boolean,                       -- it began
    again           boolean                        -- it is to run again
);
