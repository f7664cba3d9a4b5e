"""The runbook's five "Common Issues" as drills: each is really caused, seen through the runbook's symptom, and cured by
the runbook's commands alone.

`make drill` runs them on a stack of its own (`tests/support/stack.py`), one line of verdict each; `make drill ARGS=3`
runs the third. A drill is a module with a `NUMBER`, a `TITLE` and a function `run(stack)`, which returns what was seen
and what cured it, fails with an assertion, and leaves the stack as it found it.
"""

from drills import deadlock, memory, stuck_in_pending, task_timeout, versions

DRILLS = (stuck_in_pending, task_timeout, deadlock, memory, versions)
