"""`workflow-engine logs --follow`: each line once, wherever a stream breaks off."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from support.cluster import Cluster
from support.documents import flow, step
from support.eventually import eventually
from support.processes import EngineProcess

from workflow_engine.client.following import follow_log
from workflow_engine.client.http import Client
from workflow_engine.errors import ServerRefused


def test_a_log_that_is_followed_goes_on_where_it_was_when_the_engine_is_back(cluster: Cluster, tmp_path: Path) -> None:
    workflow = cluster.start(flow("gated", step("a", type="gated", gate=str(tmp_path / "gate")), step("b", "a")))
    logs = EngineProcess(
        "logs", workflow, "--follow", "--server", cluster.url, env=cluster.env, log=tmp_path / "logs.log"
    )
    logs.says("task picked up")
    cluster.engine.kill()
    logs.says("trying again for 5 minutes")
    cluster.begin_engine(PORT=cluster.url.rpartition(":")[2])
    logs.says("the log goes on")
    (tmp_path / "gate").touch()
    eventually(lambda: cluster.status(workflow) == "succeeded")
    assert logs.wait(30) == 0
    told = [line for line in logs.output.splitlines() if line.startswith("time=")]
    whole = cluster.request("GET", f"/api/v1/workflows/{workflow}/logs?format=text").text
    assert told == whole.splitlines()


def event(id_: int, text: str) -> str:
    return f"id: {id_}\ndata: {json.dumps({'message': text})}\n\n"


@contextmanager
def telling(*answers: Sequence[str] | int) -> Iterator[tuple[str, list[str]]]:
    """A server that gives one of these streams, or refusals, at each request; its address and what was asked."""
    left, asked = list(answers), []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(parse_qs(urlsplit(self.path).query)["after"][0])
            answer = left.pop(0)
            self.send_response(answer if isinstance(answer, int) else 200)
            self.end_headers()
            for text in () if isinstance(answer, int) else answer:
                self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def test_a_stream_that_breaks_off_within_an_event_is_gone_on_with_in_its_next_line() -> None:
    two = event(7, "second") + event(7, "third")
    first = ["retry: 1000\n\n", event(3, "first"), event(7, "second"), 'id: 7\ndata: {"messa']
    said: list[str] = []
    second = [two, event(9, "last"), 'event: end\ndata: {"status": "succeeded"}\n\n']
    with telling(first, 503, second) as (url, asked), Client(url) as client:
        told = [line["message"] for line in follow_log(client, "/workflows/x/events", said.append)]
    assert told == ["first", "second", "third", "last"]
    assert asked == ["0", "3", "3"]
    assert len(said) == 2


def test_what_will_not_be_answered_is_not_asked_for_again() -> None:
    with telling(["retry: 1000\n\n"], 404) as (url, asked), Client(url) as client, pytest.raises(ServerRefused):
        list(follow_log(client, "/workflows/x/events", print))
    assert asked == ["0", "0"]
