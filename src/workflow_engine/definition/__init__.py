"""From a definition document to an immutable plan, and what workers need to run its steps. Pure: no I/O, no clock;
`sandbox` alone runs a process, to bound what an expression may take.

    document -> json_data     its limits
             -> document, steps, step_types: every field, as records (step_records)
             -> tree          all scopes and steps as one flat list
             -> references    what expressions read
             -> edges, graph  who waits for whom, without a circle
             -> plan          as stored (step_plan, workflow_plan are its parts)

`compile.compile_definition` does all of it. At run time workers use `plan`, `templates`, `expressions` and `retries`.
What talks to a database or a service does not belong here.
"""
