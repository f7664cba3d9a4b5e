"""Who asks, and what was asked."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from workflow_engine.access import Role
from workflow_engine.api.schemas.shape import Shape


class WhoAmI(Shape):
    """Who asks, and what it may do."""

    auth: Literal["none", "token"] = Field(description="`none`: everybody may do everything.")
    name: str | None = Field(description="Of the principal; null when it is not known who asks.")
    key_id: str | None
    roles: list[Role]
    groups: list[str] = Field(description="What else it is called among the assignees of approvals.")
    scopes: list[str]
    expires_at: datetime | None


class AuditRow(Shape):
    """Something that was asked of the API."""

    id: str
    at: datetime
    principal: str | None = Field(description="Null: it is not known who.")
    key_id: str | None
    address: str | None
    request_id: str | None
    method: str = Field(description="`SQL`: not over HTTP; a key was made or ended.")
    path: str
    operation: str = Field(description="Its `operationId`.")
    workflow_id: str | None
    status: int | None = Field(description="Of the answer; 499: nobody waited for it.")
    times: int = Field(description="How often the like of it was refused within ten seconds, in this row.")
    reason: str | None = Field(description="Why, as who asked said; of what takes a `reason`.")
