"""How large the parts of a definition may be. What belongs to one kind of value only stands with that."""

MAX_STEPS = 10_000
MAX_EDGES = 100_000
MAX_DEPENDENCIES = 5_000
"""Of one step."""
MAX_TIMEOUT = 24 * 3600.0
"""Seconds."""
MAX_ELAPSED = 31 * 24 * 3600.0
"""Seconds over all tries of a task."""
MAX_ATTEMPTS = 1_000
MAX_BACKOFF = 1_000.0
MAX_PRIORITY = 1_000_000
"""Either way. Far inside 32 bits: a task's priority is the sum of its step's and its workflow's."""
MAX_RESOURCES = 16
"""Locks of one step, and as many limits."""
MAX_UNITS = 100_000
"""Of a limit."""
MAX_LABELS = 64
MAX_LABEL_VALUE = 1_024
"""Characters."""
MAX_DEPTH = 16
"""Scopes around a step."""
MAX_ITEMS = 10_000
"""Of a `for_each`."""
MAX_ITEM_NAMES = 100
"""That a definition chooses with `as`: workers prepare something for each."""
MAX_NESTED_FOR_EACH = 2
"""One inside the other: the items multiply."""
MAX_ITERATIONS = 10_000
MAX_CATCHES = 16
"""Of a step."""
MAX_CASES = 100
"""Of a switch."""
MAX_DAYS = 366 * 24 * 3600.0
"""Seconds: of what may take long on purpose, such as a workflow, a wait or an approval."""
