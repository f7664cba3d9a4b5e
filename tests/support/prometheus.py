"""A real Prometheus beside what a test runs: it scrapes, evaluates rules, and answers queries."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.eventually import eventually
from workflow_engine.embedded.places import free_port
from workflow_engine.embedded.process import Child, tail

PACKAGE = "prometheus"  # of Debian; promtool comes with it
START_SECONDS = 60
_RANGE_POINTS = 1000

Labels = Mapping[str, str]


def program(name: str, package: str = PACKAGE) -> str:
    """Path of `prometheus` or `promtool`. Without it CI fails; elsewhere the test is skipped, as not checked."""
    path = shutil.which(name)
    if path is None:
        missing = f"not checked: {name} is not installed (apt-get install {package})"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path


class Prometheus:
    """One server with its data in `directory`, until closed.

    Args:
        directory: For its configuration, data and log.
        jobs: What is scraped: targets (`host:port`) by the name of their job.
        rules: Files of rules.
        interval: How often it scrapes and evaluates.
        labels: Of all targets.
        alertmanagers: Who is told of alerts, as `host:port`.
    """

    def __init__(
        self,
        directory: Path,
        jobs: Mapping[str, Sequence[str]],
        *,
        rules: Sequence[Path] = (),
        interval: str = "1s",
        labels: Labels | None = None,
        alertmanagers: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._labels = dict(labels or {})
        directory.mkdir(exist_ok=True)
        self.url = f"http://127.0.0.1:{free_port()}"
        for job, targets in jobs.items():
            self.scrape(job, targets)
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [str(path.resolve()) for path in rules],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
            "scrape_configs": [
                {"job_name": job, "file_sd_configs": [{"files": [str(self._targets(job))], "refresh_interval": "1s"}]}
                for job in jobs
            ],
        }
        file = directory / "prometheus.yaml"
        file.write_text(yaml.safe_dump(configuration))
        self._log = directory / "prometheus.log"
        self._child = Child(
            [
                program("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--web.enable-lifecycle",
                "--log.level=warn",
            ],
            log=self._log,
        )
        self._http = httpx.Client(base_url=self.url, timeout=20, trust_env=False)

    def scrape(self, job: str, targets: Sequence[str]) -> None:
        """From now on scrape these targets of a job. It may take some seconds until it does."""
        new = self._targets(job).with_suffix(".new")
        new.write_text(json.dumps([{"targets": list(targets), "labels": self._labels}]))
        new.replace(self._targets(job))  # never half a file

    def reload(self) -> None:
        """Read the files of rules again."""
        self._http.post("/-/reload").raise_for_status()

    def query(self, expression: str) -> list[tuple[Labels, float]]:
        """The value of each series now."""
        result = self._ask("/api/v1/query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def query_range(self, expression: str, seconds: float, step: float = 1) -> list[tuple[Labels, list[float]]]:
        """The values of each series over the last seconds, without those that are no number."""
        now = time.time()
        step = max(step, seconds / _RANGE_POINTS)
        result = self._ask("/api/v1/query_range", query=expression, start=now - seconds, end=now, step=step)["result"]
        read = [(series["metric"], [float(value) for _, value in series["values"]]) for series in result]
        return [(labels, [value for value in values if not math.isnan(value)]) for labels, values in read]

    def label_values(self, label: str, selector: str) -> list[str]:
        """The values a label has in the series of a selector."""
        return list(self._ask(f"/api/v1/label/{label}/values", **{"match[]": selector}))

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        alerts = self._ask("/api/v1/alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def await_up(self, count: int, seconds: float = START_SECONDS) -> None:
        """Wait until it has scraped so many targets."""

        def up() -> bool:
            assert self._child.alive, f"prometheus ended with {self._child.exit_code}:\n{tail(self._log, 20)}"
            try:
                return sum(value for _, value in self.query("up")) >= count
            except httpx.TransportError:
                return False

        eventually(up, seconds, message=f"{count} targets were not scraped:\n{tail(self._log, 20)}")

    def close(self) -> None:
        self._http.close()
        self._child.stop()

    def _targets(self, job: str) -> Path:
        return self._directory / f"{job}.json"

    def _ask(self, path: str, **parameters: Any) -> Any:
        answer = self._http.get(path, params=parameters)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]


@contextmanager
def prometheus(directory: Path, jobs: Mapping[str, Sequence[str]], **options: Any) -> Iterator[Prometheus]:
    """A Prometheus that has scraped all these targets, until the context ends; see there for its options."""
    server = Prometheus(directory, jobs, **options)
    try:
        server.await_up(sum(map(len, jobs.values())))
        yield server
    finally:
        server.close()
