"""One operation on many workflows: each is done by itself and has its own result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import bulk_examples as examples
from workflow_engine.api import parameters, schemas
from workflow_engine.api.answers import API, json_answer, next_path
from workflow_engine.api.auditing import changed_workflows
from workflow_engine.api.bodies import read_fields, read_texts
from workflow_engine.api.entering import principal_of
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problems import clip
from workflow_engine.api.reasons import reason_among
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.fields import Fields
from workflow_engine.errors import EngineError, Fault, InputInvalid, StoreUnavailable
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import WorkflowSummary
from workflow_engine.states import WorkflowStatus
from workflow_engine.store.pool import as_uuid
from workflow_engine.store.workflow_search import AMONG

_LONGEST_ID = 80  # characters of what was no id
_PAGE = parameters.page(100)
_CANCEL = (*parameters.FILTERS, parameters.DRY_RUN, *_PAGE)
_RETRY = (*parameters.FILTERS, parameters.DRY_RUN, parameters.FORCE, *_PAGE)
_LIVE = (WorkflowStatus.PENDING, WorkflowStatus.RUNNING)

_Result = dict[str, Any]
_Act = Callable[[WorkflowSummary], Awaitable[Mapping[str, Any]]]

router = routes_under(f"{API}/workflows/bulk")


@router.post(
    "/cancel",
    **operation(
        "workflows_cancel_many",
        summary="Cancel many workflows",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        parameters=_CANCEL,
        body=Body(schemas.BulkCancelRequest, {"only these": examples.CANCEL}, required=False),
        answers={200: Answer("What became of each.", schemas.Bulk, examples.CANCELLED)},
    ),
)
async def cancel(request: Request) -> Response:
    """Those that the filters name and that have not ended, newest first; with `status`, also others, which are refused.
    One that cannot be cancelled stops none of the others."""
    values = read_parameters(request, [*_CANCEL, parameters.PRETTY])
    fields = await read_fields(request, ("ids", "reason"), limit=services(request).settings.max_payload_bytes)
    reason, by = reason_among(request, fields), principal_of(request).name or None
    control = services(request).store.control

    async def act(workflow: WorkflowSummary) -> Mapping[str, Any]:
        if workflow.ending is not None:  # a second cancel would cut its ending short
            return {"outcome": "unchanged"}
        before, _, _ = await control.cancel(str(workflow.id), reason=reason, by=by)
        return {"outcome": "unchanged" if before == WorkflowStatus.CANCELLED else "done"}

    def would(status: str) -> str:
        return "done" if status in _LIVE else "unchanged" if status == WorkflowStatus.CANCELLED else "refused"

    return await _each(request, values, fields, default=_LIVE, act=act, would=would)


@router.post(
    "/retry",
    **operation(
        "workflows_retry_many",
        summary="Retry many workflows",
        tag="workflows",
        scope=Scope.WORKFLOWS_CONTROL,
        parameters=_RETRY,
        body=Body(schemas.BulkRetryRequest, {"only these": examples.RETRY}, required=False),
        answers={200: Answer("What became of each.", schemas.Bulk, examples.RETRIED)},
    ),
)
async def retry(request: Request) -> Response:
    """Those that the filters name and that failed, newest first; with `status`, also others. Each is retried as by
    `POST /workflows/{workflow_id}/retry`; one that cannot be retried stops none of the others."""
    values = read_parameters(request, [*_RETRY, parameters.PRETTY])
    fields = await read_fields(request, ("ids",), limit=services(request).settings.max_payload_bytes)
    control = services(request).store.control
    retryable = {"failed", "pending", *(("cancelled",) if values["force"] else ())}

    async def act(workflow: WorkflowSummary) -> Mapping[str, Any]:
        return {"outcome": "done", "tasks": await control.retry(str(workflow.id), force=values["force"])}

    def would(status: str) -> str:
        return "done" if status in retryable else "refused"

    return await _each(request, values, fields, default=(WorkflowStatus.FAILED,), act=act, would=would)


async def _each(
    request: Request,
    values: Mapping[str, Any],
    fields: Fields,
    *,
    default: Sequence[str],
    act: _Act,
    would: Callable[[str], str],
) -> Response:
    """Do it to every workflow of a page.

    Args:
        values: Of the query.
        fields: Of the body.
        default: The statuses that are meant when neither `status` nor `ids` say so.
        act: Does it to one workflow; what it returns is a part of its result.
        would: What `act` would come to, by the status of the workflow.
    """
    given = read_texts(fields, "ids", most=parameters.MAX_LIMIT)
    if fields.faults:
        raise InputInvalid(fields.faults.found)
    filtered = [parameter.name for parameter in parameters.FILTERS if values[parameter.name] not in (None, (), {})]
    if given is None and not filtered:
        message = "say which workflows are meant: by a filter such as ?name=data-pipeline, or by `ids`"
        raise InputInvalid([Fault("", "validation-error", message)])
    ids = None if given is None else [id_ for id_ in map(as_uuid, given) if id_]
    limit = values["limit"] if ids is None else parameters.MAX_LIMIT
    status = values["status"] or (() if given is not None else default)
    which = parameters.workflow_filter(values, status=status, ids=ids)
    found = await services(request).store.search.page(which, before=values["cursor"], among=AMONG, limit=limit)
    page = found.workflows
    results = [_result(w, outcome=would(w.status)) for w in page] if values["dry_run"] else await _done(page, act)
    results += _unknown(given or (), {w.id for w in page})
    counts = Counter(result["outcome"] for result in results)
    if not values["dry_run"]:
        changed_workflows(request.scope, [UUID(result["id"]) for result in results if result["outcome"] == "done"])
        get_logger("api").info(f"workflows: {request.url.path.rpartition('/')[2]} of many", **counts)
    return json_answer(
        request,
        {
            "dry_run": values["dry_run"],
            **{outcome: counts[outcome] for outcome in ("done", "unchanged", "refused")},
            "results": results,
            "next": None if found.further is None else next_path(request, found.further),
        },
    )


async def _done(workflows: Sequence[WorkflowSummary], act: _Act) -> list[_Result]:
    results: list[_Result] = []
    away: StoreUnavailable | None = None
    for workflow in workflows:
        if away is None:
            try:
                results.append(_result(workflow, **await act(workflow)))
                continue
            except StoreUnavailable as error:
                away = error  # each of the others would wait for it as long
            except EngineError as error:
                results.append(_result(workflow, outcome="refused", code=error.code, why=error.detail))
                continue
        results.append(_result(workflow, outcome="refused", code=away.code, why=away.detail))
    return results


def _result(workflow: WorkflowSummary, **more: Any) -> _Result:
    return {"id": str(workflow.id), "name": workflow.name, "status": workflow.status, **more}


def _unknown(given: Sequence[str], seen: set[UUID]) -> list[_Result]:
    why = "There is no workflow with this id that the filters name."
    more = {"name": None, "status": None, "outcome": "refused", "code": "workflow-not-found", "why": why}
    return [{"id": clip(text, _LONGEST_ID), **more} for text in dict.fromkeys(given) if as_uuid(text) not in seen]
