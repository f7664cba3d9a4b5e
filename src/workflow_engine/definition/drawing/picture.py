"""What is drawn: the steps of a definition, with the states they have in a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from workflow_engine.states import TaskStatus

UNREACHED = "unreached"
"""The kind of a box, and of a task that pages show: it failed without running, as a step before it failed."""


def said(kind: str) -> str:
    """A state in words."""
    return "not run" if kind == UNREACHED else kind


@dataclass(frozen=True, slots=True)
class Box:
    """One step.

    Attributes:
        id: Its name.
        type: Its task type.
        status: Of its task; None when a definition is drawn.
        note: Said in place of the status, such as what it waits for.
        unreached: It failed only because a step before it did, and never ran.
    """

    id: str
    type: str
    status: TaskStatus | None = None
    note: str | None = None
    unreached: bool = False

    @property
    def subtitle(self) -> str:
        """The line below its name."""
        return " · ".join(text for text in (self.type, self.note or said(self.kind if self.status else "")) if text)

    @property
    def kind(self) -> str:
        """What it looks like: its status, `unreached`, or `step`."""
        return UNREACHED if self.unreached else str(self.status or "step")


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph to draw.

    Attributes:
        title: Said to who cannot see it, and by tools that show titles.
        boxes: In the order of the definition.
        dependencies: For each box the positions it waits for; without cycles.
        critical: The steps of the critical path, first to last.
    """

    title: str
    boxes: Sequence[Box]
    dependencies: Sequence[Sequence[int]]
    critical: Sequence[int] = ()

    def edges(self) -> list[tuple[int, int, bool]]:
        """From, to, and whether it is on the critical path."""
        path = set(pairwise(self.critical))
        return [
            (needed, step, (needed, step) in path) for step, others in enumerate(self.dependencies) for needed in others
        ]


@dataclass(frozen=True, slots=True)
class Look:
    """How a state looks: never by colour alone."""

    glyph: str
    fill: str
    line: str
    dark_fill: str
    dark_line: str


LOOKS = {
    "step": Look("", "#f6f8fa", "#57606a", "#21262d", "#8b949e"),
    TaskStatus.BLOCKED: Look("◌", "#f6f8fa", "#8c959f", "#161b22", "#6e7681"),
    TaskStatus.PENDING: Look("○", "#fff8c5", "#9a6700", "#272115", "#d29922"),
    TaskStatus.RUNNING: Look("▶", "#ddf4ff", "#0969da", "#121d2f", "#58a6ff"),
    TaskStatus.SCHEDULED: Look("◷", "#fbefff", "#8250df", "#21183c", "#a371f7"),
    TaskStatus.WAITING: Look("…", "#fbefff", "#8250df", "#21183c", "#a371f7"),
    TaskStatus.SUCCEEDED: Look("✓", "#dafbe1", "#1a7f37", "#12261e", "#3fb950"),
    TaskStatus.FAILED: Look("✗", "#ffebe9", "#cf222e", "#25171c", "#f85149"),
    UNREACHED: Look("⇥", "#f6f8fa", "#57606a", "#161b22", "#8b949e"),
    TaskStatus.SKIPPED: Look("↷", "#f6f8fa", "#57606a", "#161b22", "#8b949e"),
    TaskStatus.CANCELLED: Look("⊘", "#f6f8fa", "#57606a", "#161b22", "#8b949e"),
}
"""By what `Box.kind` says."""
