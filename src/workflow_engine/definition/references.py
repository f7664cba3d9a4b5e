"""What the expressions of a step read: checked at submit, so that a bad reference is refused and never runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from workflow_engine.definition.database_fields import STATEMENT_FIELDS
from workflow_engine.definition.expressions import Expression, compile_expression
from workflow_engine.definition.faults import Faults, did_you_mean, join
from workflow_engine.definition.known import Known
from workflow_engine.definition.scope import VARIABLES, misuses, step_alias, steps_read
from workflow_engine.definition.step_types import BUILT_IN_TYPES
from workflow_engine.definition.templates import Placeholder, split
from workflow_engine.definition.tree import Node, ScopeNode, Tree
from workflow_engine.errors import InputInvalid


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands.

    Attributes:
        node: The step whose worker evaluates it.
        scope: Where the names of steps are looked up, from here outwards: the node's own scope, or one that it opened.
        variables: What it may read.
    """

    node: Node
    scope: ScopeNode
    variables: tuple[str, ...]

    def with_(self, *variables: str) -> Place:
        return Place(self.node, self.scope, (*self.variables, *variables))

    def inside(self, scope: ScopeNode) -> Place:
        return Place(self.node, scope, self.variables)


class ExpressionReader:
    """Reads the expressions of one document; what they read is noted in the nodes."""

    def __init__(self, tree: Tree, known: Known, faults: Faults) -> None:
        """
        Args:
            tree: The steps.
            known: What expressions may name beside them.
            faults: Takes what is wrong: `invalid-template`, `unknown-secret`, or `unknown-dependency` for a step that
                does not exist or cannot be read here.
        """
        self._tree = tree
        self._secrets = known.secrets
        # One environment for the document, as each costs some milliseconds; `misuses` says which name is known where.
        self._names = tuple(sorted({name for scope in tree.scopes for name in scope.variables}.difference(VARIABLES)))
        self._faults = faults
        self._elsewhere: dict[str, str] | None = None

    def read_default_condition(self, condition: str | None) -> None:
        """Check `defaults.retries.when`. It applies to every step, so it cannot read any of them."""
        if condition is None:
            return
        variables = ("input", "vars", "workflow", "error")
        try:
            expression = compile_expression(condition)
        except InputInvalid as error:
            message = f"`{condition[:80]}`: {error.faults[0].message}"
            self._faults.add("/defaults/retries/when", "invalid-template", message)
            return
        for message in misuses(expression.references, variables):
            self._faults.add("/defaults/retries/when", "invalid-template", f"`{condition[:80]}`: {message}")
        if not expression.can_be_bool:
            self._faults.add("/defaults/retries/when", "invalid-template", "a condition must give true or false")

    def read(self, node: Node) -> None:
        """Check all expressions of a step and note what they read."""
        place = Place(node, node.scope, node.scope.visible())
        if node.whole:
            self._read_whole(place)
        if node.repeats == "for_each" and (for_each := node.record.for_each):
            self._template(join(for_each.pointer, "items"), for_each.items, place)
        elif node.repeats == "loop" and (loop := node.record.loop):
            place = place.with_("iteration", "last", "result")
            self._bare(join(loop.pointer, "until"), loop.until, place, asks=True)
        elif node.repeats is None:
            self._read_work(place)

    def _read_whole(self, place: Place) -> None:
        """What belongs to the whole of a repeated step."""
        record = place.node.record
        if record.when is not None:
            self._bare(join(record.pointer, "when"), record.when, place, asks=True)
        for index, catch in enumerate(record.catches):
            scope = place.node.catches.get(index)
            caught = place.with_("error")
            if catch.when is not None:
                self._bare(join(catch.pointer, "when"), catch.when, caught, asks=True)
            self._template(join(catch.pointer, "output"), catch.output, caught.inside(scope) if scope else caught)

    def _read_work(self, place: Place) -> None:
        node, record = place.node, place.node.record
        if record.retries is not None and record.retries.when is not None:
            self._retry_condition(place, record.retries.when)
        if node.inner is not None:  # a block, whose output is made of that of its steps
            self._template(join(record.pointer, "output"), record.output, place.inside(node.inner))
        else:
            self._template(join(record.pointer, "output"), record.output, place.with_("result"))
        self._template(join(record.pointer, "idempotency_key"), record.idempotency_key, place)
        if record.switch is not None:
            for index, case in enumerate(record.switch.cases):
                self._bare(join(record.pointer, "cases", index, "when"), case.when, place, asks=True)
        self._read_inputs(place)

    def _read_inputs(self, place: Place) -> None:
        record = place.node.record
        built_in = BUILT_IN_TYPES.get(record.type)
        inputs = record.inputs
        reaches_outside = built_in is None or built_in.secrets
        if record.type == "database":  # without a statement it stores its inputs
            reaches_outside = isinstance(inputs, dict) and any(name in inputs for name in STATEMENT_FIELDS)
        place = place.with_("secrets") if reaches_outside else place
        if not isinstance(inputs, dict):
            self._template(join(record.pointer, "inputs"), inputs, place)
            return
        for name, value in inputs.items():
            where = record.input_places[name]
            self._check_key(name, where)
            if built_in is not None and name in built_in.bare:
                if isinstance(value, str):
                    self._bare_input(name, where, value, place)
            elif record.type == "database" and name in STATEMENT_FIELDS:
                self._statement_parameters(where, value, place)
            else:
                self._template(where, value, place)

    def _bare_input(self, name: str, where: str, text: str, place: Place) -> None:
        place = replace(place, variables=tuple(one for one in place.variables if one != "secrets"))
        variables = {"success_when": ("result",), "match": ("event",)}.get(name, ())
        self._bare(where, text, place.with_(*variables), asks=bool(variables))

    def _statement_parameters(self, where: str, statements: Any, place: Place) -> None:
        """Of a list of statements only the parameters: `${` in SQL has been refused with a better reason."""
        for index, one in enumerate(statements if isinstance(statements, list) else ()):
            if isinstance(one, dict) and "params" in one:
                self._template(join(where, index, "params"), one["params"], place)

    def _retry_condition(self, place: Place, condition: str) -> None:
        record = place.node.record
        if record.retry_condition_place.startswith(record.pointer):
            self._bare(record.retry_condition_place, condition, place.with_("error"), asks=True)
            return
        try:
            # The default, whose faults were noted once; it reads no steps.
            references = compile_expression(condition).references
        except InputInvalid:
            return
        place.node.uses_input |= references.reads("input")

    def _bare(self, where: str, text: str, place: Place, *, asks: bool = False) -> None:
        """An expression without `${ }`; one that asks something must be able to give true or false."""
        if not text:
            return  # missing, which was noted
        if text.lstrip().startswith("${"):
            self._faults.add(where, "invalid-template", "this place takes a bare expression: leave out the ${ }")
            return
        expression = self._expression(where, text, place)
        if asks and expression is not None and not expression.can_be_bool:
            self._faults.add(where, "invalid-template", "a condition must give true or false")

    def _template(self, where: str, value: Any, place: Place) -> None:
        if isinstance(value, str):
            if "${" in value:
                self._string(where, value, place)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._template(join(where, index), item, place)
        elif isinstance(value, dict):
            for key, item in value.items():
                self._check_key(key, join(where, key))
                self._template(join(where, key), item, place)

    def _check_key(self, key: str, where: str) -> None:
        if "${" in key:
            message = "keys are not templates: build the object in an expression"
            self._faults.add(where, "invalid-template", message)

    def _string(self, where: str, text: str, place: Place) -> None:
        try:
            parts = split(text)
        except InputInvalid as error:
            self._faults.add_from(where, error)
            return
        for part in parts:
            if isinstance(part, Placeholder):
                self._expression(where, part.expression, place)

    def _expression(self, where: str, text: str, place: Place) -> Expression | None:
        if self._faults.full:
            return None
        try:
            expression = compile_expression(text, self._names)
        except InputInvalid as error:
            self._faults.add(where, "invalid-template", f"`{text[:80]}`: {error.faults[0].message}")
            return None
        for message in misuses(expression.references, place.variables, at_end=place.node.at_end):
            self._faults.add(where, "invalid-template", f"`{text[:80]}`: {message}")
        if "secrets" in place.variables:
            self._check_secrets(where, text, expression)
        for name in sorted(steps_read(expression.references)):
            target = place.scope.find(step_alias(name))
            if target is None:
                message = f"`{text[:80]}`: {self._unknown(name, place.scope)}"
                self._faults.add(where, "unknown-dependency", message)
            else:
                _note(target, place)
        place.node.uses_input |= expression.references.reads("input")
        return expression

    def _check_secrets(self, where: str, text: str, expression: Expression) -> None:
        if self._secrets is None:
            return
        for path in sorted(expression.references.paths, key=str):
            if path[0] == "secrets" and len(path) > 1 and path[1] not in self._secrets:
                hint = did_you_mean(path[1], self._secrets)
                message = f"`{text[:80]}`: there is no secret `{str(path[1])[:80]}`{hint}"
                self._faults.add(where, "unknown-secret", message)

    def _unknown(self, name: str, scope: ScopeNode) -> str:
        """Why there is no step of this name to be read."""
        if self._elsewhere is None:
            self._elsewhere = {
                alias: inside.parent.record.id
                for inside in self._tree.scopes
                if inside.parent is not None
                for alias in inside.by_alias
            }
        if around := self._elsewhere.get(step_alias(name)):
            return (
                f"the step `{name[:80]}` stands inside `{around}` and cannot be read from here; read `steps.{around}`"
            )
        aliases = [alias for one in scope.around() for alias in one.by_alias]
        return f"there is no step `{name[:80]}`{did_you_mean(name, aliases)}"


def _note(target: Node, place: Place) -> None:
    """Note that a step is read: its result is handed over, and if it stands outside, it must have ended before."""
    if place.scope is not place.node.scope and target.scope is place.scope:
        place.scope.refs.add(target)  # by the step that opened the scope, when the scope has ended
        return
    place.node.refs.add(target)
    waiting = place.node
    while waiting.scope is not target.scope:
        if waiting.scope.parent is None:
            raise AssertionError("a step that can be read stands in a scope around")
        waiting = waiting.scope.parent
    if waiting.kind == "step":
        waiting.reads.add(target)
