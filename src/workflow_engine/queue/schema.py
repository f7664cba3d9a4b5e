"""procrastinate's schema, as it comes, and its migrations since."""

from collections.abc import Iterator
from pathlib import Path

from procrastinate.schema import SchemaManager


def queue_schema() -> str:
    """The SQL that creates procrastinate's current schema in an empty database."""
    return SchemaManager.get_schema()


def queue_migrations() -> Iterator[tuple[str, str]]:
    """Name and SQL of each migration of procrastinate, oldest first.

    procrastinate ships plain files and no runner; `store.migrate` remembers by name which of them a database has.
    """
    for path in sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql")):
        yield path.stem, path.read_text()
