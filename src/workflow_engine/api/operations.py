"""How a route is declared: its id, what it takes and what it answers, once, for the OpenAPI document."""

from __future__ import annotations

import http
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from workflow_engine.access import X_SCOPE, Scope, declares
from workflow_engine.api import examples, schemas
from workflow_engine.api.answers import MEDIA_TYPES
from workflow_engine.api.parameters import PRETTY, Parameter
from workflow_engine.api.problem_types import PROBLEM_TYPES
from workflow_engine.api.problems import MEDIA_TYPE, problem_content
from workflow_engine.api.streams import MEDIA_TYPE as EVENTS

# What can happen to every request, and to one that may have a body; described once.
_ALWAYS = (400, 403, 406, 408, 414, 421, 422, 429, 431, 500, 503)
_WITH_BODY = (413, 415)
YAML = MEDIA_TYPES["yaml"]
_KEY = "key"
_REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request.

    Attributes:
        model: Its shape.
        examples: By what each shows.
        many: It is a list of such.
        required: It may not be left out.
        yaml: The same as YAML, by what it shows, where YAML is accepted too.
    """

    model: type[BaseModel]
    examples: Mapping[str, Any]
    many: bool = False
    required: bool = True
    yaml: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not a problem."""

    description: str
    model: Any
    example: Any
    headers: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)  # media types of other forms, with an example each


# By operation id. The framework drops what is null from its document, so examples are put in afterwards.
_answers: dict[str, Mapping[int, Answer]] = {}

_HEADERS = {
    "Location": "Where it is found.",
    "Link": 'The next page, as `<...>; rel="next"`; absent on the last one.',
    "ETag": "Names this state of it; send it as `If-Match` to change nothing else.",
    "Idempotency-Replayed": "`true` when this repeats the answer to an earlier request with the same key.",
}


def operation(
    operation_id: str,
    *,
    summary: str,
    tag: str,
    scope: Scope,
    answers: Mapping[int, Answer],
    parameters: Sequence[Parameter] = (),
    headers: Sequence[Mapping[str, Any]] = (),
    body: Body | None = None,
    problems: Sequence[int] = (),
) -> dict[str, Any]:
    """Arguments for a route's decorator.

    Args:
        operation_id: Stable: generated clients name their functions after it.
        summary: One line.
        tag: The noun it belongs to.
        scope: What it asks of who calls it.
        answers: What it answers, by status.
        parameters: Those of its query.
        headers: Those it reads, as OpenAPI has parameters.
        body: What it takes.
        problems: Statuses of problems beside those that are always possible.
    """
    _answers[operation_id] = answers
    if scope is not Scope.OPEN:
        problems = [*problems, 401]
    extra: dict[str, Any] = {
        **declares(scope),
        "parameters": [*(p.document() for p in (*parameters, PRETTY)), *headers],
    }
    if body is not None:
        extra["requestBody"] = _request_body(body)
    return {
        "operation_id": operation_id,
        "summary": summary,
        "tags": [tag],
        "response_model": None,
        "status_code": next(iter(answers)),
        "openapi_extra": extra,
        "responses": {
            **{status: _answer(answer) for status, answer in answers.items()},
            **{status: _problem(status) for status in sorted(problems)},
        },
    }


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        made.setdefault("components", {})["responses"] = {
            f"Problem{status}": _problem(status) for status in (*_ALWAYS, *_WITH_BODY)
        }
        components = made["components"].setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            components.pop(unused, None)
        models = (
            schemas.Problem,
            schemas.StartRequest,
            schemas.DefinitionDocument,
            schemas.TrialRequest,
            schemas.ReasonRequest,
            schemas.RerunRequest,
            schemas.SkipRequest,
            schemas.BudgetRequest,
            schemas.BulkCancelRequest,
            schemas.BulkRetryRequest,
            schemas.RecoverRequest,
            schemas.TaskTypePatch,
            schemas.SignalPayload,
            schemas.ApprovalAnswer,
        )
        _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)
        components.update(definitions["$defs"])
        made["components"]["securitySchemes"] = {_KEY: {"type": "http", "scheme": "bearer", "bearerFormat": "wfk_..."}}
        for item in made["paths"].values():
            for method, described in item.items():
                if described[X_SCOPE] != Scope.OPEN:
                    described["security"] = [{_KEY: []}]
                answers = _answers[described["operationId"]]
                for status, answer in answers.items():
                    described["responses"][str(status)]["content"]["application/json"]["example"] = answer.example
                for status in _ALWAYS if method == "get" else (*_ALWAYS, *_WITH_BODY):
                    if status not in answers:
                        described["responses"][str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
        app.openapi_schema = made
    return app.openapi_schema


def _request_body(body: Body) -> dict[str, Any]:
    schema: dict[str, Any] = {"$ref": _REFERENCE.format(model=body.model.__name__)}
    if body.many:
        schema = {"type": "array", "items": schema, "minItems": 1}
    content = {"application/json": {"schema": schema, "examples": _shown(body.examples)}}
    if body.yaml:
        content[YAML] = {"schema": {"type": "string"}, "examples": _shown(body.yaml)}
    return {"required": body.required, "content": content}


def _shown(examples: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {"value": value} for name, value in examples.items()}


def _answer(answer: Answer) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "description": answer.description,
        "model": answer.model,
        "content": {"application/json": {"example": answer.example}},
    }
    for media_type, example in answer.others.items():
        # A stream is a text to some and a series of events to others.
        schema = {"description": "Server-sent events."} if media_type == EVENTS else {"type": "string"}
        shown["content"][media_type] = {"schema": schema, "example": example}
    if answer.headers:
        shown["headers"] = {
            name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in answer.headers
        }
    return shown


def _problem(status: int) -> dict[str, Any]:
    slugs = [slug for slug, kind in PROBLEM_TYPES.items() if kind.status == status]
    example = examples.PROBLEM if status == examples.PROBLEM["status"] else _example(slugs[0])
    return {
        "description": f"{http.HTTPStatus(status).phrase}: {', '.join(f'`{slug}`' for slug in slugs)}.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}, "example": example}},
    }


def _example(slug: str) -> dict[str, Any]:
    return problem_content(slug, "What went wrong with this request.", examples.PROBLEM["instance"])
