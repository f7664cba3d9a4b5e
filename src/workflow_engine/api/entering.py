"""Before every route: who asks, and whether it may.

A route declares its scope with `operation(..., scope=...)`, or, where it is not part of the OpenAPI document, with
`openapi_extra=declares(...)`. One that declares none answers nobody. A handler asks `principal_of(request)` who it
works for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from workflow_engine.access import ANYONE, NOBODY, X_SCOPE, Principal, Scope
from workflow_engine.api.services import services
from workflow_engine.errors import Forbidden, Unauthorized

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def declared_scope(route: Any) -> Scope | None:
    """The scope of a route; None: it declares none."""
    found = (getattr(route, "openapi_extra", None) or {}).get(X_SCOPE)
    return None if found is None else Scope(found)


def principal_of(request: Request) -> Principal:
    """Who asks, in a handler: known, and allowed to."""
    principal: Principal = request.scope["principal"]
    return principal


def client_address(scope: Mapping[str, Any]) -> str | None:
    """From where a request comes, as far as is known: WORKFLOW_TRUSTED_PROXIES says which proxies are believed."""
    client = scope.get("client")
    return client[0] if client else None


def require(request: Request, scope: Scope, *, what: str = "This") -> None:
    """Ask for one more scope, where it depends on what is asked.

    Args:
        what: That it takes; the beginning of a sentence.

    Raises:
        Forbidden: The principal does not have it.
    """
    principal = principal_of(request)
    if principal.may(scope):
        return
    roles = ", ".join(principal.roles) or "no role"
    raise Forbidden(
        f"{what} needs the scope {scope}, which the key {principal.key_id} of {principal.name} ({roles}) does not"
        " have.",
        scope=scope,
        hint="docs/security.md lists the scopes of each role; `workflow-engine token create --role ROLE` makes a key.",
    )


async def enter(request: Request) -> None:
    """A dependency of all routes, the first.

    Raises:
        Unauthorized: It is not known who asks.
        Forbidden: Who asks may not.
        StoreUnavailable: It cannot be found out.
    """
    route = request.scope["route"]
    scope = declared_scope(route)
    if scope is None:
        raise RuntimeError(f"{request.method} {route.path} declares no scope")
    authentication = services(request).authentication
    if scope is Scope.OPEN:
        request.scope["principal"] = NOBODY if authentication.is_on else ANYONE
        return
    request.scope["operation"] = route.operation_id or route.path
    request.scope["changes"] = request.method not in _SAFE and not scope.endswith(":read")
    try:
        request.scope["principal"] = await authentication.authenticate(
            request, without_postgres=scope is Scope.METRICS_READ
        )
    except Unauthorized as error:
        if error.key_id is not None and error.principal is not None:  # it was good once: for the audit log
            request.scope["principal"] = Principal(error.principal, frozenset(), error.key_id)
        raise
    require(request, scope)
