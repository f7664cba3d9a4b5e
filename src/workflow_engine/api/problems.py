"""Errors as RFC 9457 problem details: one shape for everything that goes wrong.

`type` is `urn:workflow-engine:problem:<slug>`, and `help` is where this engine explains it; `problem_types` lists them.
Values of the caller are clipped, and no answer carries a stack trace.
"""

from __future__ import annotations

import http
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from workflow_engine.api.answers import API, dump, is_pretty
from workflow_engine.api.callers import is_of_our_page
from workflow_engine.api.problem_types import PROBLEM_TYPES
from workflow_engine.errors import (
    CircularDependency,
    DefinitionInvalid,
    DefinitionNotFound,
    EngineError,
    EnginePaused,
    Fault,
    Forbidden,
    InputInvalid,
    Overloaded,
    StoreUnavailable,
    Unauthorized,
    WorkflowInTheWay,
)
from workflow_engine.observability import metrics
from workflow_engine.observability.logs import get_logger

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:workflow-engine:problem:"
MAX_ERRORS = 50
RETRY_AFTER_SECONDS = 2
PAUSED_RETRY_AFTER_SECONDS = 30
_MAX_DETAIL = 500
_MAX_MESSAGE = 300
_FOR_PAGES = 'Basic realm="workflow-engine: any name, and a key as the password", charset="UTF-8"'

# What the framework refuses, by its status: the first type of each.
_OF_STATUS = {PROBLEM_TYPES[slug].status: slug for slug in reversed(PROBLEM_TYPES)}


def invalid_parameter(name: str, message: str) -> InputInvalid:
    """A refused parameter of the query or path; it has no place in the body, so it is named in the message."""
    detail = f"Parameter {name}: {message}"
    return InputInvalid([Fault("", "invalid-parameter", detail)], detail)


def problem(
    request: Request,
    code: str,
    detail: str,
    *,
    hint: str | None = None,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> Response:
    """An answer in the shape of a problem; its status follows from the code."""
    status = PROBLEM_TYPES[code].status
    content = problem_content(code, detail, request.scope.get("request_id", ""))
    if hint:
        content["hint"] = clip(hint, _MAX_DETAIL)
    if faults:
        content["errors"] = [
            {
                "pointer": clip(fault.pointer, _MAX_MESSAGE),
                "code": fault.code,
                "message": clip(fault.message, _MAX_MESSAGE),
            }
            for fault in faults[:MAX_ERRORS]
        ]
    content.update(extra)
    return Response(dump(content, pretty=is_pretty(request)), status, headers, media_type=MEDIA_TYPE)


def problem_content(code: str, detail: str, request_id: str) -> dict[str, Any]:
    """What every problem has."""
    return {
        "type": TYPE_PREFIX + code,
        "title": code.replace("-", " ").capitalize(),
        "status": PROBLEM_TYPES[code].status,
        "detail": clip(detail, _MAX_DETAIL),
        "code": code,
        "instance": request_id,
        "help": f"{API}/problems/{code}",
    }


def engine_problem(request: Request, error: EngineError) -> Response:
    """The answer to an error of ours."""
    code = error.code if error.code in PROBLEM_TYPES else "internal-error"
    faults: Sequence[Fault] = ()
    headers: dict[str, str] = {}
    extra: dict[str, Any] = {}
    if isinstance(error, DefinitionInvalid | InputInvalid):
        faults = error.faults
        code = _common_code(faults, code)
    if isinstance(error, CircularDependency):
        extra["cycle"] = list(error.cycle)
        get_logger("api").warning(error.detail, request_id=request.scope.get("request_id"))
    if isinstance(error, DefinitionNotFound):
        get_logger("api").warning(error.detail, hint=error.hint, request_id=request.scope.get("request_id"))
    if isinstance(error, WorkflowInTheWay):
        extra["workflow_id"] = error.workflow_id
    if isinstance(error, StoreUnavailable):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    challenges = _challenges(request, error) if isinstance(error, Unauthorized | Forbidden) else ()
    if isinstance(error, Unauthorized | Forbidden):
        metrics.refused_requests.labels(error.reason if isinstance(error, Unauthorized) else "forbidden").inc()
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(error.retry_after)
        metrics.refused_requests.labels(error.code).inc()
    if isinstance(error, EnginePaused):
        headers["Retry-After"] = str(PAUSED_RETRY_AFTER_SECONDS)
    answer = problem(request, code, error.detail, hint=error.hint, faults=faults, headers=headers, **extra)
    for challenge in challenges:  # a header each: browsers read no list of them
        answer.headers.append("WWW-Authenticate", challenge)
    return answer


def _challenges(request: Request, error: Unauthorized | Forbidden) -> Sequence[str]:
    """How to be let in (RFC 6750). Browsers ask for a password: the key is one, for pages.

    A browser sends the password that it has for a page by itself to what lies below that page. To the API it does so
    when it is asked, and then asks nobody again.
    """
    if isinstance(error, Forbidden):
        scope = f', scope="{error.scope}"' if error.scope else ""
        return (f'Bearer realm="workflow-engine", error="insufficient_scope"{scope}',)
    accept = request.headers.get("accept", "") if request.method == "GET" else ""
    fault = "" if error.reason == "missing" else ', error="invalid_token"'
    bearer = f'Bearer realm="workflow-engine"{fault}'
    if "text/html" in accept:
        return (_FOR_PAGES,)
    return (bearer, _FOR_PAGES) if "text/event-stream" in accept or is_of_our_page(request.headers) else (bearer,)


def add_problem_handlers(app: FastAPI) -> None:
    """Answer our errors and the framework's own ones as problems. Unhandled ones are `envelope`'s."""

    async def on_engine_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, EngineError)
        return engine_problem(request, error)

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == http.HTTPStatus.METHOD_NOT_ALLOWED:
            return _wrong_method(request, app)
        code = _OF_STATUS.get(error.status_code, "internal-error")
        if code == "not-found":
            return problem(request, code, f"There is nothing at {request.url.path}.", hint="See /docs.")
        return problem(request, code, str(error.detail))

    app.add_exception_handler(EngineError, on_engine_error)
    app.add_exception_handler(HTTPException, on_http_error)


def _wrong_method(request: Request, app: FastAPI) -> Response:
    allowed = _allowed_methods(request, app)
    headers = {"Allow": ", ".join(allowed)}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    detail = f"{clip(request.method, 20)} is not possible here; possible are {', '.join(allowed)}."
    return problem(request, "method-not-allowed", detail, headers=headers)


def _allowed_methods(request: Request, app: FastAPI) -> list[str]:
    """All methods of a path; the framework names those of one route only."""
    found = ["OPTIONS"]
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0].name == "FULL" for route in app.router.routes):
            found += ["GET", "HEAD"] if method == "GET" else [method]
    return sorted(found)


def _common_code(faults: Sequence[Fault], otherwise: str) -> str:
    """The code that all faults share, so that a body with one mistake is answered with its name."""
    codes = {fault.code for fault in faults}
    code = codes.pop() if len(codes) == 1 else otherwise
    return code if code in PROBLEM_TYPES else otherwise


def clip(text: str, longest: int) -> str:
    """At most `longest` characters, and nothing that cannot be encoded."""
    text = text.encode(errors="replace").decode()
    return text if len(text) <= longest else text[: longest - 1] + "…"
