"""For tests: the context of a handler, and test mode, which runs a whole definition without workers."""

from workflow_engine.testing.context import task_context

__all__ = ["task_context"]
