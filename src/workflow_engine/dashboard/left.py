"""What dead workers left behind, in words: whether it was taken back, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from workflow_engine.dashboard.formats import ago
from workflow_engine.records import Worker, WorkerTask
from workflow_engine.states import TaskStatus
from workflow_engine.store.store import Store


@dataclass(frozen=True, slots=True)
class Left:
    """The tasks of one worker, by id."""

    tasks: Sequence[WorkerTask]

    @property
    def open(self) -> int:
        """Those that are not taken back."""
        return sum(1 for task in self.tasks if task.taken_back_at is None)

    @property
    def last_at(self) -> datetime | None:
        """When the last one was taken back."""
        return max((task.taken_back_at for task in self.tasks if task.taken_back_at), default=None)

    @property
    def failed(self) -> int:
        """Those that have failed by now."""
        return sum(1 for task in self.tasks if task.status == TaskStatus.FAILED)

    @property
    def count(self) -> str:
        return f"{len(self.tasks):,} {'task' if len(self.tasks) == 1 else 'tasks'}"

    @property
    def back(self) -> Markup:
        """Whether they were taken back."""
        whole = len(self.tasks)
        if not self.open:
            return Markup("{}taken back {}").format("" if whole == 1 else "all ", ago(self.last_at))
        if self.open < whole:
            return Markup("{:,} not taken back yet").format(self.open)
        return Markup("not taken back yet") if whole == 1 else Markup("none taken back yet")


async def left_by(store: Store, dead: Sequence[Worker]) -> Mapping[int, Left]:
    """What each of these left."""
    found = await store.workers.tasks([worker.id for worker in dead if worker.current_tasks or worker.lost_tasks])
    return {worker.id: Left(found.get(worker.id, ())) for worker in dead}


def became(task: WorkerTask) -> str:
    """What became of a task, after its state."""
    if task.taken_back_at is None:
        return "It is taken back when its lease ends."
    if task.status is None:
        return "It is gone: its workflow was deleted, or goes on with another version."
    if task.status == TaskStatus.RUNNING:
        return f"On {task.worker or 'another worker'}, attempt {task.now_attempt}."
    if task.status == TaskStatus.FAILED:
        return f"{(task.error or {}).get('type') or 'error'}."
    return ""
