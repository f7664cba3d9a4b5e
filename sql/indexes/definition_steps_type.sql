-- For the page of a task type: the steps of it, those of the newest versions first.
create index concurrently definition_steps_type on workflow.definition_steps (type, version_id)
