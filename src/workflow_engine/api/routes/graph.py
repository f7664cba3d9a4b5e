"""The graph of a workflow, or of a definition, as data and as a picture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas
from workflow_engine.api.answers import API, MEDIA_TYPES, json_answer, text_answer
from workflow_engine.api.dag import AT_ONCE, Dag
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problems import invalid_parameter
from workflow_engine.api.routes.workflow_id import read_workflow_id
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.drawing.picture import Picture
from workflow_engine.definition.drawing.svg import draw_svg
from workflow_engine.definition.drawing.text import dot, mermaid
from workflow_engine.errors import DefinitionNotFound
from workflow_engine.records import GraphNode
from workflow_engine.store.pool import as_uuid

_FORM = parameters.form({"mermaid": "a flowchart as text", "dot": "for Graphviz", "svg": "a drawing"})
_DRAW: dict[str, Callable[[Picture], str]] = {"mermaid": mermaid, "dot": dot, "svg": draw_svg}
_PICTURES = {MEDIA_TYPES[form]: draw(examples.PICTURE) for form, draw in _DRAW.items()}

router = routes_under(f"{API}/workflows")


@router.get(
    "/{workflow_id}/dag",
    **operation(
        "workflows_get_dag",
        summary="The graph of a workflow with the states of its steps; with the name of a definition, its graph",
        tag="workflows",
        scope=Scope.WORKFLOWS_READ,
        parameters=[_FORM],
        answers={200: Answer("The graph.", schemas.Dag, examples.DAG, others=_PICTURES)},
        problems=(404,),
    ),
)
async def get_dag(
    request: Request, workflow_id: Annotated[str, Path(description="The id of a workflow; or a definition's name.")]
) -> Response:
    """Nodes, edges, the critical path by the times known so far, and what each step that waits is waiting for."""
    form = read_parameters(request, [_FORM, parameters.PRETTY])["format"]
    title, nodes, cycles = await _read(request, workflow_id)

    def work_out() -> Response:
        dag = Dag(title, nodes, cycles)
        if form == "json":
            return json_answer(request, dag.data())
        try:
            drawn = _DRAW[form](dag.picture())
        except ValueError as error:
            raise invalid_parameter("format", f"{error}; mermaid and dot have no such limit") from error
        return text_answer(drawn, MEDIA_TYPES[form])

    return work_out() if len(nodes) <= AT_ONCE else await asyncio.to_thread(work_out)


async def _read(request: Request, given: str) -> tuple[str, Sequence[GraphNode], Sequence[Sequence[str]]]:
    """Title, steps and cycles of the graph of a workflow; or of a definition's pinned or latest version.

    Raises:
        WorkflowNotFound: It is neither.
    """
    store = services(request).store
    if as_uuid(given) is None and "\0" not in given:
        try:
            version, nodes = await store.definitions.graph(given)
        except DefinitionNotFound:
            pass
        else:
            return f"{given}@{version}", nodes, []
    workflow_id = await read_workflow_id(request, given)
    nodes = await store.workflows.graph(workflow_id)
    # Only what waits for a lock can be on a circle, so that most graphs do not ask.
    is_waiting = any("lock:" in (node.waits or "") for node in nodes)
    found = await store.locks.deadlocks(UUID(workflow_id)) if is_waiting else []
    return f"workflow {workflow_id}", nodes, [[str(id_) for id_ in deadlock.workflows] for deadlock in found]
