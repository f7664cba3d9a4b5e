"""The programs that the checks use, from the PATH or from `.deploy-tools/`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ROOT / ".deploy-tools"
_FIRST_USABLE_KUBECTL = (1, 27)  # with a kustomize that knows components and `labels`


class NotChecked(Exception):
    """A tool is missing; the text says which."""


def find(name: str) -> Path:
    """A program.

    Raises:
        NotChecked: There is none.
    """
    for directory in (OURS / "bin", OURS / "python" / "bin"):
        if os.access(directory / name, os.X_OK):
            return directory / name
    if found := shutil.which(name):
        return Path(found)
    raise NotChecked(f"{name} is not installed")


@cache
def kustomize() -> tuple[str, ...]:
    """The command that builds the directory named after it.

    Raises:
        NotChecked: There is none, or one that is too old.
    """
    try:
        return (str(find("kustomize")), "build")
    except NotChecked:
        kubectl = str(find("kubectl"))
    said = run(kubectl, "version", "--client", "-o", "json").stdout
    version = re.search(r'"gitVersion": "v(\d+)\.(\d+)', said)
    if version is None or tuple(map(int, version.groups())) < _FIRST_USABLE_KUBECTL:
        raise NotChecked(f"neither kustomize nor a kubectl of 1.27 or newer is installed ({kubectl})")
    return (kubectl, "kustomize")


@cache
def node_modules() -> Path:
    """Where the types of custom resources and the compiler are.

    Raises:
        NotChecked: They, or Node.js, are not installed.
    """
    find("node")
    if not (OURS / "node_modules" / "typescript").is_dir():
        raise NotChecked("the types of KEDA and the Prometheus Operator are not installed")
    return OURS / "node_modules"


def run(*command: str | Path, text: str | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit code."""
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=cwd)  # noqa: S603
