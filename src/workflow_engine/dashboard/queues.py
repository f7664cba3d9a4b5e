"""/admin/queues: what waits and what runs, live."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib import resources

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from workflow_engine.access import Scope, declares
from workflow_engine.errors import StoreUnavailable
from workflow_engine.records import Gauges, QueueGauges
from workflow_engine.store.store import Store

SCALE_AT = 100
"""Pending tasks from which the runbook asks for more workers."""

_REFRESH_SECONDS = 2
_OPEN, _READ = declares(Scope.OPEN), declares(Scope.ENGINE_READ)
_NO_KEYS = "Authentication is off: whoever reaches this port may do everything. Set <code>WORKFLOW_AUTH=token</code>."
_COLUMNS = ("Queue", "Pending", "Running", "Slots", "Scheduled", "Held", "Oldest pending")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def dashboard_router(store_of: Callable[[Request], Store], *, needs_keys: bool) -> APIRouter:
    """The pages, as routes.

    Args:
        store_of: Gives the store of the engine that serves a request.
        needs_keys: Whether callers of the API must show one.
    """
    router = APIRouter(include_in_schema=False)
    style_sheet = resources.files(__package__).joinpath("style.css").read_bytes()

    @router.get("/", openapi_extra=_OPEN)
    @router.get("/admin", openapi_extra=_OPEN)
    async def start() -> Response:
        return RedirectResponse("/admin/queues", headers=_HEADERS)

    @router.get("/admin/queues", openapi_extra=_READ)
    async def queues(request: Request) -> Response:
        status = 200
        try:
            content = _queues(await store_of(request).gauges())
        except StoreUnavailable as error:
            status = 503
            content = f'<p class="alarm" role="alert">{escape(error.detail)} This page tries again by itself.</p>'
        if not needs_keys:
            content = f'<p class="alarm" role="status">{_NO_KEYS}</p>{content}'
        return Response(_page("Queues", content), status, _HEADERS, media_type="text/html")

    @router.get("/admin/style.css", openapi_extra=_OPEN)
    async def style() -> Response:
        return Response(style_sheet, headers={"Cache-Control": "max-age=60"}, media_type="text/css")

    return router


def _queues(gauges: Gauges) -> str:
    workers = ", ".join(f"{count} {state}" for state, count in gauges.workers.items() if count) or "none"
    facts = f"<p>Workers: {workers} · Active workflows: {gauges.active_workflows:,}</p>"
    notes = []
    if gauges.paused:
        notes.append("The engine is paused: nothing new is accepted or started. POST /api/v1/resume ends it.")
    if not gauges.workers.get("active"):
        notes.append("No worker is active: nothing will be run.")
    for queue in gauges.queues:
        if queue.pending and not queue.slots:
            pending = "1 task of it is" if queue.pending == 1 else f"{queue.pending:,} tasks of it are"
            notes.append(f"No active worker serves queue {escape(queue.queue)}; {pending} pending.")
        elif queue.pending > SCALE_AT:
            notes.append(f"Queue {escape(queue.queue)} has {queue.pending:,} pending tasks: scale workers.")
    alarms = "".join(f'<p class="alarm" role="status">{note}</p>' for note in notes)
    if not gauges.queues:
        return (
            f"{alarms}{facts}<p>No queue has tasks or workers. Start a worker: <code>workflow-engine worker</code></p>"
        )
    head = "".join(f"<th scope=col>{name}</th>" for name in _COLUMNS)
    rows = "".join(map(_row, gauges.queues))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'{alarms}{facts}<div class="wide">{table}</div>'


def _row(queue: QueueGauges) -> str:
    numbers = (queue.pending, queue.running, queue.slots, queue.scheduled, queue.held)
    cells = "".join(f"<td>{number:,}</td>" for number in numbers)
    oldest = f"{queue.oldest_pending_seconds:,.0f} s" if queue.pending else "–"
    return f"<tr><th scope=row>{escape(queue.queue)}</th>{cells}<td>{oldest}</td></tr>"


def _page(title: str, content: str) -> str:
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title} · workflow-engine</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<meta http-equiv=refresh content={_REFRESH_SECONDS}><link rel=stylesheet href=style.css></head>"
        f"<body><header>workflow-engine</header><main><h1>{title}</h1>{content}</main></body></html>\n"
    )
