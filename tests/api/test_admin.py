"""The pages for operators."""

from __future__ import annotations

import httpx

from .conftest import PlayedWorker


def test_the_queues_page_is_live_html_and_shows_each_queue(api: httpx.Client, worker: PlayedWorker) -> None:
    steps = [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "queue": "gpu"}]
    assert api.post("/api/v1/workflows", json={"name": "paged", "steps": steps}).status_code == 202
    page = api.get("/admin/queues", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http-equiv=refresh" in page.text
    assert "<th scope=row>default</th><td>1</td><td>0</td><td>5</td>" in page.text
    assert "<th scope=row>gpu</th><td>1</td><td>0</td><td>0</td>" in page.text
    assert "No active worker serves queue gpu; 1 task of it is pending." in page.text
    assert api.get("/admin/style.css").headers["content-type"].startswith("text/css")


def test_who_types_less_is_led_to_the_queues_page(api: httpx.Client) -> None:
    for path in ("/", "/admin"):
        answer = api.get(path)
        assert (answer.status_code, answer.headers["location"]) == (307, "/admin/queues")


def test_the_queues_page_says_what_to_do_without_workers(api: httpx.Client) -> None:
    page = api.get("/admin/queues").text
    assert "No worker is active" in page
    assert "workflow-engine worker" in page
