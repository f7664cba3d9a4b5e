"""The client of the command line, against a real engine and against what answers when there is none."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.cluster import Cluster

from workflow_engine.client.http import Client
from workflow_engine.embedded.places import free_port
from workflow_engine.errors import ServerRefused, ServerUnreachable


@pytest.fixture
def cluster(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, database_url, redis_url)
    yield cluster
    cluster.close()


def test_it_asks_a_real_engine_and_tells_its_refusals_in_its_own_words(cluster: Cluster) -> None:
    cluster.up(workers=0)
    with Client(f"{cluster.url}/api/v1/") as client:
        assert client.server == cluster.url
        assert client.get("/workflows/running") == []
        assert client.get("/workflows", limit="1") == []
        assert [line for line in client.lines("/workflows") if line] == ["[]"]
        document = {"name": "asked", "steps": [{"id": "a", "type": "no-such-type"}]}
        with pytest.raises(ServerRefused, match="no-such-type") as refused:
            client.post("/workflows", document)
        assert refused.value.status == 422
        with pytest.raises(ServerRefused) as refused:
            list(client.lines("/workflows/none"))
        assert refused.value.status == 404


def test_an_engine_that_is_away_is_unreachable_and_the_hint_names_the_option() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(ServerUnreachable, match="/api/v1/workflows/running") as unreachable:
            client.get("/workflows/running")
        assert "--server" in str(unreachable.value.hint)
        with pytest.raises(ServerUnreachable):
            list(client.lines("/health"))
    with Client("nonsense://[") as client, pytest.raises(ServerUnreachable):
        client.get("/health")


def test_an_engine_without_its_database_is_unreachable_too(tmp_path: Path, redis_url: str) -> None:
    cluster = Cluster(tmp_path, "postgresql://nobody@127.0.0.1:1/none", redis_url)
    try:
        engine, url = cluster.begin_engine()
        engine.says("Application startup complete")
        with Client(url) as client, pytest.raises(ServerUnreachable):
            client.get("/workflows/running")
    finally:
        cluster.close()


def test_a_server_that_is_no_engine_is_not_mistaken_for_one(tmp_path: Path) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>It works!</html>")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with (
                Client(f"http://127.0.0.1:{server.server_port}") as client,
                pytest.raises(ServerRefused, match="not as an engine does"),
            ):
                client.get("/workflows/running")
        finally:
            server.shutdown()
