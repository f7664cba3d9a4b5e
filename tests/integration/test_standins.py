"""The stand-ins speak the protocols that the handlers speak, and answer the same thing twice."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from workflow_engine.embedded.standins.agent_brain import agent_brain, describe
from workflow_engine.embedded.standins.agent_mesh import agent_mesh
from workflow_engine.embedded.standins.echo import echo
from workflow_engine.embedded.standins.llm import llm
from workflow_engine.embedded.standins.server import Answering, start_server


@contextmanager
def serving(answer: Answering) -> Iterator[httpx.Client]:
    server = start_server("under-test", 0, answer)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()


def test_every_stand_in_says_that_it_is_one() -> None:
    with serving(echo) as client:
        answer = client.get("/health")
        assert answer.json() == {"status": "ok", "service": "under-test", "stand_in": True}
        assert answer.headers["Server"].startswith("workflow-engine-stand-in/")


def test_the_mesh_resolves_a_name_to_the_brain_and_refuses_unknown_ones() -> None:
    with serving(agent_mesh("http://brain:3001")) as mesh:
        assert mesh.get("/api/v1/agents/data%20processor").json() == {
            "name": "data processor",
            "url": "http://brain:3001",
            "protocol": "brain",
            "skills": ["summarise"],
        }
        refused = mesh.get("/api/v1/agents/unknown-agent")
        assert refused.status_code == 404
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert "unknown-agent" in refused.json()["detail"]


def test_the_brain_answers_by_its_input_alone_and_repeats_itself_for_the_same_key() -> None:
    with serving(agent_brain()) as brain:
        url = "/api/v1/agents/processor/execute"
        first = brain.post(url, json={"input": {"b": 1, "a": 2}}, headers={"Idempotency-Key": "k"}).json()
        assert first["output"]["summary"] == "processor (a stand-in) read an object with 2 fields (a, b)"
        assert first["usage"]["input_tokens"] > 0
        assert brain.post(url, json={"input": {"a": 2, "b": 1}}).json() == first
        assert brain.post(url, json={"input": "other"}).json() != first
        assert brain.post(url, json={"input": "other"}, headers={"Idempotency-Key": "k"}).json() == first


@pytest.mark.parametrize(
    ("value", "phrase"),
    [(None, "nothing"), ([1], "a list of 1 item"), ("abc", "a text of 3 characters"), (True, "the value true")],
)
def test_the_brain_names_the_shape_of_any_input(value: object, phrase: str) -> None:
    assert describe(value) == phrase


def test_the_model_speaks_the_openai_protocol_with_usage() -> None:
    with serving(llm) as model:
        assert model.get("/v1/models").json()["data"][0]["id"] == "stand-in"
        request = {"model": "m", "messages": [{"role": "user", "content": "What is due?"}]}
        answer = model.post("/v1/chat/completions", json=request).json()
        assert answer["choices"][0]["message"]["content"] == "A stand-in model was asked: What is due?"
        assert answer["usage"]["total_tokens"] == sum(
            answer["usage"][name] for name in ("prompt_tokens", "completion_tokens")
        )
        assert model.post("/v1/chat/completions", json=request).json() == answer
        assert model.post("/v1/chat/completions", json={"messages": []}).status_code == 422


def test_the_echo_tells_what_it_was_asked_and_which_url_was_meant() -> None:
    with serving(echo) as client:
        answer = client.post("/orders?day=1", json={"id": 7}, headers={"X-Original-URL": "https://shop/orders"}).json()
        assert answer == {
            "echo": True,
            "method": "POST",
            "url": "https://shop/orders",
            "query": {"day": "1"},
            "body": {"id": 7},
        }
