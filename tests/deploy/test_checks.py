"""`make check` says what is wrong with deploy/, and what it could not look at."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.checks import tools
from deploy.checks.__main__ import main

ROOT = Path(__file__).parents[2]
KUSTOMIZE = "deploy/kustomize"


def needs(find: Callable[[], object]) -> None:
    """Go on only with a tool; without it say so, where the run counts what it did not do."""
    try:
        find()
    except tools.NotChecked as missing:
        pytest.skip(f"not checked: {missing} (bin/deploy-tools)")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that are checked, to break them."""
    for name in ("Dockerfile", "compose.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("deploy/compose", "deploy/prometheus", "deploy/grafana", KUSTOMIZE):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) >= 1, f"{file} no longer has {old!r}"
    file.write_text(text.replace(old, new))


def test_manifests_that_would_be_refused_fail_the_check(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for find in (tools.kustomize, tools.node_modules, lambda: tools.find("kubernetes-validate")):
        needs(find)
    faults = [
        ("base/engine.yaml", "failureThreshold: 60", "failureTreshold: 60", "failureTreshold"),
        ("base/workers.yaml", "maxSurge: 25%", "maxSurge: [25]", "maxSurge"),
        ("components/hpa/autoscaler.yaml", "maxReplicas: 20", "maxReplicas: many", "maxReplicas"),
        ("components/keda/scaled-object.yaml", "replicas: 4,", 'replicas: "4",', "not assignable to type 'number'"),
        ("components/keda/scaled-object.yaml", "currentReplicasIfHigher", "whatever", '"whatever"'),
        ("components/keda/scaled-object.yaml", "listName:", "list:", "listName is missing"),
        ("components/keda/scaled-object.yaml", 'listLength: "10"', 'listLength: "ten"', "listLength is no number"),
    ]
    for file, old, new, _ in faults:
        change(copy / KUSTOMIZE / file, old, new)

    assert main(copy) == 1

    said = capsys.readouterr().out
    assert [told for *_, told in faults if told not in said] == [], said


def test_fields_that_would_be_ignored_and_what_does_not_build_fail_the_check(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for find in (tools.kustomize, tools.node_modules):
        needs(find)
    faults = [
        ("components/keda/scaled-object.yaml", "pollingInterval", "pollInterval", "pollInterval"),
        ("components/monitoring/pod-monitors.yaml", "jobLabel", "jobLable", "jobLable"),
        ("overlays/production/kustomization.yaml", "../../base", "../../bace", "overlays/production does not build"),
        ("../prometheus/rules/runbook.yaml", "> 3600", "> 7200", "has other rules than deploy/prometheus/rules"),
        ("overlays/development/kustomization.yaml", "- stores.yaml", "- store.yaml", "development does not build"),
    ]
    for file, old, new, _ in faults:
        change(copy / KUSTOMIZE / file, old, new)

    assert main(copy) == 1

    said = capsys.readouterr().out
    assert [told for *_, told in faults if told not in said] == [], said


def test_a_compose_file_with_a_typo_fails_the_check(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs(lambda: tools.find("check-jsonschema"))
    change(copy / "deploy/compose/compose.yaml", "stop_grace_period: 30s", "stop_grace: 30s")

    assert main(copy, "compose files") == 1
    assert "stop_grace" in capsys.readouterr().out


def test_a_dockerfile_that_runs_as_root_fails_the_check(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs(lambda: tools.find("hadolint"))
    change(copy / "Dockerfile", "USER 10001:10001", "USER root")

    assert main(copy, "Dockerfile") == 1
    assert "Dockerfile" in capsys.readouterr().out


def test_what_a_missing_tool_leaves_unchecked_is_told_as_that(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from deploy.checks import tools; from deploy.checks.__main__ import main\n"
        f"tools.OURS = Path({str(tmp_path)!r}); sys.exit(main(tools.ROOT))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    lines.remove("deploy: rules of the Prometheus Operator: fine")  # which takes no tool
    assert len(lines) >= 6
    assert all(re.fullmatch(r"deploy: not checked: .+: .+ \(bin/deploy-tools\)", line) for line in lines), lines


def test_the_check_is_a_part_of_make_check() -> None:
    assert "-m deploy.checks" in (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
