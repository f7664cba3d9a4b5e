"""Running attempts: from a claim and the plan of its step to the completion that says how it ended.

Knows neither the database nor the worker around it: whoever has a claim, a plan and handlers can run an attempt.
"""

from workflow_engine.execution.execute import Limits, execute

__all__ = ["Limits", "execute"]
