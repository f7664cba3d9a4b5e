"""What is allowed but probably not meant."""

from __future__ import annotations

from workflow_engine.definition.faults import Faults, join
from workflow_engine.definition.step_records import StepRecord
from workflow_engine.definition.step_types import WAITING_TYPES
from workflow_engine.definition.tree import Tree

_ANY = ("*",)


def warn_of_doubts(tree: Tree, warnings: Faults) -> None:
    """Note what can have no effect in the steps of a document."""
    for node in tree.nodes:
        if node.whole:
            _doubt_catches(node.record, warnings)
            _doubt_conditions(node.record, warnings)
            _doubt_rule(node.record, warnings)
            _doubt_resources(node.record, warnings)


def _doubt_catches(record: StepRecord, warnings: Faults) -> None:
    for index, catch in enumerate(record.catches[:-1]):
        if catch.when is None and any(pattern in _ANY for pattern in catch.errors):
            place = record.catches[index + 1].pointer
            warnings.add(place, "never-reached", "the entry before it catches every error")
            return


def _doubt_conditions(record: StepRecord, warnings: Faults) -> None:
    for edge in record.edges:
        if edge.condition is not None and edge.condition.on == ("cancelled",):
            message = "a step is cancelled only when its workflow ends, and then nothing runs behind it"
            warnings.add(edge.place, "never-met", message)


def _doubt_resources(record: StepRecord, warnings: Faults) -> None:
    if record.type in WAITING_TYPES and any(resource.scope == "task" for resource in record.resources):
        message = "locks and limits are not held while a step waits, only in the moments before and after"
        warnings.add(record.pointer, "no-effect", message)


def _doubt_rule(record: StepRecord, warnings: Faults) -> None:
    rule = record.rule
    if rule is None:
        return
    if not record.edges and rule.name != "always":
        place = join(record.pointer, "trigger_rule")
        warnings.add(
            place, "no-effect", "has no effect: `depends_on` is empty, and references in expressions do not count"
        )
    elif rule.name == "always" and record.edges:
        place = join(record.pointer, "depends_on")
        warnings.add(place, "no-effect", "has no effect: a step with the rule `always` waits for none of them")
