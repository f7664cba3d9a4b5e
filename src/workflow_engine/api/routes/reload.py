"""Reading definitions anew."""

from __future__ import annotations

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas
from workflow_engine.api.answers import API, json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services

router = routes_under(f"{API}/workflows")


@router.post(
    "/reload",
    **operation(
        "workflows_reload",
        summary="Read the definition files, and make every engine and worker read definitions anew",
        tag="workflows",
        scope=Scope.ENGINE_CONTROL,
        answers={200: Answer("What it brought.", schemas.Reload, examples.RELOAD)},
    ),
)
async def reload(request: Request) -> Response:
    """The files of `WORKFLOW_DEFINITIONS_DIR` whose content is new are registered; one that is wrong stops none of the
    others. Whatever engines and workers had remembered or cached of definitions is forgotten."""
    read_parameters(request, [parameters.PRETTY])
    done = await services(request).reloader.reload()
    answer = {
        "reloaded": done.reloaded,
        "added": done.added,
        "changed": done.changed,
        "invalid": [
            {
                "file": file,
                "errors": [{"pointer": f.pointer, "code": f.code, "message": f.message} for f in faults],
            }
            for file, faults in done.invalid
        ],
    }
    return json_answer(request, answer)
