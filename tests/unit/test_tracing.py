"""Whether spans are written at all: as the environment says, and never at the price of the work."""

import sys
from pathlib import Path

import pytest
from support.logging import configured_logging

from workflow_engine.observability.tracing import span, spans, tracing
from workflow_engine.settings import load_settings

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("environment", "exporter"),
    [
        ({}, "none"),
        (ENDPOINT, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "Console"}, "console"),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, "none"),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, "none"),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "maybe"}, "otlp"),
    ],
)
def test_an_endpoint_switches_traces_on_unless_somebody_says_no(environment: dict[str, str], exporter: str) -> None:
    assert load_settings(**environment).traces_exporter == exporter


@pytest.mark.parametrize(
    ("environment", "missing", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, None, "OTEL_TRACES_EXPORTER=zipkin: write otlp, console or none"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, None, "write http/protobuf or grpc"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, None, "opentelemetry-exporter-otlp-proto-grpc"),
        (ENDPOINT, "opentelemetry.sdk.trace", "pip install 'workflow-engine[otel]'"),
    ],
)
def test_what_keeps_spans_from_being_written_is_one_warning_that_names_the_fix(
    environment: dict[str, str], missing: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing is not None:
        monkeypatch.delitem(sys.modules, "workflow_engine.observability.spans", raising=False)
        monkeypatch.setitem(sys.modules, missing, None)
    with (
        configured_logging(LOG_DIR=str(tmp_path)),
        tracing(load_settings(**environment), role="engine", instance="test") as opened,
    ):
        assert opened is None
        assert spans() is None
        with span("asks", {}) as notes:  # goes on as if nothing had been said
            notes.note({"x": 1})
            assert notes.traceparent is None
    (line,) = (tmp_path / "app.log").read_text().splitlines()
    assert "level=warning" in line
    assert said in line
