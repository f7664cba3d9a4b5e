-- It is told whether anything comes after what ended.
drop function if exists workflow.advance(workflow.ended_task[], timestamptz);

-- By its scope first: for a look at one step of a version, by far the most frequent, a plan that was made before the table was analysed
-- took this index, and read all steps of the version.
drop index workflow.definition_steps_scope;
create index definition_steps_scope on workflow.definition_steps (scope, version_id);
