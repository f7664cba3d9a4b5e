"""Running attempts: from a claim and the plan of its step to the completion that says how it ended.

Knows neither the database nor the worker around it: whoever has a claim, a plan and handlers can run an attempt.
"""

from workflow_engine.execution.attempt import Limits
from workflow_engine.execution.execute import execute
from workflow_engine.execution.orchestration import ORCHESTRATED

__all__ = ["ORCHESTRATED", "Limits", "execute"]
