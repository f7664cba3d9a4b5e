"""Requests made up from the OpenAPI document, right and wrong ones: every answer is one that the document describes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import content_type_conformance, response_schema_conformance, status_code_conformance
from support.databases import new_database

from workflow_engine.asgi import create_app
from workflow_engine.settings import load_settings

from .conftest import engine_settings, running_engine
from .test_bad_operations import Prepared

COUNT = int(os.environ.get("WORKFLOW_TEST_FUZZ_COUNT", "5"))
SEED = int(os.environ.get("WORKFLOW_TEST_FUZZ_SEED", "1"))
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]

SCHEMA = schemathesis.openapi.from_dict(create_app(load_settings()).openapi())
OPERATIONS = [pytest.param(path, method, id=f"{method} {path}") for path, item in SCHEMA.items() for method in item]
# What there is to be named in paths; other names are made up.
PLACES = {
    "workflow_id": ("ended", "failing", "live", "nobody"),
    "task_id": ("task", "ended_task"),
    "approval_id": ("approval",),
}


@pytest.fixture(scope="module")
def prepared(server_url: str, template_database: str, redis_server_url: str) -> Iterator[Prepared]:
    with (
        new_database(server_url, "any", template=template_database) as url,
        running_engine(engine_settings(url, redis_server_url)) as api,
    ):
        found = Prepared(api, url)
        yield found
        found.connection.close()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


# The engine runs in a thread of this process, and waits for times that it makes up while requests are made up.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_one_that_the_document_describes(
    path: str, method: str, prepared: Prepared, session: requests.Session
) -> None:
    operation = SCHEMA[path][method]
    right, wrong = (operation.as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))
    assert prepared.api.post("/api/v1/resume").is_success  # an operation before may have paused the engine

    @seed(SEED)
    @settings(
        max_examples=COUNT,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(right, wrong), data=st.data())
    def send(case: Case, data: st.DataObject) -> None:
        for name, places in PLACES.items():
            there = ("ended", "nobody") if path.endswith("/events") else places  # of others it goes on until they end
            if name in (case.path_parameters or {}) and (place := data.draw(st.sampled_from([*there, None]))):
                case.path_parameters[name] = prepared.names[place]
        for endless in ("wait", "follow"):
            if isinstance(case.query, dict):
                case.query.pop(endless, None)
        answer = case.call(base_url=str(prepared.api.base_url), session=session, timeout=60)
        case.validate_response(answer, checks=CHECKS)
        assert answer.status_code < 500 or answer.json()["code"] == "engine-paused"
        if answer.status_code >= 400:
            shown: dict[str, Any] = answer.json()
            assert shown["status"] == answer.status_code
            assert "Traceback" not in answer.text

    send()
