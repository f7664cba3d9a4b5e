"""The image of the Dockerfile, built here by its own steps, and processes in it as a cluster runs them.

The base that the Dockerfile names is at a registry. Where that cannot be reached, as on machines of tests, Debian's own
Python stands in for it (`ARG BASE`): what is shown are our steps and our files, not that base.

A process runs as the image says (entry point, environment, user), without capabilities or new privileges, on a root
that cannot be written, with memory for `/tmp` and the logs: what deploy/kustomize asks for. It shares the network of
this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_engine.embedded.process import Child

ROOT = Path(__file__).parents[2]
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # as official images have it
_ENTER = """
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount -t tmpfs -o uid=10001,gid=10001 tmpfs "$ROOT/var/log/workflow-engine"
exec chroot "$ROOT" setpriv --reuid "${USER_GROUP%:*}" --regid "${USER_GROUP#*:}" --clear-groups \\
    --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def why_not() -> str | None:
    """What keeps this machine from building and running it; None when nothing does."""
    if os.geteuid() != 0:
        return "only root can build the image"
    if missing := [name for name in ("buildah", "mmdebstrap", "unshare", "setpriv") if not shutil.which(name)]:
        return f"{' and '.join(missing)} not installed"
    if subprocess.run(
        ["unshare", "--mount", "mount", "--make-rprivate", "/"], check=False, capture_output=True
    ).returncode:
        return "mounts are not allowed here"
    return None


class Builder:
    """Builds images in a storage of its own.

    Args:
        directory: For everything it makes; some 2 GB, less where layers can be laid over each other.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._env = {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(directory)}
        storage = ["buildah", "--root", str(directory / "storage"), "--runroot", str(directory / "run")]
        overlay = [*storage, "--storage-driver", "overlay"]
        possible = subprocess.run([*overlay, "images"], env=self._env, check=False, capture_output=True).returncode == 0
        # The other copies the whole tree for each step, and works everywhere.
        self._buildah = overlay if possible else [*storage, "--storage-driver", "vfs"]

    def stand_in(self) -> str:
        """An image with Debian's Python, as a base."""
        archive = self._directory / "base.tar"
        self._run(
            "mmdebstrap", "--quiet", "--variant=minbase", "--include=python3,python3-venv,ca-certificates",
            "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=force-unsafe-io", "bookworm", str(archive),
        )  # fmt: skip
        container = self._run(*self._buildah, "from", "scratch").strip()
        self._run(*self._buildah, "add", "--quiet", container, str(archive), "/")
        archive.unlink()
        self._run(*self._buildah, "config", "--env", f"PATH={_PATH}", container)
        self._run(*self._buildah, "commit", "--quiet", "--rm", container, "localhost/stand-in")
        return "localhost/stand-in"

    def build(self, base: str) -> Image:
        """The image of the Dockerfile on a base, unpacked."""
        pip = self._directory / "pip.conf"
        pip.write_text(f"[global]\ncert = {_CERTIFICATES}\n")
        self._run(
            *self._buildah, "bud", "--quiet", "--format", "docker", "--layers=false", "--build-arg", f"BASE={base}",
            "--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro", "--volume", f"{pip}:/etc/pip.conf:ro",
            "--tag", "localhost/workflow-engine", str(ROOT),
        )  # fmt: skip
        container = self._run(*self._buildah, "from", "localhost/workflow-engine").strip()
        inspected = json.loads(self._run(*self._buildah, "inspect", "--type", "image", "localhost/workflow-engine"))
        root = Path(self._run(*self._buildah, "mount", container).strip())
        return Image(root, inspected["Docker"]["config"])

    def close(self) -> None:
        """Let go of what it mounted, so that the directory can be removed."""
        self._run(*self._buildah, "umount", "--all")

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {(done.stdout + done.stderr)[-3000:]}"
        return done.stdout


@dataclass(frozen=True)
class Image:
    """An image that was unpacked to a directory, and its configuration."""

    root: Path
    config: dict[str, Any]

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the image, in place of its entry point, to its end."""
        return subprocess.run(
            self._inside(command), env=self._environment(env), capture_output=True, text=True, check=False, timeout=60
        )

    def start(self, *arguments: str, log: Path, **env: str) -> Child:
        """Start a container: the entry point with these arguments, or with those of the image."""
        command = [*self.config["Entrypoint"], *(arguments or self.config["Cmd"])]
        return Child(self._inside(command), env=self._environment(env), log=log)

    def healthy(self, **env: str) -> subprocess.CompletedProcess[str]:
        """What its health check says."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.run(*command, **env)

    def _inside(self, command: Sequence[str]) -> list[str]:
        return [
            "unshare",
            "--mount",
            "sh",
            "-eu",
            "-c",
            _ENTER,
            "sh",
            "env",
            "-u",
            "ROOT",
            "-u",
            "USER_GROUP",
            *command,
        ]

    def _environment(self, env: dict[str, str]) -> dict[str, str]:
        own = dict(line.split("=", 1) for line in self.config["Env"])
        # The programs that enter it are found on a path of this machine, too, and it is the same one.
        return {**own, **env, "ROOT": str(self.root), "USER_GROUP": self.config["User"]}
