"""requirements.lock is what `make install` installs: whole, by hash, and from whatever index the machine uses."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_everything_the_project_asks_for_is_locked_at_a_version_it_accepts() -> None:
    locked = dict(re.findall(r"^([a-z0-9][a-z0-9-]*)==(\S+)", LOCK, re.MULTILINE))
    asked = [
        *PROJECT["project"]["dependencies"],
        *(line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra),
        *PROJECT["dependency-groups"]["dev"],
    ]
    for requirement in map(Requirement, asked):
        version = locked.get(re.sub(r"[-_.]+", "-", requirement.name).lower())
        assert version is not None, f"{requirement.name} is not locked: run `make lock`"
        assert requirement.specifier.contains(Version(version)), (
            f"{requirement} is locked at {version}: run `make lock`"
        )


def test_every_package_has_hashes_and_no_index_is_named() -> None:
    lines = LOCK.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith(" "):
            assert re.match(r"[a-z0-9]", line), f"an option or a comment that names an index? {line}"
            assert following.strip().startswith("--hash=sha256:"), f"no hash: {line}"
    assert "://" not in LOCK
