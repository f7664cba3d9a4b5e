"""/admin/tasks/{id}: leads to the task on the page of its workflow."""

from __future__ import annotations

from workflow_engine.access import Scope
from workflow_engine.dashboard.page import GoTo, Page
from workflow_engine.dashboard.visit import Visit
from workflow_engine.errors import TaskNotFound

_LONGEST = 18  # digits of an id


async def read(visit: Visit) -> GoTo:
    given = str(visit.request.path_params["task_id"])
    if not (given.isascii() and given.isdecimal()) or len(given) > _LONGEST:
        raise TaskNotFound("This is not the id of a task.", hint="Ids of tasks are numbers.")
    task = await visit.store.tasks.get(int(given))
    return GoTo(visit.url(f"/admin/workflows/{task.workflow_id}", tab="tasks", task=task.id))


PAGE = Page("/admin/tasks/{task_id}", "error.html", read, Scope.WORKFLOWS_READ)
