"""What `deploy/kustomize` builds, and what Kubernetes, KEDA and the Prometheus Operator say of it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from deploy.checks import tools

Resource: TypeAlias = dict[str, Any]

VERSIONS = ("1.29", "1.37")
"""Of Kubernetes, the oldest and the newest that are checked; probes have a grace period of their own from 1.28 on."""

_TYPES = {
    "keda.sh": "@kubernetes-models/keda/keda.sh",
    "monitoring.coreos.com": "@kubernetes-models/prometheus-operator/monitoring.coreos.com",
}
_TRIGGERS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    # What a trigger must have, and what it may have beside that, as far as we use it: the schema takes any text.
    "redis": (
        frozenset({"listName", "listLength"}),
        frozenset(
            {
                *("address", "host", "port", "databaseIndex", "activationListLength", "enableTLS", "unsafeSsl"),
                *("usernameFromEnv", "passwordFromEnv"),
            }
        ),
    ),
    "metrics-api": (
        frozenset({"url", "valueLocation", "targetValue"}),
        frozenset({"activationTargetValue", "authMode", "format", "unsafeSsl"}),
    ),
    "cpu": (frozenset({"value"}), frozenset({"containerName"})),
}
_NUMBERS = frozenset({"listLength", "targetValue", "value", "databaseIndex", "activationListLength"})


def builds(directory: Path) -> Iterator[tuple[str, list[Resource] | str]]:
    """Every overlay, and the base with each component; an error instead of resources where it does not build.

    Raises:
        NotChecked: There is nothing to build with.
    """
    for place in sorted(directory.glob("**/kustomization.yaml")):
        name = str(place.parent.relative_to(directory))
        if yaml.safe_load(place.read_text())["kind"] == "Component":
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                parts = {"resources": [os.path.relpath(directory / "base", scratch)]}
                parts["components"] = [os.path.relpath(place.parent, scratch)]
                (Path(scratch) / "kustomization.yaml").write_text(yaml.safe_dump(parts))
                yield f"base with {name}", _build(Path(scratch))
        else:
            yield name, _build(place.parent)


def _build(directory: Path) -> list[Resource] | str:
    done = tools.run(*tools.kustomize(), directory)
    if done.returncode or done.stderr:  # what is deprecated is told there, too
        return done.stderr.strip()
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def is_custom(resource: Resource) -> bool:
    """Whether Kubernetes itself does not know it."""
    return resource["apiVersion"].partition("/")[0] in _TYPES


def problems_of_kubernetes(resources: Iterable[Resource]) -> Iterator[str]:
    """What Kubernetes' own schemas say, unknown fields included.

    Raises:
        NotChecked: The schemas are missing.
    """
    program = tools.find("kubernetes-validate")
    known = [resource for resource in resources if not is_custom(resource)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump_all(known, file)
        file.flush()
        for version in VERSIONS:
            done = tools.run(program, "--strict", "-k", version, file.name)
            said = done.stdout + done.stderr
            # Of a kind that it does not know it says so, and ends with 0.
            if done.returncode or "WARN" in said or said.count("INFO") < len(known):
                lines = [line for line in said.splitlines() if not line.startswith("INFO")]
                yield f"Kubernetes {version}: {' '.join(lines) or said}".replace(file.name, "")


def problems_of_custom_resources(resources: Iterable[Resource]) -> Iterator[str]:
    """What the types of KEDA and the Prometheus Operator say, unknown fields included.

    Raises:
        NotChecked: The types or Node.js are missing.
    """
    custom = [resource for resource in resources if is_custom(resource)]
    modules = tools.node_modules()
    if not custom:
        return
    with tempfile.TemporaryDirectory(dir=modules.parent) as scratch:
        for number, resource in enumerate(custom):
            group, version = resource["apiVersion"].split("/")
            (Path(scratch) / f"{number}.mts").write_text(
                f'import type {{ I{resource["kind"]} as Kind }} from "{_TYPES[group]}/{version}";\n'
                f"export const resource: Kind = {json.dumps(resource, indent=1)};\n"
            )
        done = tools.run(
            tools.find("node"), modules / "typescript" / "bin" / "tsc", "--noEmit", "--strict", "--skipLibCheck",
            "--module", "nodenext", "--moduleResolution", "nodenext", "--pretty", "false",
            *sorted(str(file) for file in Path(scratch).iterdir()), cwd=Path(scratch),
        )  # fmt: skip
        for line in done.stdout.splitlines():
            file, _, said = line.partition(".mts")
            if file.isdigit():
                name = f"{custom[int(file)]['kind']} {custom[int(file)]['metadata']['name']}"
                yield f"{name}: {said.partition(': ')[2]}"
            else:
                yield line.strip()


def problems_of_triggers(resources: Iterable[Resource]) -> Iterator[str]:
    """What is wrong with the triggers of ScaledObjects, which KEDA finds out when it scales."""
    for resource in resources:
        for trigger in resource["spec"]["triggers"] if resource["kind"] == "ScaledObject" else ():
            required, optional = _TRIGGERS.get(trigger["type"], (frozenset(), frozenset()))
            given = trigger["metadata"]
            for name in sorted(required - set(given)):
                yield f"trigger {trigger['type']}: {name} is missing"
            for name in sorted(set(given) - required - optional):
                yield f"trigger {trigger['type']}: {name} is not known to this check"
            for name in sorted(_NUMBERS & set(given)):
                if not str(given[name]).isdigit():
                    yield f"trigger {trigger['type']}: {name} is no number: {given[name]}"
