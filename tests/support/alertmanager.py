"""A real Alertmanager with our routes, and what it sends to PagerDuty and Slack."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from support.eventually import eventually
from support.hurry import shorter
from support.prometheus import program
from workflow_engine.embedded.places import free_port
from workflow_engine.embedded.process import Child, tail
from workflow_engine.embedded.standins.server import Answer, Request, start_server

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "prometheus" / "alertmanager.yaml"
_PACKAGE = "prometheus-alertmanager"
_START_SECONDS = 30


@dataclass(frozen=True)
class Message:
    """What somebody was told."""

    to: str  # `pagerduty` or `slack`
    alert: str
    resolved: bool
    body: Mapping[str, Any]


class Pagers:
    """Stands in for PagerDuty and Slack, and keeps what they are told."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._alerts: dict[str, str] = {}  # of PagerDuty's incidents, which end without a word of what they were
        self._lock = threading.Lock()
        self._server = start_server("pagers", 0, self._answer)
        self._server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def messages(self, to: str, *, resolved: bool = False) -> list[Message]:
        """What one of the two was told, in order: of what fires, or of what does not any more."""
        with self._lock:
            return [each for each in self._messages if (each.to, each.resolved) == (to, resolved)]

    def told(self, to: str, *, resolved: bool = False) -> list[str]:
        """Of which alerts."""
        return [message.alert for message in self.messages(to, resolved=resolved)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: Request) -> Answer:
        body = request.body
        if request.path == "/pagerduty":
            ends = body["event_action"] == "resolve"
            if not ends:
                self._alerts[body["dedup_key"]] = body["payload"]["custom_details"]["alert"]
            message = Message("pagerduty", self._alerts[body["dedup_key"]], ends, body)
        else:
            (attachment,) = body["attachments"]
            name, _, _ = attachment["title"].removeprefix("Resolved: ").partition(":")
            message = Message("slack", name, attachment["title"].startswith("Resolved: "), body)
        with self._lock:
            self._messages.append(message)
        return Answer({"status": "success"}, 202 if message.to == "pagerduty" else 200)


class Alertmanager:
    """One server with deploy/prometheus/alertmanager.yaml, whose waits are shorter by a factor.

    Attributes:
        address: For Prometheus.
    """

    def __init__(self, directory: Path, pagers: Pagers, pace: int) -> None:
        directory.mkdir(exist_ok=True)
        self.address = f"127.0.0.1:{free_port()}"
        self._log = directory / "alertmanager.log"
        file = directory / "alertmanager.yaml"
        file.write_text(yaml.safe_dump(_with_pagers(directory, pagers, pace)))
        self._child = Child(
            [
                program("prometheus-alertmanager", _PACKAGE),
                f"--config.file={file}",
                f"--storage.path={directory / 'data'}",
                f"--web.listen-address={self.address}",
                "--cluster.listen-address=",
            ],
            log=self._log,
        )
        self._http = httpx.Client(base_url=f"http://{self.address}", timeout=20, trust_env=False)

    def fire(self, *alerts: Mapping[str, Any]) -> None:
        """Tell it of alerts that fire, each by its labels and annotations."""
        now = datetime.datetime.now(datetime.UTC)
        ends = (now + datetime.timedelta(hours=1)).isoformat()
        body = [{**alert, "startsAt": now.isoformat(), "endsAt": ends} for alert in alerts]
        self._http.post("/api/v2/alerts", json=body).raise_for_status()

    def states(self) -> dict[str, Sequence[str]]:
        """By the name of each alert: by how many others it is inhibited."""
        alerts = self._http.get("/api/v2/alerts").raise_for_status().json()
        return {alert["labels"]["alertname"]: alert["status"]["inhibitedBy"] for alert in alerts}

    def await_ready(self) -> None:
        def ready() -> bool:
            assert self._child.alive, f"it ended with {self._child.exit_code}:\n{tail(self._log, 20)}"
            try:
                return self._http.get("/-/ready").is_success
            except httpx.TransportError:
                return False

        eventually(ready, _START_SECONDS, message=f"not ready:\n{tail(self._log, 20)}")

    def close(self) -> None:
        self._http.close()
        self._child.stop()


@contextmanager
def alertmanager(directory: Path, pace: int) -> Iterator[tuple[Alertmanager, Pagers]]:
    """An Alertmanager that is ready, until the context ends, and those it tells."""
    pagers = Pagers()
    try:
        server = Alertmanager(directory, pagers, pace)
        try:
            server.await_ready()
            yield server, pagers
        finally:
            server.close()
    finally:
        pagers.close()


def _with_pagers(directory: Path, pagers: Pagers, pace: int) -> dict[str, Any]:
    configuration: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    for receiver in configuration["receivers"]:
        for to in receiver.get("pagerduty_configs", ()):
            to["routing_key_file"] = _secret(directory / "pagerduty-routing-key", "0123456789")
            to["url"] = f"{pagers.url}/pagerduty"
        for to in receiver.get("slack_configs", ()):
            to["api_url_file"] = _secret(directory / "slack-webhook-url", f"{pagers.url}/slack")
    configuration["route"] = _hurried(configuration["route"], pace)
    return configuration


def _hurried(route: Mapping[str, Any], pace: int) -> dict[str, Any]:
    waits = {name: shorter(route[name], pace) for name in ("group_wait", "group_interval") if name in route}
    return {**route, **waits, "routes": [_hurried(each, pace) for each in route.get("routes", ())]}


def _secret(file: Path, content: str) -> str:
    file.write_text(content)
    return str(file)
