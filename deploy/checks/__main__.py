"""`python -m deploy.checks [DIRECTORY]`: a line for each check; exit code 1 when one of them found something."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from deploy.checks import manifests, tools
from deploy.checks.rules import problems_of_rules

_COMPOSE = ("compose.yaml", *(f"deploy/compose/{name}.yaml" for name in ("compose", "monitoring", "traces")))


def main(root: Path, only: str = "") -> int:
    """Check the project in a directory, or one thing about it; returns the exit code."""
    failed = False
    for name, check in _checks(root):
        if only and only != name:
            continue
        try:
            problems = list(check())
        except tools.NotChecked as missing:
            print(f"deploy: not checked: {name}: {missing} (bin/deploy-tools)")
            continue
        for problem in problems:
            print(f"deploy: {name}: {problem}")
        if not problems:
            print(f"deploy: {name}: fine")
        failed |= bool(problems)
    return 1 if failed else 0


def _checks(root: Path) -> Iterator[tuple[str, Callable[[], Iterator[str]]]]:
    built: dict[str, list[manifests.Resource]] = {}

    def building() -> Iterator[str]:
        for name, result in manifests.builds(root / "deploy" / "kustomize"):
            if isinstance(result, str):
                yield f"{name} does not build: {result}"
            else:
                built[name] = result

    def of_all(problems: Callable[[list[manifests.Resource]], Iterator[str]]) -> Callable[[], Iterator[str]]:
        def look() -> Iterator[str]:
            if not built:
                raise tools.NotChecked("nothing was built")
            # What several of them have in common is the same, but for the number of replicas and the like.
            different = {repr(resource): resource for resources in built.values() for resource in resources}
            yield from dict.fromkeys(problems(list(different.values())))

        return look

    yield "kustomize", building
    yield "schemas of Kubernetes", of_all(manifests.problems_of_kubernetes)
    yield "types of KEDA and the Prometheus Operator", of_all(manifests.problems_of_custom_resources)
    yield "triggers of KEDA", of_all(manifests.problems_of_triggers)
    yield "rules of the Prometheus Operator", lambda: problems_of_rules(root)
    yield "compose files", lambda: _compose(root)
    yield "Dockerfile", lambda: _dockerfile(root)


def _compose(root: Path) -> Iterator[str]:
    program = tools.find("check-jsonschema")
    files = [root / name for name in _COMPOSE]
    done = tools.run(program, "--builtin-schema", "vendor.compose-spec", *files)
    if done.returncode:
        yield (done.stdout + done.stderr).strip()


def _dockerfile(root: Path) -> Iterator[str]:
    done = tools.run(tools.find("hadolint"), root / "Dockerfile")
    yield from (line for line in (done.stdout + done.stderr).splitlines() if line)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else tools.ROOT))
