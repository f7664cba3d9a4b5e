"""Rows of the database as Python reads them: plain, immutable, one class per noun."""

from workflow_engine.records.access import ApiKey, AuditRow, ListedKey
from workflow_engine.records.definitions import (
    Definition,
    DefinitionSummary,
    DefinitionVersion,
    PinnedDefinition,
    Version,
)
from workflow_engine.records.engine import (
    EngineState,
    Gauges,
    PendingQueue,
    QueueGauges,
    TaskType,
    Violation,
    Worker,
)
from workflow_engine.records.locks import (
    Deadlock,
    HeldLocks,
    LockInUse,
    LockPlace,
    LockWait,
    ReleasedLocks,
)
from workflow_engine.records.schedules import (
    AnsweredSchedule,
    BackfilledStart,
    DueSchedule,
    Schedule,
)
from workflow_engine.records.tasks import (
    Attempt,
    GraphNode,
    LogEvent,
    Reason,
    SlowAttempt,
    Task,
)
from workflow_engine.records.turns import (
    Claim,
    Completion,
    Turn,
)
from workflow_engine.records.waits import (
    Approval,
    Delivery,
    SentSignal,
    Signal,
    Webhook,
)
from workflow_engine.records.workflows import (
    OrphanedTask,
    PausedWorkflow,
    Recovery,
    Rerun,
    StartedWorkflow,
    Workflow,
    WorkflowStart,
    WorkflowSummary,
)

__all__ = [
    "AnsweredSchedule",
    "ApiKey",
    "Approval",
    "Attempt",
    "AuditRow",
    "BackfilledStart",
    "Claim",
    "Completion",
    "Deadlock",
    "Definition",
    "DefinitionSummary",
    "DefinitionVersion",
    "Delivery",
    "DueSchedule",
    "EngineState",
    "Gauges",
    "GraphNode",
    "HeldLocks",
    "ListedKey",
    "LockInUse",
    "LockPlace",
    "LockWait",
    "LogEvent",
    "OrphanedTask",
    "PausedWorkflow",
    "PendingQueue",
    "PinnedDefinition",
    "QueueGauges",
    "Reason",
    "Recovery",
    "ReleasedLocks",
    "Rerun",
    "Schedule",
    "SentSignal",
    "Signal",
    "SlowAttempt",
    "StartedWorkflow",
    "Task",
    "TaskType",
    "Turn",
    "Version",
    "Violation",
    "Webhook",
    "Worker",
    "Workflow",
    "WorkflowStart",
    "WorkflowSummary",
]
