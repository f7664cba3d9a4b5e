"""GET /autoscaling/load: what KEDA divides by the slots of a worker."""

from __future__ import annotations

import httpx
import psycopg
import pytest

from .conftest import PlayedWorker, engine_settings, running_engine
from .test_gauges import FLOW

LOAD = "/api/v1/autoscaling/load"
NOTHING = {"load": 0, "pending": 0, "running": 0, "slots": 0}


def test_every_number_is_there_on_an_engine_that_nobody_has_used(api: httpx.Client) -> None:
    assert api.get(LOAD).json() == {**NOTHING, "by_queue": {}}
    assert api.get(LOAD, params={"queue": "llm"}).json() == {**NOTHING, "by_queue": {"llm": NOTHING}}


def test_load_is_what_is_pending_and_what_runs(api: httpx.Client, worker: PlayedWorker) -> None:
    elsewhere = {"name": "elsewhere", "steps": [{"id": "a", "type": "noop", "queue": "llm"}]}
    for body in (FLOW, FLOW, FLOW, elsewhere):
        assert api.post("/api/v1/workflows", json=body).status_code == 202
    worker.claim(1)
    default = {"load": 3, "pending": 2, "running": 1, "slots": 5}
    llm = {"load": 1, "pending": 1, "running": 0, "slots": 0}
    found = api.get(LOAD).json()
    assert found == {"load": 4, "pending": 3, "running": 1, "slots": 5, "by_queue": {"default": default, "llm": llm}}
    assert api.get(LOAD, params={"queue": "default"}).json() == {**default, "by_queue": {"default": default}}


def test_slots_of_a_worker_of_two_queues_count_once_in_the_whole(api: httpx.Client, worker: PlayedWorker) -> None:
    worker.connection.execute("update workflow.workers set queues = '{default,llm}'")
    found = api.get(LOAD).json()
    assert found["slots"] == 5
    assert {queue: each["slots"] for queue, each in found["by_queue"].items()} == {"default": 5, "llm": 5}


def test_what_is_held_or_scheduled_asks_for_nobody(api: httpx.Client) -> None:
    workflow = api.post("/api/v1/workflows", json=FLOW).json()["id"]
    api.post(f"/api/v1/workflows/{workflow}/pause")
    assert api.get(LOAD).json()["load"] == 0


def test_without_an_answer_of_postgres_there_is_no_number(database_url: str, redis_url: str) -> None:
    with running_engine(engine_settings(database_url, redis_url)) as api:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("alter function workflow.gauges() rename to gauges_away")
            connection.execute(
                "create function workflow.gauges() returns jsonb language plpgsql as"
                " $$ begin raise 'The database system is starting up.' using errcode = '57P03'; end $$"
            )
            answer = api.get(LOAD)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "load" not in answer.json()


@pytest.mark.parametrize("query", ["queue=", "queues=llm", "queue=a&queue=b"])
def test_a_wrong_query_is_refused_by_the_name_of_its_parameter(shared_api: httpx.Client, query: str) -> None:
    answer = shared_api.get(f"{LOAD}?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["detail"]
