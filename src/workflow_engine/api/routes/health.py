"""Health, for people and for probes; metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from workflow_engine.access import Scope, declares
from workflow_engine.api import examples, parameters, schemas
from workflow_engine.api.answers import json_answer
from workflow_engine.api.operations import Answer, operation
from workflow_engine.api.parameters import read_parameters
from workflow_engine.api.services import services
from workflow_engine.errors import StoreUnavailable

_REPORT = schemas.HealthReport | schemas.BareHealth

# Served at the root and under /api/v1.
router = APIRouter()
metrics_router = APIRouter()


@router.get(
    "/health",
    **operation(
        "health_get",
        summary="The state of this engine and of what it depends on",
        tag="health",
        scope=Scope.OPEN,
        answers={
            200: Answer("It serves requests; `degraded`: something else is down.", _REPORT, examples.HEALTH),
            503: Answer("Postgres cannot be reached or has no schema.", _REPORT, examples.HEALTH_DOWN),
        },
    ),
)
async def health(request: Request) -> Response:
    """Without Redis, Agent Mesh, Agent Brain or workers the engine is degraded and serves all the same. Where keys are
    needed, only `status` is told without one that has `engine:read`."""
    read_parameters(request, [parameters.PRETTY])
    serving, report = await services(request).health.report()
    if not (await services(request).authentication.recognise(request)).may(Scope.ENGINE_READ):
        report = {"status": report["status"]}
    return json_answer(request, report, 200 if serving else 503)


@router.get(
    "/livez",
    **operation(
        "health_live",
        summary="Whether this process answers at all",
        tag="health",
        scope=Scope.OPEN,
        answers={200: Answer("It does.", schemas.Sign, examples.SIGN)},
    ),
)
async def livez(request: Request) -> Response:
    """For liveness probes: a restart does not help against anything that this does not see."""
    return json_answer(request, examples.SIGN)


@router.get(
    "/readyz",
    **operation(
        "health_ready",
        summary="Whether this engine can serve requests",
        tag="health",
        scope=Scope.OPEN,
        answers={200: Answer("It can.", schemas.Sign, examples.SIGN)},
    ),
)
async def readyz(request: Request) -> Response:
    """For readiness probes: Postgres answers and has our schema. Workers and Redis are not needed for it."""
    if error := await services(request).health.ready():
        raise StoreUnavailable(f"Postgres: {error}", hint="See /health.")
    return json_answer(request, examples.SIGN)


@metrics_router.get("/metrics", include_in_schema=False, openapi_extra=declares(Scope.METRICS_READ))
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(await services(request).scraping.text(), media_type=CONTENT_TYPE_LATEST)
