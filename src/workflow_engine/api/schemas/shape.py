"""What all shapes have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Exactly the fields it has."""

    model_config = ConfigDict(extra="forbid")
