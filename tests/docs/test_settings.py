"""docs/settings.md says of every setting what the code says of it."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from workflow_engine.errors import SettingsInvalid
from workflow_engine.settings import Settings, load_settings

DOCS = Path(__file__).parents[2] / "docs"


def variable(field: FieldInfo) -> str:
    assert isinstance(field.validation_alias, AliasChoices)
    return str(field.validation_alias.choices[0])


def as_written(value: Any) -> str:
    if value in ("", {}, None):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_setting_is_documented_with_its_default_and_description() -> None:
    rows = {
        name: (default, description)
        for name, default, description in re.findall(
            r"^\| `([A-Z_]+)` \| `?([^|`]*)`? \| (.*) \|$", (DOCS / "settings.md").read_text(), re.MULTILINE
        )
    }
    expected = {
        variable(field): (as_written(field.default), field.description) for field in Settings.model_fields.values()
    }
    assert rows == expected


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("WORKER_CONCURRENCY", "0", "greater than or equal to 1"),
        ("WORKER_CONCURRENCY", "many", "integer"),
        ("DEADLOCK_DETECTION", "maybe", "'off', 'warn' or 'true'"),
        ("LOG_FORMAT", "xml", "'logfmt' or 'json'"),
        ("MEMORY_PROFILER", "sometimes", "true or false"),
        ("WORKFLOW_MEMORY_LIMIT_BYTES", "2Gi", "integer"),
        ("WORKFLOW_LEASE_SECONDS", "-1", "greater than 0"),
        ("WORKFLOW_ALLOWED_HOSTS", "wf.example.com, https://wf.example.com", "without scheme and port"),
        ("WORKFLOW_TRUSTED_PROXIES", "10.0.0.0/8, proxy", "no address or network"),
    ],
)
def test_a_bad_value_is_refused_with_the_settings_name_and_what_is_accepted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, accepted: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=name) as refused:
        load_settings()
    assert accepted in refused.value.detail


def test_a_heartbeat_slower_than_half_a_lease_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKFLOW_LEASE_SECONDS", "10")
    monkeypatch.setenv("WORKFLOW_HEARTBEAT_SECONDS", "6")
    with pytest.raises(SettingsInvalid, match="WORKFLOW_HEARTBEAT_SECONDS"):
        load_settings()


@pytest.mark.parametrize(("written", "meant"), [("TRUE", "true"), ("1", "true"), ("no", "off"), ("warn", "warn")])
def test_deadlock_detection_takes_the_usual_spellings(
    monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    monkeypatch.setenv("DEADLOCK_DETECTION", written)
    assert load_settings().deadlock_detection == meant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKFLOW_CONNECTIONS", '{"a": {"url": "postgresql://me:s3cret@db/x", "colour": "blue"}}'),
        ("WORKFLOW_CONNECTIONS", '{"a": "postgresql://me:s3cret@db/x"'),
        ("WORKFLOW_MCP_SERVERS", '{"a": {"url": "ftp://x", "headers": {"Authorization": "s3cret"}}}'),
        ("WORKFLOW_WEBHOOK_SECRET", "whsec_s3cret!"),
    ],
)
def test_a_bad_value_that_holds_credentials_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=name) as refused:
        load_settings()
    assert "s3cret" not in refused.value.detail


def test_settings_do_not_show_their_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cret@db/x")
    monkeypatch.setenv("REDIS_URL", "redis://:s3cret@redis")
    monkeypatch.setenv("WORKFLOW_CONNECTIONS", '{"a": "postgresql://me:s3cret@db/x"}')
    monkeypatch.setenv("WORKFLOW_LLM_API_KEY", "s3cret")
    assert "s3cret" not in repr(load_settings())
