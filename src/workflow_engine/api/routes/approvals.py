"""Approvals: what people are asked, and their answers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Request, Response

from workflow_engine.access import Scope
from workflow_engine.api import examples, parameters, schemas, views
from workflow_engine.api.answers import API, json_answer, next_link
from workflow_engine.api.bodies import read_fields
from workflow_engine.api.entering import principal_of
from workflow_engine.api.operations import Answer, Body, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.problems import clip
from workflow_engine.api.routing import routes_under
from workflow_engine.api.services import services
from workflow_engine.definition.faults import clipped
from workflow_engine.definition.input_schema import check_schema, validate_input
from workflow_engine.errors import ApprovalNotFound, Forbidden, InputInvalid
from workflow_engine.observability.logs import get_logger
from workflow_engine.records import Approval
from workflow_engine.store.pool import as_uuid

_LONGEST_NAME = 200
_PAGE = parameters.page(100)
ApprovalId = Annotated[str, Path(description="The id of an approval.")]

router = routes_under(f"{API}/approvals")


async def _approval(request: Request, approval_id: str) -> Approval:
    """The approval of this id.

    Raises:
        ApprovalNotFound: There is none.
    """
    id = as_uuid(approval_id)
    if id is None:
        raise ApprovalNotFound(
            f"There is no approval {clipped(approval_id)}.", hint="GET /api/v1/approvals lists those that are open."
        )
    found = await services(request).store.approvals.get(id)
    request.scope["workflow_id"] = str(found.workflow_id)  # for the log line of this request
    return found


@router.get(
    "",
    **operation(
        "approvals_list",
        summary="What people are asked, newest first",
        tag="approvals",
        scope=Scope.WORKFLOWS_READ,
        parameters=[parameters.WORKFLOW_ID, parameters.APPROVAL_STATUS, *_PAGE],
        answers={200: Answer("One page.", list[schemas.Approval], [examples.APPROVAL], ("Link",))},
    ),
)
async def list_approvals(request: Request) -> Response:
    """Those that are open, unless `status` says otherwise."""
    values = read_parameters(request, [parameters.WORKFLOW_ID, parameters.APPROVAL_STATUS, *_PAGE, parameters.PRETTY])
    found = await services(request).store.approvals.list(
        status=values["status"], workflow_id=values["workflow_id"], before=values["cursor"], limit=values["limit"] + 1
    )
    shown = found[: values["limit"]]
    headers = next_link(request, shown[-1].id) if len(found) > len(shown) else None
    return json_answer(request, [views.approval(approval) for approval in shown], headers=headers)


@router.get(
    "/{approval_id}",
    **operation(
        "approvals_get",
        summary="One approval",
        tag="approvals",
        scope=Scope.WORKFLOWS_READ,
        answers={200: Answer("The approval.", schemas.Approval, examples.APPROVAL)},
        problems=(404,),
    ),
)
async def get(request: Request, approval_id: ApprovalId) -> Response:
    """With the form that `data` of an answer must fit, if there is one."""
    approval = await _approval(request, approval_id)
    read_parameters(request, [parameters.PRETTY])
    return json_answer(request, views.approval(approval))


@router.post(
    "/{approval_id}",
    **operation(
        "approvals_answer",
        summary="Answer an approval; its workflow goes on",
        tag="approvals",
        scope=Scope.APPROVALS_ANSWER,
        body=Body(schemas.ApprovalAnswer, {"approved": examples.APPROVAL_ANSWER}),
        answers={200: Answer("Answered.", schemas.Approval, examples.APPROVAL_ANSWERED)},
        problems=(404, 409),
    ),
)
async def answer(request: Request, approval_id: ApprovalId) -> Response:
    """The first answer counts. The same answer again changes nothing; another one is refused, and so is one that comes
    after the time of the approval. Where keys are needed, only its assignees and admins may answer."""
    approval = await _approval(request, approval_id)
    read_parameters(request, [parameters.PRETTY])
    _check_assignee(request, approval)
    outcome, data, by = await _read_answer(request, approval)
    by = principal_of(request).signed(by)
    approvals = services(request).store.approvals
    repeated = await approvals.answer(approval.id, outcome, data, by)
    if not repeated:
        get_logger("api").info(
            "approval answered",
            workflow_id=str(approval.workflow_id),
            approval_id=str(approval.id),
            outcome=outcome,
            by=by,
            request_id=request.scope.get("request_id"),
        )
    return json_answer(request, views.approval(await approvals.get(approval.id)))


def _check_assignee(request: Request, approval: Approval) -> None:
    principal = principal_of(request)
    if not principal.may_answer_for(approval.assignees):
        raise Forbidden(
            f"{principal.name} is not among its assignees: {clip(', '.join(approval.assignees), 300)}.",
            hint="A key is among them by its name or one of its groups: workflow-engine token create --group GROUP.",
        )


async def _read_answer(request: Request, approval: Approval) -> tuple[str, Any, str | None]:
    limit = services(request).settings.max_payload_bytes
    fields = await read_fields(request, ("outcome", "data", "by"), limit=limit)
    outcome = fields.choice("outcome", approval.outcomes)
    by = fields.text("by", longest=_LONGEST_NAME)
    if by is not None and not by.isprintable():
        fields.fault("by", "validation-error", "must be one line of printable characters")
    data = fields.get("data")
    if not fields.faults and outcome is None:
        fields.fault("outcome", "validation-error", f"is missing; write one of {', '.join(approval.outcomes)}")
    if fields.faults or outcome is None:
        raise InputInvalid(fields.faults.found)
    # A form that is no JSON Schema, as a template may have made it, must not make the question unanswerable.
    schema = approval.form_of(outcome)
    if schema is not None and not check_schema(schema, ""):
        validate_input(schema, data, "/data")
    return outcome, data, by
