"""What each field of a definition means, in a line: editors show it while one writes."""

from __future__ import annotations

TOP_WORDS = {
    "$schema": "Where an editor finds the JSON Schema of this document; nothing to the engine.",
    "name": "Of the definition: a lower-case letter, then letters, digits, _ and -.",
    "spec": "Version of the language.",
    "description": "For people.",
    "labels": "Given to every workflow of the definition; lists filter by them.",
    "vars": "Constants, which expressions read as `vars`.",
    "defaults": "What steps have that do not say otherwise.",
    "input_schema": "JSON Schema of the input; a start whose input does not fit is refused.",
    "steps": "What is to be done. The order in the list means nothing.",
    "fail_fast": "Whether the first failure cancels what has not ended.",
    "priority": "Of its workflows: higher first.",
    "output": "Template of the workflow's output; default: the outputs of the last steps by id.",
    "timeout": "How long a workflow may take from its start.",
    "on_failure": "Steps that run when a workflow fails, before it has ended.",
    "on_exit": "Steps that run however a workflow ends, last of all.",
    "idempotency": "Which starts are the same one.",
    "concurrency": "How many workflows with the same key run at a time.",
    "schedule": "When workflows start by themselves.",
    "budget": "What a workflow may use up in all.",
    "retention": "How long ended workflows are kept.",
}
"""Of the document."""

STEP_WORDS = {
    "id": "Its name in the scope; expressions read `steps.<id>`.",
    "type": "A built-in type, or one that a worker brings.",
    "name": "For people.",
    "description": "For people.",
    "depends_on": "The steps it waits for: ids, or objects with the status or the case that is asked for.",
    "trigger_rule": "When it runs, given how the steps before it ended.",
    "when": "CEL; false skips the step.",
    "inputs": "Template of what the handler gets.",
    "output": "Template that shapes the result; sees it as `result`.",
    "output_schema": "JSON Schema of the shaped output.",
    "retries": "Tries after the first, or a policy.",
    "timeout": "Of one attempt.",
    "timeouts": "Of waiting for a worker, of an attempt, between heartbeats, of all together.",
    "for_each": "Runs it once for each item; the output is the list of outputs, in order.",
    "loop": "Runs it again until a condition holds.",
    "on_error": "What a failure means: `fail`, `continue`, or what catches it.",
    "compensate": "What undoes it, when the workflow fails or is cancelled.",
    "queue": "Whose workers may run it.",
    "priority": "Higher first; the workflow's own is added.",
    "idempotency_key": "Template of the key that its requests carry; the same for all attempts.",
    "locks": "Names of which it is the only holder while it runs.",
    "limits": "Names of which only so many units are in use at once, or in a span of time.",
}
"""Of every step."""
