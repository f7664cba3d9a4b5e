-- A workflow that somebody starts within a trace belongs to it.

alter table workflow.workflows add column traceparent text;
comment on column workflow.workflows.traceparent is
    'The span of whoever started it, by W3C Trace Context; null = its trace is its own, with its id as the trace id';
alter type workflow.starting add attribute traceparent text;

-- It takes the caller's span now.
drop function if exists workflow.start(text, jsonb, integer, text);
