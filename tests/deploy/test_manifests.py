"""The manifests and compose files fit the runbook, the settings and each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.runbook import COMMANDS

from deploy.checks import manifests, tools
from workflow_engine.api import server
from workflow_engine.settings import Settings

ROOT = Path(__file__).parents[2]
NAMES = {str(field.validation_alias.choices[0]) for field in Settings.model_fields.values()}  # type: ignore[union-attr]
PAGE = (ROOT / "docs" / "runbook.md").read_text()
AUTOSCALE, HEREDOC = re.findall(r"^```sh on-a-cluster\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)

Resources = dict[tuple[str, str], manifests.Resource]


@pytest.fixture(scope="module")
def production() -> Resources:
    try:
        built = dict(manifests.builds(ROOT / "deploy" / "kustomize"))["overlays/production"]
    except tools.NotChecked as missing:
        pytest.skip(f"not checked: {missing} (bin/deploy-tools)")
    assert not isinstance(built, str), built
    return {(resource["kind"], resource["metadata"]["name"]): resource for resource in built}


def pods(resources: Resources) -> Iterator[tuple[str, Any]]:
    for (kind, name), resource in resources.items():
        if kind in {"Deployment", "Job"}:
            yield name, resource["spec"]["template"]


def settings_of(resources: Resources) -> dict[str, str]:
    """What engines and workers read from their ConfigMap, whose name has a hash."""
    read = resources["Deployment", "workflow-engine"]["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    (name,) = (source["configMapRef"]["name"] for source in read if "configMapRef" in source)
    settings: dict[str, str] = resources["ConfigMap", name]["data"]
    return settings


def test_what_the_runbook_names_is_there(production: Resources) -> None:
    for deployment in re.findall(r"deployment/([a-z-]+)", " ".join(COMMANDS.values())):
        assert ("Deployment", deployment) in production
    for resource in production.values():
        assert resource["metadata"]["namespace"] == "agents"


def test_the_selectors_of_the_runbook_select_the_pods_they_mean(production: Resources) -> None:
    selectors = set(re.findall(r"-l ([\w./-]+)=([\w-]+)", " ".join(COMMANDS.values())))
    assert selectors == {
        ("app", "workflow-engine"), ("app", "workflow-workers"), ("app.kubernetes.io/component", "workflow"),
    }  # fmt: skip
    labels = {name: template["metadata"]["labels"] for name, template in pods(production)}
    for name in ("workflow-engine", "workflow-workers"):
        assert labels[name]["app"] == name
        assert production["Deployment", name]["spec"]["selector"]["matchLabels"] == {"app": name}
    assert {found["app.kubernetes.io/component"] for found in labels.values()} == {"workflow"}
    assert labels["workflow-migrate"]["app"] == "workflow-migrate", (
        "no traffic, no scrape and no `kubectl delete` means it"
    )


def test_the_ports_are_those_of_the_runbook_and_of_the_settings(production: Resources) -> None:
    (service,) = production["Service", "workflow-engine"]["spec"]["ports"]
    assert service["port"] == 3003 == Settings().port
    ports = {
        port["name"]: port["containerPort"]
        for _, template in pods(production)
        for container in template["spec"]["containers"]
        for port in container.get("ports", ())
    }
    assert ports == {"http": 3003, "metrics": Settings().worker_metrics_port}
    assert "EXPOSE 3003 9464" in (ROOT / "Dockerfile").read_text()


def test_the_heredoc_of_the_runbook_is_accepted_and_means_the_same_object(production: Resources) -> None:
    resource = yaml.safe_load(HEREDOC.partition("<<EOF\n")[2].rpartition("EOF")[0])
    ours = production["ScaledObject", "workflow-workers-scaler"]

    assert resource["metadata"] == {"name": ours["metadata"]["name"], "namespace": ours["metadata"]["namespace"]}
    for field in ("scaleTargetRef", "minReplicaCount", "maxReplicaCount"):
        assert resource["spec"][field] == ours["spec"][field]
    (theirs,) = resource["spec"]["triggers"]
    backlog = ours["spec"]["triggers"][0]
    assert {**theirs["metadata"], "address": ""} == {**backlog["metadata"], "address": ""}
    assert list(manifests.problems_of_triggers([resource])) == []
    alias = yaml.safe_load((ROOT / "deploy/kustomize/keda-namespace/redis.yaml").read_text())
    assert f"{alias['metadata']['name']}:6379" == theirs["metadata"]["address"]
    assert f"{alias['spec']['externalName']}:6379" == backlog["metadata"]["address"]
    try:
        assert list(manifests.problems_of_custom_resources([resource])) == []
    except tools.NotChecked as missing:
        pytest.skip(f"not checked: {missing} (bin/deploy-tools)")


def test_the_two_autoscalers_have_one_name_so_that_there_is_never_more_than_one(production: Resources) -> None:
    hpa = yaml.safe_load((ROOT / "deploy/kustomize/components/hpa/autoscaler.yaml").read_text())
    keda = production["ScaledObject", "workflow-workers-scaler"]["spec"]["advanced"]["horizontalPodAutoscalerConfig"]

    assert hpa["metadata"]["name"] == keda["name"] == "workflow-workers"
    assert "deployment/workflow-workers" in AUTOSCALE
    assert "--min=2 --max=20 --cpu-percent=70" in AUTOSCALE
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 20)
    assert "replicas" not in production["Deployment", "workflow-workers"]["spec"], (
        "applying again would undo the scaling"
    )
    (load,) = (
        t for t in production["ScaledObject", "workflow-workers-scaler"]["spec"]["triggers"] if t.get("name") == "load"
    )
    assert load["metadata"]["targetValue"] == str(Settings().worker_concurrency)


def test_every_pod_is_without_rights_on_a_root_that_cannot_be_written(production: Resources) -> None:
    for name, template in pods(production):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] == 10001, "that of the image"
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "cpu" not in container["resources"]["limits"], "it would be throttled where there is room"
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text()


def test_who_is_told_to_stop_is_given_the_time_it_needs(production: Resources) -> None:
    settings = settings_of(production)
    grace = {name: template["spec"].get("terminationGracePeriodSeconds") for name, template in pods(production)}
    engine = production["Deployment", "workflow-engine"]["spec"]["template"]["spec"]["containers"][0]
    asleep = int(engine["lifecycle"]["preStop"]["exec"]["command"][1])

    assert grace["workflow-workers"] >= float(settings["WORKER_SHUTDOWN_TIMEOUT"]) + 30
    assert grace["workflow-engine"] >= asleep + server.END_SECONDS + 10
    compose = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    seconds = {
        name: int(service["stop_grace_period"].rstrip("s"))
        for name, service in compose.items()
        if "stop_grace_period" in service
    }
    assert seconds["workflow-workers"] >= Settings().worker_shutdown_timeout + 30
    assert seconds["workflow-engine"] >= server.END_SECONDS + 5


def test_manifests_set_only_what_is_a_setting(production: Resources) -> None:
    found = set(settings_of(production))
    found |= {
        variable["name"]
        for _, template in pods(production)
        for container in template["spec"]["containers"]
        for variable in container.get("env", ())
    }
    compose = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    for name in ("workflow-engine", "workflow-workers", "migrate"):
        found |= set(compose[name]["environment"])

    assert found
    assert found - NAMES == set()


def test_the_versions_are_those_of_the_project(production: Resources) -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    images = {
        container["image"].rpartition("/")[2]
        for _, template in pods(production)
        for container in [*template["spec"]["containers"], *template["spec"].get("initContainers", ())]
    }
    compose = (ROOT / "deploy/compose/compose.yaml").read_text()

    assert images == {f"workflow-engine:{version[1]}"}
    assert f"workflow-engine:${{WORKFLOW_ENGINE_VERSION:-{version[1]}}}" in compose


def test_docker_compose_restart_of_the_runbook_names_services() -> None:
    command = re.search(r"`docker compose restart (.+?)`", PAGE)
    services = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    included = yaml.safe_load((ROOT / "compose.yaml").read_text())

    assert included == {"name": "workflow-engine", "include": ["deploy/compose/compose.yaml"]}
    assert command
    assert set(command[1].split()) <= set(services)
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", ()))
