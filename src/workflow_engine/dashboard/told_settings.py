"""Settings as pages show them: what counts and where it came from, and nothing that proves anything to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from workflow_engine.redaction import concealed
from workflow_engine.settings import DatabaseConnection, McpServer, Settings


@dataclass(frozen=True, slots=True)
class ToldSetting:
    """Attributes:
    name: Of the variable.
    shown: Its value, as far as it may be seen; empty where there is none, or it may not be.
    secret: It may not be seen.
    origin: `default`, `environment`, or `command line`.
    """

    name: str
    shown: str
    secret: bool
    origin: str
    description: str


def told_settings(settings: Settings, environment: Mapping[str, str]) -> list[ToldSetting]:
    """All settings of a process, in the order in which they are documented.

    Args:
        environment: Of the process.
    """
    return [_told(settings, field, info, environment) for field, info in Settings.model_fields.items()]


def _told(settings: Settings, field: str, info: FieldInfo, environment: Mapping[str, str]) -> ToldSetting:
    assert isinstance(info.validation_alias, AliasChoices)
    name = str(info.validation_alias.choices[0])
    value = getattr(settings, field)
    is_address = info.repr is False and "URL" in name
    shown = "" if info.repr is False and not is_address else concealed.told(_shown(value, is_address=is_address))
    origin = "default"
    if field in settings.model_fields_set:
        origin = "environment" if name in environment and name not in settings.given else "command line"
    return ToldSetting(name, shown, bool(info.repr is False and value and not shown), origin, info.description or "")


def _shown(value: Any, *, is_address: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({_place(one)})" for name, one in value.items())
    text = str(value)
    return address(text) if is_address or "://" in text else text


def _place(one: Any) -> str:
    if isinstance(one, DatabaseConnection):
        return f"{address(one.url)}{', read only' if one.read_only else ''}"
    if isinstance(one, McpServer):
        return address(one.url)
    return "…"


def address(url: str) -> str:
    """A URL without what may be secret: passwords, and of the web names and paths, too; empty where it is none."""
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname or "", parts.port, parts.username
    except ValueError:
        return ""
    if not parts.scheme or "://" not in url:
        return ""
    of_web = parts.scheme in ("http", "https")
    who = "" if of_web or not user else f"{user}@"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{who}{host}{f':{port}' if port else ''}{'' if of_web else parts.path}"
