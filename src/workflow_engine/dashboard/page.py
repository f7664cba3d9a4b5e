"""What a page is, and how it becomes an answer: templates, headers, and what is shown when something is wrong."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from workflow_engine.access import NOBODY, Principal, Scope
from workflow_engine.api.problem_types import PROBLEM_TYPES
from workflow_engine.dashboard.actions import Action, Field
from workflow_engine.dashboard.formats import FILTERS, as_attribute
from workflow_engine.dashboard.glance import Glance
from workflow_engine.dashboard.visit import Visit, relative
from workflow_engine.errors import EngineError, NotFound
from workflow_engine.observability.alerts import summary_of
from workflow_engine.settings import VERSION

_HEADERS = {
    "Cache-Control": "no-store",
    # Everything is our own and from files: a text that got into a page as markup could load and run nothing.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}
RESUME = Action("Resume", "/resume", Scope.ENGINE_CONTROL, "Resumed: the engine accepts and starts workflows again.")
PAUSE = Action(
    "Pause intake",
    "/pause",
    Scope.ENGINE_CONTROL,
    "Paused: no new workflow is accepted or started. Still running: {running}.",
    ask="No new workflow is accepted or started until somebody resumes the engine. What runs goes on, and workers"
    " stay.",
    fields=(
        Field("reason", "Reason", hint="new release", help="Shown to everybody who finds the engine paused."),
        Field(
            "ttl",
            "Resume automatically after",
            "query",
            "duration",
            hint="15m",
            help="15m, 2h, 1h30m. Empty: when somebody resumes it.",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class GoTo:
    """What a page gives instead of its content: another page to go to."""

    url: str


class Group(StrEnum):
    """Of the navigation, in its order."""

    NOW = "Now"
    WORK = "Work"
    CAPACITY = "Capacity"
    ENGINE = "Engine"


Reader = Callable[[Visit], Awaitable[Mapping[str, Any] | GoTo]]


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        path: Its route.
        template: In `templates/`; it extends `base.html`.
        read: Gives the template its variables. `stream` among them is what the page listens to for changes (else those
            of the whole engine); `status` the status of the answer.
        scope: What it takes to see it.
        title: In the navigation; None: it is not there.
        key: `g` and this key lead to it.
        group: Where in the navigation.
        waiting: How many things there are that wait for somebody, and are told in the navigation.
    """

    path: str
    template: str
    read: Reader
    scope: Scope
    title: str | None = None
    key: str | None = None
    group: Group = Group.ENGINE
    waiting: Callable[[Visit], int] | None = None


class Rendering:
    """Makes answers of pages.

    Args:
        pages: All there are, for the navigation.
        assets: The folder of static files.
        needs_keys: Whether callers of the API must show one.
    """

    def __init__(self, pages: tuple[Page, ...], assets: str, *, needs_keys: bool) -> None:
        self._pages = [page for page in pages if page.title]
        self._assets = assets
        self._needs_keys = needs_keys
        self._glance = Glance()
        self._templates = Environment(
            loader=PackageLoader(__package__),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(FILTERS)

    async def answer(self, request: Request, page: Page) -> Response:
        """A page as it is now; errors of ours are pages, too."""
        begun = time.thread_time()
        try:
            if "\0" in request.scope["path"]:  # which no text in Postgres has
                raise NotFound("There is no such page.")
            visit = await Visit.begin(request, self._glance)
            found = await page.read(visit)
        except EngineError as error:
            return self.failure(request, error, page)
        if isinstance(found, GoTo):
            return RedirectResponse(found.url, status_code=303, headers=_HEADERS)
        whole = visit.url("/admin/changes", after=visit.last_event)
        status = found.get("status", 200)
        # What is wrong with the address stays wrong: nothing is gained by asking again.
        content = self._render(
            request, page.template, page, visit=visit, asks=status == 200, **{"stream": whole, **found}
        )
        # By this the script knows how often it may ask again. What the process did meanwhile for others is in it: so
        # pages ask less of an engine that has much to do.
        spent = time.thread_time() - begun + sum(visit.beside)
        timing = {"Server-Timing": f"page;dur={spent * 1000:.1f}"}
        return Response(content, status, {**_HEADERS, **timing}, media_type="text/html")

    def failure(self, request: Request, error: EngineError, page: Page | None = None) -> Response:
        """The page that says what is wrong, and what to do."""
        status = PROBLEM_TYPES[error.code].status if error.code in PROBLEM_TYPES else 500
        content = self._render(
            request, "error.html", page, visit=None, stream="", error=error, status=status, asks=status == 503
        )  # fmt: skip
        return Response(content, status, _HEADERS, media_type="text/html")

    def _navigation(self, request: Request, visit: Visit | None) -> list[tuple[Group, list[tuple[Page, int]]]]:
        """The pages that who looks may see, by group, each with how many things wait there."""
        principal: Principal = request.scope.get("principal", NOBODY)
        seen = [page for page in self._pages if principal.may(page.scope)]

        def entry(page: Page) -> tuple[Page, int]:
            return page, page.waiting(visit) if visit is not None and page.waiting is not None else 0

        groups = [(group, [entry(page) for page in seen if page.group == group]) for group in Group]
        return [(group, entries) for group, entries in groups if entries]

    def _render(self, request: Request, template: str, page: Page | None, **variables: Any) -> str:
        path = request.url.path
        return self._templates.get_template(template).render(
            page=page,
            navigation=self._navigation(request, variables["visit"]),
            url=lambda to, /, **query: relative(path, to, query),
            summary_of=summary_of,
            act=lambda action, **looks: _button(variables["visit"], action, **looks),
            resume=RESUME,
            asset=lambda name: relative(path, self._assets + name),
            root=relative(path, "/"),
            path=path,
            request=request,
            needs_keys=self._needs_keys,
            version=VERSION,
            **variables,
        )


def _button(
    visit: Visit | None, action: Action, *, small: bool = False, main: bool = False, selected: bool = False
) -> str:
    """The button of an action; nothing for who may not do it.

    Args:
        selected: It is done to the workflows that are ticked.
    """
    if visit is None or not visit.may(action.scope):
        return ""
    looks = " ".join(["button", *(["small"] * small), *(["main"] * main), *(["danger"] * action.destroys)])
    return Markup('<button type="button" class="{}" data-action="{}"{}>{}{}</button>').format(
        looks,
        as_attribute(action.data()),
        Markup(" data-selected disabled") if selected else "",
        action.label,
        " …" if action.ask else "",
    )
