-- The built-in task types of the whole language. `for_each` and `loop` cannot be written as a step's type: they are what a
-- step with the field of that name becomes.
insert into workflow.task_types (name, builtin, description) values
    ('for_each', true, 'Runs a step once per item'),
    ('loop', true, 'Runs a step until a condition holds'),
    ('block', true, 'Groups steps'),
    ('switch', true, 'Chooses among cases'),
    ('wait', true, 'Waits for a time'),
    ('signal', true, 'Waits for a signal'),
    ('approval', true, 'Waits for the answer of a person'),
    ('workflow', true, 'Runs another workflow'),
    ('emit', true, 'Sends a signal or calls a webhook'),
    ('terminate', true, 'Ends the workflow'),
    ('tool', true, 'Calls a tool of an MCP server')
on conflict (name) do update set builtin = true, description = excluded.description;
