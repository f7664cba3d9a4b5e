"""What can be seen of monitoring without Prometheus and Grafana: rows M01, M04, N05, N06, O03."""

import re

from support.documents import flow, step
from support.eventually import eventually
from support.runbook import COMMANDS
from support.stack import Stack

UNSERVED = {"queue": "nobody-serves-this"}


def series(stack: Stack, server: str) -> dict[str, float]:
    """The series of an engine that have no labels."""
    text = stack.shell("curl -s http://localhost:3003/metrics", server=server).out
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}


def test_n06_the_bare_gauges_of_the_alert_rules_exist_and_are_the_same_on_every_engine(stack: Stack) -> None:
    workflow = stack.start(flow("n06", *({**step(f"s{number}"), **UNSERVED} for number in range(3))))

    def shown() -> bool:
        found = [series(stack, server) for server in stack.engine_urls]
        depths = {each["workflow_queue_depth"] for each in found}
        waits = [each["workflow_pending_duration_seconds"] for each in found]
        return len(depths) == 1 and depths.pop() >= 3 and min(waits) > 0 and max(waits) - min(waits) < 5

    eventually(shown, 15)
    stack.shell(COMMANDS["Cancel Workflow"], workflow_id=workflow)


def test_m04_active_workflows_and_the_leader_are_gauges(stack: Stack) -> None:
    found = [series(stack, server) for server in stack.engine_urls]
    assert all("workflow_active_workflows" in each for each in found)
    eventually(lambda: sum(series(stack, url)["workflow_engine_leader"] for url in stack.engine_urls) == 1, 20)


def test_n05_engines_and_workers_each_have_metrics_on_ports_of_their_own(stack: Stack) -> None:
    for port in stack.facts["worker_metrics"]:
        assert "workflow_build_info" in stack.shell(f"curl -s http://127.0.0.1:{port}/metrics").out
    for server in stack.engine_urls:
        assert "workflow_build_info" in stack.shell("curl -s http://localhost:3003/metrics", server=server).out


def test_o03_the_queue_dashboard_is_a_live_page_on_the_engines_port(stack: Stack) -> None:
    workflow = stack.start(flow("o03", {**step("a"), **UNSERVED}))
    for server in stack.engine_urls:
        page = stack.shell("curl -si http://localhost:3003/admin/queues", server=server).out
        assert page.startswith("HTTP/1.1 200")
        assert re.search(r"^content-type: text/html", page, re.MULTILINE | re.IGNORECASE)
        assert UNSERVED["queue"] in page
    stack.shell(COMMANDS["Cancel Workflow"], workflow_id=workflow)
