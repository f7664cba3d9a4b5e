"""How many rows statements visit: what they cost whatever machine runs them, also with plans that were made when the
tables were empty."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .engine import Engine

BIG_TABLES = ("workflows", "tasks", "attempt_history", "jobs", "waits", "holds", "places", "start_keys")
OF_ALL_PARTITIONS = r"regexp_replace(relname, '_(default|(until_)?\d{10})$', '')"
WORKFLOWS = 1000
BATCH = 20


@contextmanager
def rows_visited(engine: Engine, most: int, tables: Sequence[str] = BIG_TABLES) -> Iterator[None]:
    """Fails when the statements inside fetch more rows of one of the tables than `most`."""
    counts = (
        f"select {OF_ALL_PARTITIONS} as relname, sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) as visited"
        f" from pg_stat_xact_all_tables where {OF_ALL_PARTITIONS} = any(%s) group by 1"
    )
    with engine.transaction():
        before = {row["relname"]: row["visited"] for row in engine.rows(counts, list(tables))}
        yield
        after = {row["relname"]: row["visited"] for row in engine.rows(counts, list(tables))}
    visited = {name: after[name] - before.get(name, 0) for name in after}
    assert max(visited.values()) <= most, visited
