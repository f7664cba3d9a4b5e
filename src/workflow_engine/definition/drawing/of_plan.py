"""The picture of a definition: all its steps, those inside others behind the step that opens them."""

from __future__ import annotations

from workflow_engine.definition.drawing.picture import Box, Picture
from workflow_engine.definition.plan import Plan, PlanStep


def picture_of(plan: Plan, title: str) -> Picture:
    """What there is to draw of a plan.

    A step inside another has the path `<outer>.<inner>`, and an arrow from the outer one where it waits for nothing
    inside. A repeated step is one box: `for_each · http`.
    """
    return _Drawing(plan).picture(title)


class _Drawing:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._drawn = [step for step in plan.steps if not step.body]
        self._number = {step.index: n for n, step in enumerate(self._drawn)}
        self._undone = {s.compensation: s.index for s in plan.steps if s.compensation is not None}

    def picture(self, title: str) -> Picture:
        boxes = [Box(self._path(step), step.type, note=self._note(step)) for step in self._drawn]
        return Picture(title, boxes, [self._dependencies(step) for step in self._drawn])

    def _path(self, step: PlanStep) -> str:
        outer = self._outer(step)
        if outer is None:
            return step.id
        # Two catches of one step may have steps of the same id.
        scope = self._plan.scopes[step.scope - 1]
        return f"{self._path(outer)}.{'catch.' if scope.kind == 'catch' else ''}{step.id}"

    def _outer(self, step: PlanStep) -> PlanStep | None:
        """The step that is drawn around this one."""
        if step.scope == 0:
            return None
        outer = self._plan.steps[self._plan.scopes[step.scope - 1].parent_step]
        return self._outer(outer) if outer.body else outer

    def _note(self, step: PlanStep) -> str | None:
        """What it repeats, from the outside in."""
        repeated = []
        inner = step.for_each or step.loop
        while inner is not None:
            body = self._plan.steps[self._plan.scopes[inner.scope - 1].steps[0]]
            repeated.append(body.type)
            inner = body.for_each or body.loop
        return " · ".join(repeated) or None

    def _dependencies(self, step: PlanStep) -> list[int]:
        if step.dependencies:
            return [self._number[needed] for needed in step.dependencies]
        if step.index in self._undone:
            return [self._number[self._undone[step.index]]]
        outer = self._outer(step)
        return [] if outer is None else [self._number[outer.index]]
