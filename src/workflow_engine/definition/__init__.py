"""From a definition document to an immutable plan, and what workers need to run its steps. Pure: no I/O, no clock;
`sandbox` alone runs a process, to bound what an expression may take.

    document -> json_data (limits) -> document, steps, step_types (fields) -> references (expressions) -> graph -> plan

`compile.compile_definition` does all of it. At run time workers use `plan`, `templates`, `expressions` and `retries`.
What talks to a database or a service does not belong here.
"""
