-- It is told whether anything comes after what ended.
drop function if exists workflow.advance(workflow.ended_task[], timestamptz);
