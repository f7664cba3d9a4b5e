"""Definitions: what they are, their versions and what changed between them, and files of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workflow_engine.api.schemas.problems import ProblemError, Warning
from workflow_engine.api.schemas.shape import Shape
from workflow_engine.api.schemas.workflows import Step


class DefinitionVersion(Shape):
    """One state of a definition."""

    version: int
    hash: str = Field(description="Of its content; the same content is the same version.")
    created_at: datetime
    active_runs: int = Field(description="Live workflows that run on it.")
    pinned_runs: int = Field(description="Live workflows that are pinned to it.")
    is_default: bool = Field(description="New workflows start on it when they name none.")


class DefinitionVersions(Shape):
    """A definition with its versions."""

    name: str
    latest_version: int
    pinned_version: int | None
    versions: list[DefinitionVersion]


class FileError(Shape):
    """One thing that is wrong with a file."""

    pointer: str = Field(description="Where: a JSON Pointer (RFC 6901) into the definition; empty for all of it.")
    code: str
    message: str


class RefusedFile(Shape):
    """A definition file that was not read."""

    file: str
    errors: list[FileError]


class Reload(Shape):
    """What reading the definition files brought."""

    reloaded: int = Field(description="Files whose definitions the engine now has.")
    added: list[str] = Field(description="Names that are new.")
    changed: list[str] = Field(description="Names that have a new version.")
    invalid: list[RefusedFile]


class DefinitionDocument(BaseModel):
    """A definition; `/api/v1/schema/definition.json` is the JSON Schema of all of it."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(pattern="^[a-z][a-z0-9_-]{0,127}$")
    steps: list[Step] = Field(min_length=1)


class DefinitionSummary(Shape):
    """A definition without its document."""

    name: str
    latest_version: int
    pinned_version: int | None = Field(description="On which new workflows start when they name no version.")
    disabled: bool = Field(description="It was deleted: it starts nothing new.")
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime = Field(description="When it got its latest version.")
    links: dict[str, str]


class Definition(DefinitionSummary):
    """One version of a definition."""

    version: int
    hash: str = Field(description="Of its content; the same content is the same version.")
    registered_at: datetime = Field(description="When it was registered, as this version.")
    definition: dict[str, Any] = Field(description="As it was submitted.")


class RegisteredDefinition(Shape):
    """A version that was registered, or was there already."""

    name: str
    version: int
    hash: str
    registered_at: datetime
    warnings: list[Warning]
    links: dict[str, str]


class Validation(Shape):
    """What a start or a registration would say of a definition."""

    valid: bool
    name: str | None
    hash: str | None = Field(description="Of its content; null when it is refused.")
    version: int | None = Field(description="The version that has this content, if there is one.")
    faults: list[ProblemError]
    warnings: list[Warning]


class Change(Shape):
    """One value that differs."""

    pointer: str = Field(description="Into the new document; of what was removed, into the old one.")
    change: Literal["added", "removed", "changed"]
    old: Any = Field(alias="from")
    new: Any = Field(alias="to")


class StepPlace(Shape):
    """A step that one of the documents has."""

    id: str
    pointer: str


class StepChange(StepPlace):
    """A step that both documents have, and not the same."""

    changes: list[Change]


class StepChanges(Shape):
    """What became of the steps. They are told apart by their ids; where they stand means nothing."""

    added: list[StepPlace]
    removed: list[StepPlace]
    changed: list[StepChange]


class DefinitionDifference(Shape):
    """What changed from one version of a definition to another."""

    name: str
    old: int = Field(alias="from")
    new: int = Field(alias="to")
    steps: StepChanges
    fields: list[Change] = Field(description="What changed beside the steps.")
