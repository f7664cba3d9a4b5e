"""The locks of the image: whole, by hash, the versions of requirements.lock, and without what belongs to tests."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_IN_THE_IMAGE = {"embedded"}
"""Extras that it goes without: the servers of `make dev`."""


def locked(path: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9-]*)==([^\s;]+)", (ROOT / path).read_text(), re.MULTILINE))


def name_of(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", Requirement(requirement).name).lower()


def test_the_image_has_all_extras_but_the_embedded_servers() -> None:
    image = locked("deploy/image/run.lock")
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"]]
    wanted += [line for extra, lines in extras.items() if extra not in NOT_IN_THE_IMAGE for line in lines]

    assert {name_of(line) for line in wanted} - set(image) == set(), "put it into IMAGE_EXTRAS and run `make lock`"
    left_out = {name_of(line) for line in (*extras["embedded"], *PROJECT["dependency-groups"]["dev"])}
    assert set(image) & (left_out - {name_of(line) for line in wanted}) <= {"cryptography"}, (
        "a library of an extra needs it"
    )


@pytest.mark.parametrize("path", ["deploy/image/run.lock", "deploy/image/build.lock"])
def test_what_is_tested_is_what_is_in_the_image(path: str) -> None:
    tested = locked("requirements.lock")
    differing = {name: version for name, version in locked(path).items() if tested.get(name) != version}

    assert differing == {}, "run `make lock`"


@pytest.mark.parametrize("path", sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("deploy/*/*.lock")))
def test_every_package_has_hashes_and_no_index_is_named(path: str) -> None:
    lines = (ROOT / path).read_text().splitlines()

    assert lines
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith(" "):
            assert re.match(r"[a-z0-9]", line), line
            assert following.strip().startswith("--hash=sha256:"), f"no hash: {line}"
    assert not any("://" in line for line in lines)


def test_the_base_of_the_image_is_pinned() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
