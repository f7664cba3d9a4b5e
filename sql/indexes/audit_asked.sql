-- For the audit log of a principal: what of it a filter means is found without reading the rows of all that it asked.
create index concurrently audit_asked on workflow.audit (principal, id) include (operation, status, at)
where principal is not null
