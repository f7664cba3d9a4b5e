"""Fixtures for tests of definitions: `pytest_plugins = ["workflow_engine.pytest_plugin"]` in a conftest.py.

Nothing is installed as a plugin by itself: who has the engine installed may want to test something else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import orjson
import psycopg
import pytest

from workflow_engine.definition.yaml_data import read_yaml
from workflow_engine.testing.reading import read_trial
from workflow_engine.testing.result import TrialResult
from workflow_engine.testing.trial import run_trial

_LONGEST_FILE = 16 * 1024 * 1024  # characters


class TryDefinition(Protocol):
    """What the fixture `try_definition` is."""

    def __call__(
        self,
        definition: Mapping[str, Any] | str | Path,
        *,
        input: Any = None,
        outputs: Mapping[str, Any] | None = None,
        signals: Sequence[Mapping[str, Any]] = (),
        approvals: Sequence[Mapping[str, Any]] = (),
        definitions: Sequence[Mapping[str, Any]] = (),
        now: str | None = None,
    ) -> TrialResult:
        """Run a definition in test mode; docs/testing.md says what each argument may be.

        Args:
            definition: The document, or the path of a file that holds it.

        Raises:
            DefinitionInvalid: The definition is refused.
            InputInvalid: Something else that is given makes no sense.
        """


@pytest.fixture(scope="session")
def workflow_database_url() -> Iterator[str]:
    """A migrated database: that of `DATABASE_URL`, else one of a private PostgreSQL (extra `embedded`)."""
    given = os.environ.get("DATABASE_URL")
    if given:
        _require_migrated(given)
        yield given
        return
    from workflow_engine.bootstrap import migrate
    from workflow_engine.embedded.places import temporary_data_directory
    from workflow_engine.embedded.postgres import Postgres

    directory = temporary_data_directory()
    try:
        with Postgres(directory) as postgres:
            migrate(postgres.url)
            yield postgres.url
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def try_definition(workflow_database_url: str) -> TryDefinition:
    """Runs a definition with given outputs and a virtual clock, without workers; nothing stays in the database."""

    def try_definition(definition: Mapping[str, Any] | str | Path, **given: Any) -> TrialResult:
        document = _read(Path(definition)) if isinstance(definition, str | Path) else definition
        # Through JSON, as a definition and its input come to the engine.
        plain = orjson.loads(orjson.dumps({name: value for name, value in given.items() if value}))
        trial = read_trial(orjson.loads(orjson.dumps(dict(document))), plain)
        with ThreadPoolExecutor(1) as thread:  # a test may have an event loop of its own
            return thread.submit(lambda: asyncio.run(run_trial(workflow_database_url, trial))).result()

    return try_definition


def _read(path: Path) -> Any:
    text = path.read_text()
    return orjson.loads(text) if path.suffix == ".json" else read_yaml(text, limit=_LONGEST_FILE)


def _require_migrated(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select to_regclass('workflow.definition_scopes') is not null").fetchone()
    if not (found and found[0]):
        pytest.fail("DATABASE_URL names a database without the engine's schema: workflow-engine migrate", pytrace=False)
