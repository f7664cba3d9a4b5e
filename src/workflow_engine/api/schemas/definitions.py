"""Definitions: their versions, and files of them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from workflow_engine.api.schemas.shape import Shape


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
